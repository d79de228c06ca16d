"""The rates of a sweep: both ends exactly, even spacing, and growth at the same pace."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.range_test.grid import Grid

grids = st.builds(
    lambda low, decades, steps, spacing: Grid(low, low * 10**decades, steps, spacing),
    st.floats(1e-9, 1e-2),
    st.floats(0.5, 9),
    st.integers(20, 1000),
    st.sampled_from(["log", "linear"]),
)


@given(grids)
def test_a_grid_reaches_from_low_to_high(grid):
    rates = grid.rates(grid.steps)
    assert rates[0] == pytest.approx(grid.low, rel=1e-12)
    assert rates[-1] == pytest.approx(grid.high, rel=1e-12)
    even = np.diff(np.log(rates) if grid.spacing == "log" else rates)
    np.testing.assert_allclose(even, even[0], rtol=1e-6)
    assert (np.diff(rates) > 0).all()


@given(grids)
def test_more_rates_continue_the_same_grid(grid):
    np.testing.assert_array_equal(
        grid.rates(grid.steps + grid.extension)[: grid.steps], grid.rates(grid.steps)
    )


@given(grids)
def test_an_extension_is_one_decade_or_the_linear_range_again(grid):
    last = grid.rate(grid.steps - 1 + grid.extension)
    if grid.spacing == "linear":
        assert last - grid.high == pytest.approx((grid.high - grid.low) * grid.steps / (grid.steps - 1))
    else:
        assert abs(math.log10(last / grid.high) - 1) <= 0.51 / grid.points_per_decade


@given(grids)
def test_a_lowered_grid_begins_three_decades_lower_at_the_same_pace(grid):
    lowered = grid.lowered()
    assert lowered.low == pytest.approx(grid.low / 1000)
    assert lowered.high == grid.high
    if grid.spacing == "log":
        assert lowered.points_per_decade == pytest.approx(grid.points_per_decade, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"low": 0.0}, "low="),
        ({"low": -1.0}, "low="),
        ({"low": math.nan}, "low="),
        ({"high": math.inf}, "high="),
        ({"high": True}, "high="),
        ({"high": "1"}, "high="),
        ({"low": 1.0, "high": 1.0}, "below high="),
        ({"steps": 19}, "at least 20"),
        ({"steps": 100.0}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"spacing": "cubic"}, "'log' or 'linear'"),
    ],
)
def test_a_wrong_grid_is_refused_with_the_value(wrong, told):
    with pytest.raises(SpecError, match=told):
        Grid(**{"low": 1e-5, "high": 1.0, "steps": 50, "spacing": "log", **wrong})
