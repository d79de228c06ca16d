"""How far a training is, by what its command tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.search.command import Length, Report
from lrkit.search.command.reports import Clock


def places(unit, reports):
    clock = Clock(unit)
    return [clock.place(report) for report in reports]


@given(st.integers(1, 30))
def test_without_a_count_of_its_own_the_reports_are_counted(count):
    assert places("epochs", [Report(1.0, step=70.0)] * count) == list(range(1, count + 1))


@given(st.lists(st.integers(0, 1000), min_size=1).map(sorted))
def test_its_own_count_goes_from_1_or_is_shifted_by_1(told):
    shift = 1 if told[0] == 0 else 0
    assert places("steps", [Report(1.0, step=float(s)) for s in told]) == [s + shift for s in told]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1))
def test_it_never_goes_back(told):
    reached = places("epochs", [Report(1.0, epoch=place) for place in told])
    assert reached == sorted(reached)


def test_a_length_is_known_or_one_whole_run():
    assert Length.of(20, None) == Length(20, "epochs")
    assert Length.of(None, 700) == Length(700, "steps")
    assert Length.of(None, None).full == 1
    assert not Length.of(None, None).known


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (0, None), (True, None), (2.5, None), (None, -3)])
def test_what_is_no_length_is_refused(epochs, steps):
    with pytest.raises(SpecError):
        Length.of(epochs, steps)
