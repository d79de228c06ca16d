"""The scatter between parts of the validation data is the luck of their choice, whatever the units."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.search.fitting import fit_results
from lrkit.search.scale import Scale
from lrkit.search.scatter import LEAST_NOISE, difference_error, measured_noise
from lrkit.search.trials import Result, Settings

SAMPLES = 40
positive = st.lists(st.floats(0.1, 10.0), min_size=4, max_size=12)


def result(lr: float, parts, *, seed: int = 0, steps: int = 100) -> Result:
    each = tuple((1.0 / len(parts), float(part)) for part in parts)
    return Result(lr, seed, steps, float(sum(parts)), False, steps, 0.0, parts=each)


def test_the_error_is_the_spread_of_repeated_draws():
    rng = np.random.default_rng(0)
    found, truth = [], []
    for _ in range(400):
        shared = rng.gamma(4.0, size=SAMPLES)
        a, b = (shared * rng.gamma(50.0, size=SAMPLES) / (50.0 * SAMPLES) * level for level in (1.0, 1.3))
        pair = result(1e-3, a), result(1e-2, b)
        found.append([difference_error(*pair, logarithmic=log) for log in (True, False)])
        truth.append([math.log(b.sum() / a.sum()), b.sum() - a.sum()])
    assert np.sqrt(np.mean(np.square(found), axis=0)) == pytest.approx(np.std(truth, axis=0), rel=0.12)


@given(positive, st.floats(0.5, 2.0))
def test_what_is_the_same_on_all_parts_is_no_noise(parts, factor):
    a, b = result(1e-3, parts), result(1e-2, [factor * part for part in parts])
    assert difference_error(a, b, logarithmic=True) == pytest.approx(0.0, abs=1e-12)


@given(positive, st.data())
def test_order_and_sign_of_a_pair_do_not_matter(parts, data):
    other = data.draw(st.lists(st.floats(0.1, 10.0), min_size=len(parts), max_size=len(parts)))
    a, b = result(1e-3, parts), result(1e-2, other)
    for logarithmic in (True, False):
        there = difference_error(a, b, logarithmic=logarithmic)
        assert there == pytest.approx(difference_error(b, a, logarithmic=logarithmic), abs=1e-12)
        assert there >= 0.0


@pytest.mark.parametrize(("first", "second"), [((), ()), ((1, 2, 3), (3, 2, 1)), ((1,) * 5, (1,) * 6)])
def test_too_few_parts_or_other_ones_tell_nothing(first, second):
    assert difference_error(result(1e-3, first), result(1e-2, second), logarithmic=True) is None


def trained(scatter: float | None) -> list[Result]:
    """Two seeds at four rates, the objectives always the same; their parts scatter so much between rates."""
    luck = np.random.default_rng(1)
    found = []
    for seed in range(2):
        for x in (-0.6, -0.2, 0.2, 0.6):
            objective = math.exp(x**2 + 0.15 * luck.standard_normal())
            parts: Any = ()
            if scatter is not None:
                parts = np.exp(scatter * luck.standard_normal(32))
                parts = objective * parts / parts.sum()
            else:
                luck.standard_normal(32)
            one = result(10.0 ** (x - 3.0), parts, seed=seed)
            found.append(replace(one, objective=objective))
    return found


def test_quiet_samples_narrow_the_interval_and_noisy_ones_widen_it():
    settings = Settings(steps=100, budget=10_000, low=1e-4, high=1e-2)
    fits = [fit_results(settings, trained(scatter))[1] for scatter in (0.1, None, 3.0)]
    quiet, unknown, loud = (fit.high - fit.low for fit in fits)
    assert quiet < 0.8 * unknown < 0.8 * loud


def test_batches_of_unequal_size_are_no_noise():
    """Every sample gains 0.1, whatever the size of its batch."""
    sizes = np.array([256, 256, 256, 256, 10]) / 1034
    levels = np.array([0.3, 0.5, 0.4, 0.6, 0.2])
    a, b = (
        replace(result(lr, (0.5,)), parts=tuple(zip(sizes.tolist(), (sizes * values).tolist(), strict=True)))
        for lr, values in ((1e-3, levels), (1e-2, levels + 0.1))
    )
    assert difference_error(a, b, logarithmic=False) == pytest.approx(0.0, abs=1e-12)


def test_a_plateau_on_which_every_sample_is_right_has_a_curve_all_the_same():
    plateau = [result(10.0**x, [0.25] * 4) for x in (-3.0, -2.6, -2.2)]
    worse = [result(10.0**x, [0.25, 0.2, 0.25, 0.1]) for x in (-1.8, -1.4)]
    asked = Settings(steps=100, budget=10_000, low=1e-3, high=1e-1, direction="max")
    fit = fit_results(asked, [*plateau, *worse])[1]
    assert -3.2 < fit.low < fit.best < fit.high
    assert fit.best < -1.8


@given(st.floats(0.0, 1e-3))
def test_however_quiet_the_samples_other_weights_and_batches_are_not(scatter):
    results = trained(scatter)
    found = measured_noise(results, Scale.of(results, steps=100, direction="min"))
    assert found is None or found == LEAST_NOISE


def test_the_noise_told_grows_with_the_scatter_and_needs_a_pair_of_one_seed():
    results = trained(0.3)
    scale = Scale.of(results, steps=100, direction="min")
    once, twice = (measured_noise(trained(scatter), scale) for scatter in (0.3, 0.6))
    assert 1.5 < twice / once < 2.7
    alone = [next(r for r in results if r.seed == seed) for seed in range(2)]
    assert measured_noise(alone, scale) is None
    assert measured_noise([], scale) is None
