"""Entering a schedule late: `a.skip(n)` at step t is `a` at step t + n."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule import cosine, hold, linear, staircase, warmup
from lrkit.spec import parse
from strategies import calls, quiet

SHAPES = st.sampled_from(
    ["cosine", "linear", "polynomial", "one_minus_sqrt", "staircase", "milestones", "restarts"]
)


@given(
    SHAPES.flatmap(lambda name: calls(name, st.just(Duration.of(60)), st.integers(1, 60).map(Duration.of))),
    st.integers(0, 59),
)
def test_a_skipped_phase_is_the_phase_later(phase, n):
    """To the last bit, also past the end."""
    whole, late = quiet(phase.after("continue"), 60), quiet(phase.skip(n).after("continue"), 60 - n)
    assert np.array_equal(late.chunk(0, 80 - n), whole.chunk(n, 80))


@given(st.integers(0, 30))
def test_a_skipped_sequence_is_the_sequence_later(n):
    whole = warmup(10) >> cosine(15, to=0.1) >> hold(5)
    assert np.array_equal(
        (whole.skip(n) >> hold(1)).over(31 - n).chunk(0, 30 - n), whole.over(30).chunk(n, 30)
    )


def test_it_stands_in_a_sequence_and_takes_the_running_level():
    schedule = linear(4, start=0.0, to=0.5) >> linear(8, to=0.1).skip(4) >> hold(2)
    assert schedule.over(10).chunk(0, 10) == pytest.approx(
        [0, 0.125, 0.25, 0.375, *(0.5 - 0.4 * i / 8 for i in range(4, 8)), 0.1, 0.1], abs=1e-15
    )


def test_an_open_phase_reaches_its_end_when_the_run_does():
    late = cosine(to=0).skip(3).over(7)
    assert np.array_equal(late.chunk(0, 7), cosine(to=0).over(10).chunk(3, 10))


@pytest.mark.parametrize(
    "text", ["cosine(10, to=0).skip(3)", "(hold(4) >> linear(6, to=0)).skip(5)", "hold().skip(1)"]
)
def test_it_prints_as_it_parses(text):
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


def test_to_skip_nothing_is_to_leave_it_alone():
    assert staircase(3, factor=0.5).skip(0) == staircase(3, factor=0.5)


def test_what_cannot_be_skipped_is_said():
    with pytest.raises(SpecError, match=r"linear\(3, to=0\)\.skip\(4\) skips more than the 3 steps"):
        linear(3, to=0).skip(4).over(1)
    with pytest.raises(SpecError, match=r"skip\(\) takes a whole number"):
        linear(3, to=0).skip(-1)


def test_what_comes_after_the_end_stays():
    assert str(linear(to=0).after("error").skip(2)) == "linear(to=0).skip(2).after(error)"
