"""What once differed from torch without a reason: one test for each, against torch itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lrkit.lr_scheduler as twin
from drop_in import advance, lrs, sgd, stock, trace


def alike(run: Callable[[Any], list[Any]]) -> None:
    """The same numbers with torch's module as with ours."""
    theirs, ours = run(stock), run(twin)
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_restarts_as_first_member_of_a_sequence_start_at_their_start() -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0)
        members = [m.CosineAnnealingWarmRestarts(optimizer, 3), m.ConstantLR(optimizer)]
        return trace(m.SequentialLR(optimizer, members, [5]), 9)

    alike(run)


def test_restarts_refuse_a_negative_epoch() -> None:
    said = []
    for module in (stock, twin):
        scheduler = module.CosineAnnealingWarmRestarts(sgd(1.0), 3)
        with pytest.raises(ValueError, match="non-negative") as caught:
            scheduler.step(-2)
        said.append((str(caught.value), scheduler.last_epoch))
    assert said[0] == said[1]
