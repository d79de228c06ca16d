"""The grid: as fine as the budget allows, never dearer, nothing above a rate that burst."""

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import StudyError
from lrkit.search.methods.grid import GRID
from lrkit.search.space import Space
from lrkit.search.trials import Stop
from search.joint_simulated import Joint, check_laws, searched, without_space
from search.simulated import STEPS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.floats(6, 40), st.booleans(), st.integers(0, 99))
def test_the_laws_of_methods(number, budget, alone, order):
    objective = Joint.drawn(number)
    objective = without_space(objective) if alone else objective
    check_laws(GRID, objective, objective.settings(budget), np.random.default_rng(order))


def test_rates_stand_at_equal_factors_from_end_to_end():
    objective = without_space(Joint.drawn(1))
    asked = objective.settings(12)
    results, stop, _ = searched(GRID, objective, asked)
    rates = sorted(r.lr for r in results)
    assert len(rates) == 12
    steps = np.diff(np.log10(rates))
    assert steps == pytest.approx([2.0 / 11] * 11, abs=0.003)
    assert rates[0] == pytest.approx(asked.low, rel=0.005)
    assert all(r.steps == STEPS or r.diverged for r in results)
    assert stop.reason == "the grid is done: 12 rates, 0.18 decades apart"


def test_a_large_budget_is_not_spent_on_rates_that_noise_alone_tells_apart():
    objective = without_space(Joint.drawn(1))
    results, _, _ = searched(GRID, objective, objective.settings(100))
    assert len(results) == 21


def test_what_the_budget_holds_is_shared_between_rates_and_other_values():
    objective = Joint.drawn(1)
    for budget, rates, numbers in [(6, 3, 2), (12, 6, 2), (18, 6, 3), (30, 6, 5), (50, 10, 5)]:
        results, stop, _ = searched(GRID, objective, objective.settings(budget))
        combinations = {r.values for r in results}
        assert (len({r.lr for r in results}), len(combinations)) == (rates, numbers)
        assert f"{rates} rates" in stop.reason
        assert f"x {numbers} combinations of other values" in stop.reason


def test_choices_are_tried_in_full():
    space = Space({"schedule": ["a", "b", "c"], "momentum": "0..1", "depth": "1..2:int"})
    objective = dataclasses.replace(Joint.drawn(1), space=space)
    results, _, _ = searched(GRID, objective, objective.settings(36))
    assert {r.values for r in results} == {
        (("depth", d), ("momentum", m), ("schedule", s))
        for d, s, m in itertools.product((1, 2), "abc", (0.0, 1.0))
    }


def test_rates_above_one_that_burst_are_left_out_under_its_values_alone():
    objective = Joint.drawn(1, noise=0.0)
    objective = dataclasses.replace(objective, tilt=1.0, rate=dataclasses.replace(objective.rate, cliff=0.3))
    asked, results = objective.settings(60), []
    while not isinstance(batch := GRID.next_trials(asked, results), Stop):
        burst = [r for r in results if r.diverged]
        assert not [p for p in batch if any(r.lr < p.lr and r.values == p.values for r in burst)]
        results += [objective.outcome(asked, p) for p in batch]
    tried = Counter(r.values for r in results)
    assert len(tried) == 5
    assert min(tried.values()) < max(tried.values()) == len({r.lr for r in results})


def test_a_budget_that_holds_no_grid_is_told_what_one_takes():
    objective = dataclasses.replace(Joint.drawn(1), space=Space({"a": list(range(10)), "b": "0..1"}))
    with pytest.raises(
        StudyError, match=r"60 trials of 900 updates \(3 rates under 20 combinations.*method='bayes'"
    ):
        GRID.next_trials(objective.settings(59.9), [])
    assert GRID.next_trials(objective.settings(60), [])


def test_more_budget_goes_on_from_what_there_is():
    objective = Joint.drawn(3)
    few, _, _ = searched(GRID, objective, objective.settings(6))
    more, _, _ = searched(GRID, objective, objective.settings(40), few)
    assert more[: len(few)] == few
    assert len(more) > 3 * len(few)
    assert sum(r.cost for r in more) <= 40 * STEPS
    assert not math.isnan(min(r.objective for r in more if not r.diverged))
