"""The kernel is symmetric and an average; the noise estimate measures noise, not trend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrkit.range_test.smoothing import capped, early_noise, early_window, kernel, smooth

values = arrays(np.float64, st.integers(3, 60), elements=st.floats(-10, 10))


@given(losses=values)
@settings(max_examples=50, deadline=None)
def test_smoothing_commutes_with_reversal(losses):
    """Zero phase: read from the right it is the same curve."""
    lrs = np.geomspace(1e-5, 1, len(losses))
    np.testing.assert_allclose(smooth(lrs, losses), smooth(lrs, losses[::-1])[::-1], atol=1e-9)


@given(losses=values, linear=st.booleans())
@settings(max_examples=50, deadline=None)
def test_each_smoothed_value_is_the_kernels_average(losses, linear):
    space = np.linspace if linear else np.geomspace
    lrs = space(1e-5, 1, len(losses) + 5)
    averages = [kernel(lrs[: len(losses)], i) @ losses for i in range(len(losses))]
    np.testing.assert_allclose(smooth(lrs, losses), averages, atol=1e-9)


@given(losses=values)
@settings(max_examples=50, deadline=None)
def test_smoothing_stays_within_the_losses(losses):
    smoothed = smooth(np.geomspace(1e-5, 1, len(losses)), losses)
    assert losses.min() - 1e-9 <= smoothed.min() <= smoothed.max() <= losses.max() + 1e-9


@pytest.mark.parametrize(("points", "width"), [(30, 3 * 7 / 29), (50, 3 * 7 / 49), (100, 0.3), (1000, 0.3)])
def test_the_kernel_is_three_tenths_of_a_decade_or_three_points_wide(points, width):
    lrs = np.geomspace(1e-6, 10, points)
    weights, x = kernel(lrs, points // 2), np.log10(lrs)
    assert weights.sum() == pytest.approx(1)
    deviation = np.sqrt(weights @ (x - weights @ x) ** 2)
    assert deviation == pytest.approx(width, rel=0.01)


def test_on_a_linear_grid_neighbours_count_where_decades_are_sparse():
    weights = kernel(np.linspace(1e-7, 1.0, 200), 0)
    assert weights[1] > 0.05
    assert weights[30:].max() < 1e-9


@given(first=st.floats(0.01, 100), rest=arrays(np.float64, 20, elements=st.floats(0, 1e6)))
@settings(max_examples=50)
def test_positive_losses_are_capped_at_exactly_twice_the_first(first, rest):
    losses = np.array([first, *rest])
    np.testing.assert_array_equal(capped(losses), np.minimum(losses, first + first))


@given(offset=st.floats(-1e3, -50))
@settings(max_examples=50)
def test_negative_losses_keep_at_least_their_fall_above_the_start(offset):
    losses = offset + np.array([0.0, -10.0, -40.0, 1e9])
    assert capped(losses)[3] == pytest.approx(offset + max(-offset, 40))


@given(scale=st.floats(0.01, 100), slope=st.floats(-0.2, 0.2), seed=st.integers(0, 1000))
@settings(max_examples=50)
def test_early_noise_measures_the_noise_and_not_the_trend(scale, slope, seed):
    noise = scale * np.random.default_rng(seed).normal(size=2000)
    assert early_noise(noise + slope * scale * np.arange(2000), 2000) == pytest.approx(scale, rel=0.12)


def test_what_float32_rounds_to_is_the_least_noise():
    assert early_noise([], 10) == 0
    assert early_noise([2.0], 10) == early_noise([2.0, 2.0, 2.0], 10) == 2e-6


def test_the_quiet_beginning_is_a_fifth_and_ten_at_least():
    assert [early_window(steps) for steps in (20, 50, 100, 1000)] == [10, 10, 20, 200]
