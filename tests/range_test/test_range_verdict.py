"""What a sweep is taken for: synthetic sweeps whose truth is known, and how repeats are brought together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.range_test.grid import Grid
from lrkit.range_test.verdict import Verdict, agree, judge

GRID = Grid(1e-7, 10.0, 100)
LRS = GRID.rates(100)
X = np.log10(LRS)


def fall_and_rise(lowest: float, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """Flat at 2.3, a fall that begins two decades below `lowest`, a rise that begins a half above it."""
    at = math.log10(lowest)
    curve = 2.3 - 2 / (1 + np.exp(-4 * (X - at + 1))) + np.exp(np.minimum(6 * (X - at - 0.6), 8))
    return curve + noise * np.random.default_rng(seed).normal(size=len(X))


def judged(losses, *, before=2.3, ending="end", rule="kmin"):
    return judge(LRS, losses, before=before, ending=ending, rule=rule)


@given(lowest=st.floats(-4.5, -0.5), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_minimum_inside_the_range_is_found(lowest, seed):
    verdict = judged(fall_and_rise(10**lowest, seed=seed))
    assert verdict.status == "found"
    assert verdict.edge is None
    assert abs(math.log10(verdict.suggestion) - lowest) < 0.5


@given(noise=st.sampled_from([1e-6, 0.01, 1.0, 100.0]), level=st.sampled_from([2.3, 0.0, -50.0]))
@settings(max_examples=20, deadline=None)
def test_noise_alone_is_hardly_ever_a_fall(noise, level):
    false = 0
    for seed in range(40):
        losses = level + noise * np.random.default_rng(seed).normal(size=100)
        false += judged(losses, before=level).status != "never fell"
    assert false <= 1


def test_a_loss_that_does_not_move_at_all_never_fell():
    assert judged(np.full(100, 2.3)).status == "never fell"
    jitter = 2.3 + 1e-7 * np.sin(np.arange(100))
    assert judged(jitter).status == "never fell"


@pytest.mark.parametrize(
    "losses",
    [
        2.3 * 1.5 ** np.arange(1, 101),  # grows from the first update on
        50 + 20 * np.random.default_rng(0).normal(size=100),  # jumps at once, and stays high
    ],
)
def test_a_loss_that_rises_at_once_asks_for_a_lower_range(losses):
    verdict = judged(losses)
    assert (verdict.status, verdict.edge) == ("diverged at once", "low")


@pytest.mark.parametrize("points", [0, 1, 2, 9])
@pytest.mark.parametrize("ending", ["not finite", "diverged"])
def test_a_sweep_that_ends_in_its_beginning_diverged_at_once(points, ending):
    verdict = judged(np.full(points, 2.3), ending=ending)
    assert (verdict.status, verdict.edge) == ("diverged at once", "low")


def test_a_fall_that_lasts_to_the_end_could_not_be_told():
    losses = 2.3 - np.maximum(0, X + 2)
    verdict = judged(losses + 0.01 * np.random.default_rng(0).normal(size=100))
    assert (verdict.status, verdict.edge) == ("could not tell", "high")


def test_a_fall_that_ends_in_divergence_is_no_open_end():
    losses = (2.3 - np.maximum(0, X + 2) + 0.01 * np.random.default_rng(0).normal(size=100))[:90]
    assert judged(losses, ending="not finite").status == "found"


@pytest.mark.parametrize("start", [[0.2, 0.2, 0.2], [0.5, 0.2, 0.2], [1.0, 0.3, 0.2]])
def test_a_minimum_at_the_low_end_asks_for_a_lower_range(start):
    losses = np.concatenate([start, np.linspace(0.2, 2.2, 100 - len(start))])
    assert judged(losses + 0.01 * np.random.default_rng(0).normal(size=100)).edge == "low"


def one(suggestion, centre=None, status="found"):
    return Verdict(suggestion, suggestion if centre is None else centre, status, "said so")


@given(st.lists(st.floats(-3.4, -3.0), min_size=1, max_size=9))
def test_the_suggestion_is_the_median_and_the_bracket_holds_it(logs):
    agreed = agree([one(10**x) for x in logs])
    assert agreed.status == "found"
    assert math.log10(agreed.suggestion) == pytest.approx(np.median(logs))
    assert agreed.bracket[0] < agreed.suggestion < agreed.bracket[1]
    width = math.log10(agreed.bracket[1] / agreed.bracket[0])
    extra = max(0, np.std(logs, ddof=1) - 0.35) if len(logs) > 1 else 0
    assert width == pytest.approx(1.6 + 2 * extra)


def test_the_spread_is_the_deviation_in_decades():
    assert agree([one(1e-3), one(1e-2), one(1e-2)]).spread == pytest.approx(np.std([0, 1, 1], ddof=1))
    assert math.isnan(agree([one(1e-3)]).spread)


def test_repeats_that_disagree_by_more_than_ten_give_a_bracket_and_no_suggestion():
    agreed = agree([one(1e-4), one(1e-3), one(2e-3)])
    assert (agreed.suggestion, agreed.status) == (None, "could not tell")
    assert agreed.bracket == pytest.approx((1e-4 / 10**1.15, 2e-3 * 10**0.45))
    assert "factor of 20" in agreed.reason


def test_the_bracket_is_that_of_kmin_whatever_rule_suggests():
    agreed = agree([one(1e-4, centre=1e-2), one(1e-4, centre=1e-2)])
    assert agreed.suggestion == pytest.approx(1e-4)
    assert agreed.bracket == pytest.approx((10**-3.15, 10**-1.55))


@pytest.mark.parametrize("status", ["never fell", "diverged at once"])
def test_without_a_majority_there_is_no_suggestion(status):
    agreed = agree(
        [one(1e-3), Verdict(None, None, status, "said so"), Verdict(None, None, status, "said so")]
    )
    assert (agreed.suggestion, agreed.bracket, agreed.status) == (None, None, status)
    assert agreed.reason == "said so (2 of 3 repeats)"


def test_one_repeat_without_an_answer_does_not_stop_the_others():
    agreed = agree([one(1e-3), one(1e-3), Verdict(None, None, "never fell", "said so")])
    assert (agreed.suggestion, agreed.status) == (pytest.approx(1e-3), "found")
