"""The catalog: every entry is whole, and everything that is exported as a shape is in it."""

from __future__ import annotations

import inspect
import re

import pytest

import lrkit.schedule
import strategies
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.spec import CATALOG, Entry, parse
from lrkit.spec.entry import COMMON_RANGES
from strategies import quiet

_NOT_SHAPES = {"Absolute", "Curve", "Schedule", "absolute", "from_function"}


def test_it_lists_each_shape_once_under_its_own_name() -> None:
    names = [entry.name for entry in CATALOG]
    assert len(set(names)) == len(names)
    assert set(names) == set(lrkit.schedule.__all__) - _NOT_SHAPES
    assert all(getattr(lrkit.schedule, entry.name) is entry.build for entry in CATALOG)


def test_hypothesis_draws_each_shape() -> None:
    assert {*strategies._CALLS, *strategies._RECIPES} == {entry.name for entry in CATALOG}


def test_names_used_elsewhere_lead_to_one_entry_and_are_no_names_here() -> None:
    here = {entry.name for entry in CATALOG}
    for name in {name for entry in CATALOG for name in entry.also}:
        owners = [entry.name for entry in CATALOG if name in entry.also]
        assert name not in here
        assert re.fullmatch(r"\w+", name)
        with pytest.raises(SpecError, match=rf"unknown schedule '{name}'.* here it is '{owners[-1]}'"):
            parse(f"{name}()")


_NEVER = [float("nan"), float("inf"), "wrong", [], object()]

# What a range may say: values that it lets in, and values that it keeps out.
_RANGES: dict[str, tuple[list[object], list[object]]] = {
    r"duration": (["5%", "0%", 3], [-1, 2.5, "5 parsecs"]),
    r"duration, or what is left": (["5%", 0, None], [-1, 2.5, "5 parsecs"]),
    r"duration above 0(, or (as `\w+`|no \w+))?": (["500%", 3], [0, "0%", -1, 2.5]),
    r"level from 0(, or .*)?": ([0, 0.5, lrkit.schedule.absolute(1e-3)], [-0.1, *_NEVER]),
    r"level above 0(, and .*)?": ([0.5], [-0.1, *_NEVER]),
    r"number above 0": ([1e-9, 2], [0, -1, *_NEVER]),
    r"number from 0": ([0, 2], [-1, *_NEVER]),
    r"number from 1": ([1, 2.5], [0.9, *_NEVER]),
    r"number above 0, at most (\d+)": ([0.5, 1], [0, -1, 10_001, *_NEVER]),
    r"number above 0 and below 1": ([1e-9, 0.9], [0, 1, *_NEVER]),
    r"number from 0 to 1, in three phases at most 0.5": ([0, 0.5, 1], [-0.1, 1.1, *_NEVER]),
    r"number (below upper|above lower)": ([-3.0, 1], _NEVER),
    r"number from 0, or a list of them": ([0, 0.5, [0.5, 0.5]], [-1, [0.1, -1], [0.1], "wrong"]),
    r"whole number from 1(, or no limit)?": ([1, 7], [0, -1, 1.5, *_NEVER]),
    r"2 or 3": ([2, 3], [1, 4, 2.5, *_NEVER]),
    r"list of durations": ([["5%", "9%"], [1, 2]], [[], ["5%", -1], 5, "5%"]),
    r"list of numbers from 0": ([[0, 1], (0.5,)], [[], [0.5, -1], ["x"], 5, "x"]),
}
_NEEDED = {"exponential": {"rate": 0.5}}


def _range_of(text: str) -> tuple[list[object], list[object]]:
    if text.startswith("one of "):
        return list(text.removeprefix("one of ").split(", ")), ["wrong", 5, None, ["linear"]]
    (found,) = [values for pattern, values in _RANGES.items() if re.fullmatch(pattern, text)]
    return found


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
class TestRanges:
    """What the catalog says of an argument is what the builder lets in and keeps out."""

    def arguments(self, entry: Entry) -> dict[str, object]:
        required = {p.name: _range_of(p.range)[0][0] for p in entry.parameters if p.required}
        return {**required, **_NEEDED.get(entry.name, {})}

    def test_every_parameter_is_described(self, entry: Entry) -> None:
        names = {p.name for p in entry.parameters}
        assert {name for name, _ in entry.ranges} <= names <= {*COMMON_RANGES, *dict(entry.ranges)}

    def test_what_is_within_builds_a_schedule_that_comes_back_from_its_text(self, entry: Entry) -> None:
        for p in entry.parameters:
            for value in _range_of(p.range)[0]:
                made = entry.build(**_with(self.arguments(entry), p.name, value))
                assert parse(str(made)) == made

    def test_what_is_outside_is_refused_in_one_line(self, entry: Entry) -> None:
        for p in entry.parameters:
            for value in _range_of(p.range)[1]:
                with pytest.raises(SpecError) as caught:
                    entry.build(**_with(self.arguments(entry), p.name, value))
                assert "\n" not in str(caught.value)


def _with(arguments: dict[str, object], name: str, value: object) -> dict[str, object]:
    """The arguments with one more, without another that excludes it."""
    kept = {k: v for k, v in arguments.items() if not (name == "to" and k == "rate")}
    return {**kept, name: value}


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
class TestEntry:
    def test_the_example_holds_the_shape_and_prints_as_written(self, entry: Entry) -> None:
        assert re.search(rf"\b{entry.name}\(", entry.example)
        assert parse(str(parse(entry.example))) == parse(entry.example)

    @pytest.mark.parametrize("steps", [10, 1000, 10_007])
    def test_the_example_peaks_at_factor_1(self, entry: Entry, steps: int) -> None:
        curve = quiet(parse(entry.example), steps)
        factors = curve.chunk(0, steps)
        # A ramp has its peak where it ends, and the end is exclusive.
        assert (curve(steps) if entry.name == "ramp" else factors.max()) == 1.0
        assert factors.max() <= 1.0
        assert factors.min() > 0.0  # no update is spent on a rate of 0

    def test_it_says_all_that_a_person_needs(self, entry: Entry) -> None:
        assert entry.formula
        assert re.search(r"arXiv:\d{4}\.\d{5}|doi:10\.|https://", entry.source)
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
