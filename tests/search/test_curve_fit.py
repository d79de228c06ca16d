"""The fit finds the lowest point of curves whose lowest point is known, and says how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.search.curve_fit import MODEL_ERROR, Point, fit_curve, slope_variance
from search.simulated import Objective, fitted, settings_for

LEAST = 2.0 * MODEL_ERROR


def valley(x: float, lowest: float) -> float:
    """Near its floor a parabola, 1 half a decade away, and compressed above 3 as `Scale` does it."""
    y = 4.0 * (x - lowest) ** 2
    return y if y <= 3.0 else 3.0 + math.log1p(y - 3.0)


@settings(max_examples=30)
@given(lowest=st.floats(-0.5, 0.5), spacing=st.floats(0.15, 0.35), offset=st.floats(-3, 3))
def test_a_noiseless_valley_is_found_between_its_points(lowest, spacing, offset):
    xs = np.arange(-1.0, 1.0 + spacing, spacing) + offset
    points = [Point(float(x), 0.0, 0, valley(x, lowest + offset)) for x in xs]
    fit = fit_curve(points, low=float(xs[0]), high=float(xs[-1]))
    assert fit.best == pytest.approx(lowest + offset, abs=0.05)
    assert fit.low < lowest + offset < fit.high


@settings(max_examples=20)
@given(shift=st.floats(-0.25, 0.25))
def test_short_trials_may_have_their_lowest_point_elsewhere(shift):
    """Full-length points decide where it is; the drift is reported with its sign."""
    xs = np.linspace(-0.8, 0.8, 9)
    u = math.log(3.0)
    short = [Point(float(x), u, 0, valley(x, -shift)) for x in xs]
    full = [Point(float(x), 0.0, 0, valley(x, 0.0)) for x in (-0.4, -0.2, 0.0, 0.2, 0.4)]
    fit = fit_curve([*short, *full], low=-0.8, high=0.8)
    assert fit.best == pytest.approx(0.0, abs=0.05)
    assert fit.drift == pytest.approx(-shift, abs=0.08)


def test_the_answer_is_never_outside_of_what_was_tried():
    points = [Point(x, 0.0, 0, -x) for x in (-0.4, -0.2, 0.0, 0.2)]
    fit = fit_curve(points, low=-0.4, high=0.2)
    assert fit.best == pytest.approx(0.2)
    assert fit.high >= 0.2


def test_seeds_that_disagree_widen_the_interval_and_those_that_agree_narrow_it():
    xs = np.linspace(-0.6, 0.6, 7)
    widths = {}
    for name, places in {"one": (0.0,), "agree": (0.0, 0.0, 0.0), "disagree": (0.0, 0.35, -0.35)}.items():
        points = [Point(float(x), 0.0, seed, valley(x, at)) for seed, at in enumerate(places) for x in xs]
        fit = fit_curve(points, low=-0.6, high=0.6)
        widths[name] = fit.high - fit.low
        assert fit.best == pytest.approx(0.0, abs=0.1)
    assert LEAST <= widths["agree"] < widths["one"]
    assert widths["agree"] < 0.7 * widths["disagree"]


def test_the_same_points_give_the_same_fit_to_the_last_bit():
    points = [Point(x, 0.0, 0, valley(x, 0.07)) for x in (-0.5, -0.2, 0.1, 0.4)]
    first, second = (fit_curve(points, low=-0.5, high=0.4) for _ in range(2))
    assert (first.low, first.best, first.high) == (second.low, second.best, second.high)
    assert first.mean.tobytes() == second.mean.tobytes()


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].tobytes()
    fit_curve([Point(x, 0.0, 0, x * x) for x in (-0.3, 0.0, 0.3)], low=-0.3, high=0.3)
    assert np.random.get_state()[1].tobytes() == before


def test_what_tells_most_about_the_lowest_point_lies_on_both_sides_of_it():
    points = [Point(x, 0.0, 0, valley(x, 0.0)) for x in (-0.6, -0.2, 0.2, 0.6)]
    new = [[Point(d, 0.0, 1, 0.0) for d in pair] for pair in ((-0.2, 0.2), (-0.2,), (0.5, 0.6))]
    now, (both, one, far) = slope_variance(points, new, at=0.0, noise=0.3)
    assert both < one < now
    assert both < far


@pytest.mark.parametrize("noise", [0.005, 0.03])
def test_ninety_percent_intervals_hold_the_truth(noise):
    """16 made-up tasks: with 90 % coverage, fewer than 12 would be an accident of 1 in 60; and the intervals
    say something: half of them are narrower than half a decade."""
    held, widths = 0, []
    for number in range(16):
        objective = Objective.drawn(number, noise=noise)
        fit = fitted(objective, settings_for(objective))
        held += fit.low <= objective.best <= fit.high
        widths.append(fit.high - fit.low)
    assert held >= 12
    assert np.median(widths) <= 0.5


def test_the_rate_chosen_costs_little():
    """Made-up tasks at noise as measured: a median regret below 1 %, nine in ten below 3 %."""
    regrets = []
    for number in range(30, 46):
        objective = Objective.drawn(number)
        regrets.append(objective.regret(fitted(objective, settings_for(objective)).best))
    assert np.median(regrets) < 0.01
    assert np.quantile(regrets, 0.9) < 0.03
