"""Two answers of comparisons beside each other: equal but for wall times, folders and the last bits.

A search may train its trials as a population, whose route is chosen by timing: rounding differs from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

_OWN = {"seconds", "out"}


def assert_same_answer(one: dict[str, Any], other: dict[str, Any]) -> None:
    """`Comparison.to_dict()` of both."""
    mine, theirs = dict(_leaves(one)), dict(_leaves(other))
    assert mine.keys() == theirs.keys()
    for place, value in mine.items():
        expected = (
            pytest.approx(theirs[place], rel=1e-3, abs=1e-6) if isinstance(value, float) else theirs[place]
        )
        assert value == expected, place


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key in value.keys() - _OWN:
            yield from _leaves(value[key], (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*place, index))
    else:
        yield place, value
