"""The catalog: every entry is whole, and everything that is exported as a shape is in it."""

from __future__ import annotations

import inspect
import re

import pytest

import lrkit.schedule
import strategies
from lrkit.schedule import Schedule
from lrkit.spec import CATALOG, Entry, parse
from strategies import quiet

_NOT_SHAPES = {"Absolute", "Curve", "Schedule", "absolute", "from_function"}


def test_it_lists_each_shape_once_under_its_own_name() -> None:
    names = [entry.name for entry in CATALOG]
    assert len(set(names)) == len(names)
    assert set(names) == set(lrkit.schedule.__all__) - _NOT_SHAPES
    assert all(getattr(lrkit.schedule, entry.name) is entry.build for entry in CATALOG)


def test_hypothesis_draws_each_shape() -> None:
    assert set(strategies._CALLS) == {entry.name for entry in CATALOG}


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
class TestEntry:
    def test_the_example_holds_the_shape_and_prints_as_written(self, entry: Entry) -> None:
        assert re.search(rf"\b{entry.name}\(", entry.example)
        assert parse(str(parse(entry.example))) == parse(entry.example)

    @pytest.mark.parametrize("steps", [10, 1000, 10_007])
    def test_the_example_peaks_at_factor_1(self, entry: Entry, steps: int) -> None:
        factors = quiet(parse(entry.example), steps).chunk(0, steps)
        assert factors.max() == 1.0
        assert factors.min() > 0.0  # no update is spent on a rate of 0

    def test_it_says_all_that_a_person_needs(self, entry: Entry) -> None:
        assert entry.formula
        assert re.search(r"arXiv:\d{4}\.\d{5}", entry.source)
        for text in (entry.use, entry.avoid):
            assert text[0].islower()
            assert not text.endswith(".")

    def test_options_are_keyword_only(self, entry: Entry) -> None:
        places = [
            p for p in inspect.signature(entry.build).parameters.values() if p.kind is not p.KEYWORD_ONLY
        ]
        assert len(places) <= 1

    def test_the_builder_has_an_example_that_runs(self, entry: Entry) -> None:
        assert ">>> " in (entry.build.__doc__ or "")
        assert inspect.signature(entry.build).return_annotation in (Schedule, "Schedule")
