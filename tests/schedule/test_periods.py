"""What goes by whole periods: the same numbers one by one as in a row, and waves without a cosine each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.schedule import (
    Schedule,
    cosine,
    cyclic,
    hold,
    inverse_time,
    linear,
    milestones,
    restarts,
    staircase,
    table,
    warmup,
)
from lrkit.schedule.numeric import NUMPY, RUN
from lrkit.schedule.periods import half_waves, repeating, stairs

FAR = 10**15

PERIODIC = [
    cosine(to=0.1),
    cosine(to=0, exponent=2.0).after("continue"),
    warmup("3%") >> cosine("40%", to=0.2) >> cosine(to=0),
    cosine(to=0).repeat(7),
    restarts(1),
    restarts(7, decay=0.99),
    restarts(700, decay=0.9, limit=5),
    restarts(20_011, k=2.0),
    restarts(100, growth=1.5, decay=0.9),
    restarts("0.25%", growth=1.2, lengths="exact"),
    staircase(1, factor=0.9999),
    staircase(300, factor=0.9, start=0.5),
    staircase("30%", factor=0.1) * linear(to=0.5),
    inverse_time(0.5, every=90, form="stair"),
    cyclic(3, down=5, low=0.1, cycle_decay=0.99),
    cyclic(30_000, step_decay=0.9999),
    milestones(["10%", "10%", 7, "60%"], factor=0.5),
    table([1, 0.5, 0.7, 0.2], every=3),
    table(np.linspace(1, 0, 50), every="2%", interpolation="linear"),
    (staircase(50, factor=0.9) * cosine(to=0)).clip(low=0.01),
    (hold(1234) >> restarts(900, duration=30_000) >> cosine(to=0)).skip(1000),
]


@pytest.mark.parametrize("schedule", PERIODIC, ids=str)
def test_steps_in_a_row_have_the_factors_that_each_has_alone(schedule: Schedule) -> None:
    curve, rng = schedule.over(40_000), np.random.default_rng(0)
    whole = curve.chunk(0, 45_000)
    order = rng.permutation(45_000)
    np.testing.assert_array_equal(curve(order), whole[order])
    np.testing.assert_array_equal(curve(np.arange(45_000)), whole)
    for start, stop in np.sort(rng.integers(0, 45_000, (20, 2))).tolist():
        np.testing.assert_array_equal(curve.chunk(start, stop), whole[start:stop])
        assert curve(start) == whole[start]


@given(n=st.integers(1, 3_000_000), start=st.integers(0, 10_000_000), count=st.integers(1, 300))
def test_half_waves_are_those_of_a_cosine(n: int, start: int, count: int) -> None:
    steps = np.arange(start, start + count)
    waves = half_waves(n)(RUN, steps)
    np.testing.assert_array_equal(waves, half_waves(n)(NUMPY, steps))
    exact = (1 + np.cos(np.pi * ((steps % (2 * n)).astype(np.longdouble) / n))) / 2
    assert np.abs(waves - exact).max() < 1e-15
    np.testing.assert_allclose(waves, exact.astype(float), rtol=1e-10, atol=1e-16)
    assert 0.0 <= waves.min() <= waves.max() <= 1.0


@given(n=st.integers(1, 3_000_000), number=st.integers(0, 100))
def test_half_waves_turn_at_1_and_at_0_themselves(n: int, number: int) -> None:
    top, bottom = 2 * n * number, 2 * n * number + n
    assert half_waves(n)(NUMPY, np.array([top, bottom])).tolist() == [1.0, 0.0]


def test_the_longest_waves_are_worked_out_without_tables() -> None:
    curve = cosine(to=0).over(FAR)
    assert curve(FAR // 3) == pytest.approx(0.75, rel=1e-15)
    assert curve(np.array([FAR // 3, 5])).tolist() == [curve(FAR // 3), curve(5)]
    assert curve(FAR - 1) == pytest.approx(0.0, abs=1e-25)


@given(period=st.integers(1, 50), start=st.integers(0, 1000), count=st.integers(1, 200))
def test_repetitions_and_stairs_count_whole_periods(period: int, start: int, count: int) -> None:
    steps = np.arange(start, start + count)
    for m in (NUMPY, RUN):
        assert repeating(lambda m, j: m.real(j), period)(m, steps).tolist() == (steps % period).tolist()
        assert stairs(lambda m, c: m.real(c), period)(m, steps).tolist() == (steps // period).tolist()
