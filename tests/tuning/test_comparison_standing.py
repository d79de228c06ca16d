"""Significance: against scipy, by construction, and where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lrkit.tuning.comparing.standing import adjust_by_holm, stand
from lrkit.tuning.comparing.student import two_sided_p, two_sided_quantile

probabilities = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


@given(st.floats(-50, 50), st.integers(1, 60))
def test_student_beside_scipy(t, n):
    assert two_sided_p(t, n) == pytest.approx(2 * stats.t.sf(abs(t), n), rel=1e-7, abs=1e-13)


@given(st.floats(0.01, 0.999), st.integers(1, 60))
def test_the_quantile_gives_the_confidence_back(confidence, n):
    assert two_sided_quantile(confidence, n) == pytest.approx(stats.t.ppf((1 + confidence) / 2, n), rel=1e-8)


@given(probabilities)
def test_holm_never_lowers_a_p_and_keeps_their_order(ps):
    adjusted = adjust_by_holm(ps)
    assert all(after >= before for before, after in zip(ps, adjusted, strict=True))
    assert all(after <= 1 for after in adjusted)
    by_p = [after for _, after in sorted(zip(ps, adjusted, strict=True))]
    assert by_p == sorted(by_p)
    assert min(adjusted) == pytest.approx(min(1.0, len(ps) * min(ps)))


def constructed(noise=0.02):
    """`good` and `alike` share the luck of each seed, `bad` is worse by 1 at each seed, a little more or less."""
    luck = np.array([5.0, -3.0, 0.5, 1.0, -4.0, 2.0])
    return {
        "bad": luck + 1.0 + noise * np.array([1, 0, -1, 1, 0, -1]),
        "alike": luck + 0.0005 + noise * np.array([1, 1, -1, -1, 0, 0]),
        "good": luck + noise * np.array([-1, 1, 1, -1, 1, -1]),
    }


def test_a_difference_below_the_spread_of_seeds_is_found_as_the_seeds_are_shared():
    standings = stand(constructed(), "min")
    assert standings["bad"].rank == 3
    assert standings["bad"].sd > 2
    assert standings["bad"].difference == pytest.approx(1.0, abs=0.05)
    assert standings["bad"].told_apart
    low, high = standings["bad"].interval_of_difference
    assert 0.9 < low < standings["bad"].difference < high < 1.1
    unclear = next(standings[name] for name in ("good", "alike") if standings[name].rank == 2)
    assert not unclear.told_apart
    assert unclear.interval_of_difference[0] < 0 < unclear.interval_of_difference[1]


def test_the_p_values_are_those_of_scipys_paired_test_times_the_pairs():
    values = constructed(noise=0.5)
    standings = stand(values, "min")
    best = next(name for name, one in standings.items() if one.rank == 1)
    pairs = [("bad", "alike"), ("bad", "good"), ("alike", "good")]
    raw = {frozenset(pair): stats.ttest_rel(*(values[name] for name in pair)).pvalue for pair in pairs}
    holm, highest = {}, 0.0
    for place, pair in enumerate(sorted(raw, key=raw.get)):
        highest = max(highest, (3 - place) * raw[pair])
        holm[pair] = min(1.0, highest)
    for name in values:
        if name != best:
            assert standings[name].p == pytest.approx(holm[frozenset((name, best))], rel=1e-9)


def test_larger_is_better_when_it_is_said():
    assert stand({"a": [0.9, 0.8], "b": [0.7, 0.6]}, "max")["a"].rank == 1
    assert stand({"a": [0.9, 0.8], "b": [0.7, 0.6]}, "min")["b"].rank == 1


def test_equal_schedules_are_told_apart_in_at_most_1_of_20_comparisons():
    rng = np.random.default_rng(1)
    names, found, comparisons = "abcdef", 0, 300
    for _ in range(comparisons):
        values = dict(zip(names, rng.standard_normal((6, 5)), strict=True))
        found += any(one.told_apart for one in stand(values, "min").values())
    assert found / comparisons <= 0.05


def test_one_seed_has_no_spread_and_no_significance():
    standings = stand({"a": [1.0], "b": [2.0]}, "min")
    assert [standings[name].rank for name in "ab"] == [1, 2]
    assert standings["b"].difference == 1.0
    assert (standings["b"].sd, standings["b"].interval_of_difference, standings["b"].p) == (None, None, None)
    assert not standings["b"].told_apart


def test_a_schedule_that_diverged_once_has_no_rank_and_takes_no_part():
    without = stand({"a": [1.0, 2.0, 2.5], "b": [2.0, 2.5, 3.9]}, "min")
    standings = stand({"a": [1.0, 2.0, 2.5], "b": [2.0, 2.5, 3.9], "c": [0.1, math.nan, 0.1], "d": []}, "min")
    assert standings["c"].rank is standings["d"].rank is standings["c"].mean is None
    assert {name: standings[name] for name in "ab"} == without


def test_the_same_numbers_twice_are_not_told_apart_and_a_constant_gap_is():
    standings = stand({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.5, 2.5]}, "min")
    assert standings["b"].p == 1.0
    assert standings["c"].p == 0.0
