"""The stop rule: at once on nan and inf, soon on divergence, never on noise, at any level of the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.range_test.stopping import StopRule


def ends_at(losses, steps=100):
    rule = StopRule(steps, points_per_decade=steps / 8)
    for i, loss in enumerate(losses):
        ending = rule.ends(float(loss))
        if ending is not None:
            return i, ending
    return None


def sweep(level, fall, noise, seed, points=100):
    """Flat, then a fall, then a rise beyond all bounds from point 80 on."""
    i = np.arange(points)
    curve = level - fall / (1 + np.exp(-(i - 50) / 4)) + fall * np.expm1(np.maximum(0, i - 80) / 2)
    return curve + noise * np.random.default_rng(seed).normal(size=points)


@given(at=st.integers(0, 99), value=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_loss_that_is_not_finite_ends_the_sweep_at_once(at, value):
    losses = np.full(100, 2.0)
    losses[at] = value
    assert ends_at(losses) == (at, "not finite")


@given(
    level=st.sampled_from([2.3, 1.0, 1e-3, 0.0, -1.0, -1000.0, 1e6]),
    noise=st.sampled_from([0.0, 0.01, 0.05]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=200, deadline=None)
def test_divergence_ends_the_sweep_soon_at_any_level_of_the_loss(level, noise, seed):
    fall = 0.9 * level if level > 0 else max(1.0, abs(level) / 2)
    at, ending = ends_at(sweep(level, fall, noise * fall, seed))
    assert ending == "diverged"
    assert 80 < at < 95


@given(
    level=st.sampled_from([2.3, 0.1, 0.0, -1.0, -1000.0]),
    noise=st.sampled_from([1e-3, 0.1, 1.0]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=200, deadline=None)
def test_noise_alone_never_ends_a_sweep(level, noise, seed):
    losses = level + noise * np.random.default_rng(seed).normal(size=300)
    assert ends_at(losses, steps=300) is None


@given(level=st.sampled_from([2.3, 0.0, -3.0]), at=st.integers(25, 99), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_one_broken_batch_does_not_end_a_sweep(level, at, seed):
    losses = level + 0.05 * np.random.default_rng(seed).normal(size=100)
    losses[at] = 1e30
    assert ends_at(losses) is None


def test_a_rise_that_stays_below_the_start_is_no_divergence():
    losses = np.concatenate([np.full(40, 2.0), np.full(30, 0.1), np.full(30, 1.9)])
    assert ends_at(losses + 0.01 * np.random.default_rng(0).normal(size=100)) is None


@pytest.mark.parametrize("steps", [20, 100, 1000])
def test_the_beginning_only_ends_by_a_loss_that_is_not_finite(steps):
    explosion = np.exp(np.arange(max(10, steps // 5), dtype=float))
    assert ends_at(explosion, steps=steps) is None
