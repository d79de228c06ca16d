"""Objectives become the units of the fit whatever they measure, and come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.search.scale import Scale
from lrkit.search.trials import Result

RATES = (1e-4, 4e-4, 1e-3, 2.5e-3, 1e-2)


def results(objectives, *, steps=100, seed=0):
    return [
        Result(lr, seed, steps, value, not math.isfinite(value), steps, 0.0)
        for lr, value in zip(RATES, objectives, strict=True)
    ]


@given(st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5))
def test_the_order_of_objectives_is_kept(values):
    for direction, sign in (("min", 1), ("max", -1)):
        found = results(values)
        ys = [p.y for p in Scale.of(found, steps=100, direction=direction).points(found)]
        assert np.all(np.diff(np.array(ys)[np.argsort(sign * np.array(values), kind="stable")]) >= 0)


@given(st.floats(1e-6, 1e6), st.floats(0.1, 30))
def test_the_unit_of_the_loss_does_not_matter(factor, power):
    """a * loss ** b has its best rate where the loss has it, and the fit sees the same numbers."""
    values = [0.9, 0.5, 0.4, 0.45, 0.8]
    scaled = [factor * value**power for value in values]
    seen = [
        [p.y for p in Scale.of(found, steps=100, direction="min").points(found)]
        for found in (results(values), results(scaled))
    ]
    assert seen[0] == pytest.approx(seen[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_objectives_come_back_from_fitted_values(direction, shift):
    found = results([0.9 + shift, 0.5 + shift, 0.4 + shift, 0.45 + shift, 0.8 + shift])
    scale = Scale.of(found, steps=100, direction=direction)
    back = scale.objective(np.array([p.y for p in scale.points(found)]))
    assert back == pytest.approx([r.objective for r in found])


def test_what_diverged_stands_above_all_else():
    found = results([0.9, 0.5, 0.4, 50.0, math.nan])
    ys = {p.x: p.y for p in Scale.of(found, steps=100, direction="min").points(found)}
    assert max(ys, key=ys.get) == pytest.approx(-2.0)
    assert ys[math.log10(1e-2)] >= ys[math.log10(2.5e-3)]


def test_a_cliff_does_not_shrink_the_valley():
    """The unit is the typical excess near the best, so one exploded trial does not make the rest look equal."""
    calm = Scale.of(results([0.9, 0.5, 0.4, 0.45, 0.8]), steps=100, direction="max")
    cliff = Scale.of(results([-1e30, 0.5, 0.4, 0.45, 0.8]), steps=100, direction="max")
    assert cliff.unit == pytest.approx(calm.unit, rel=0.5)


def test_equal_objectives_have_no_unit():
    found = results([0.5] * 5)
    scale = Scale.of(found, steps=100, direction="max")
    assert scale.unit == 0.0
    assert {p.y for p in scale.points(found)} == {0.0}
