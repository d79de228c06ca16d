"""Laws of the pure function from results to the next trials."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lrkit.search.proposals import fit_results, least_budget, next_trials, resumable, rung_steps
from lrkit.search.trials import Proposal, Result, Settings, Stop
from search.simulated import STEPS, Objective, outcome, searched, settings_for

numbers = st.integers(0, 10_000)
budgets = st.floats(1.4, 14.0)


def rates_at(results, steps, seed=0):
    return sorted(r.lr for r in results if r.seed == seed and r.steps == steps)


@settings(max_examples=20, deadline=None)
@given(numbers, budgets, st.booleans())
def test_the_budget_is_never_exceeded(number, budget, whole_batches):
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results, stop = searched(objective, asked, whole_batches=whole_batches)
    assert sum(r.cost for r in results) <= asked.budget
    assert stop.reason


@settings(max_examples=8, deadline=None)
@given(numbers, budgets, st.randoms())
def test_any_prefix_in_any_order_asks_for_the_same_next_trial(number, budget, random):
    """So that an interrupted search goes on as if nothing had happened."""
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results, _ = searched(objective, asked)
    for k in range(len(results)):
        prefix = results[:k]
        random.shuffle(prefix)
        following = next_trials(asked, prefix)
        assert not isinstance(following, Stop)
        assert outcome(objective, asked, following[0]) == results[k]


@settings(max_examples=12, deadline=None)
@given(numbers, budgets)
def test_no_trial_is_run_twice_and_those_that_go_on_were_kept(number, budget):
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results: list[Result] = []
    kept: set[tuple[float, int]] = set()
    while not isinstance(following := next_trials(asked, results), Stop):
        proposal = following[0]
        assert (proposal.lr, proposal.seed, proposal.stop) not in {(r.lr, r.seed, r.steps) for r in results}
        if proposal.start:
            assert (proposal.lr, proposal.seed) in kept
        if proposal.stop < STEPS:
            kept.add((proposal.lr, proposal.seed))
        results.append(outcome(objective, asked, proposal))
        kept &= resumable(asked, results)


@settings(max_examples=12, deadline=None)
@given(numbers)
def test_the_best_full_trial_has_been_compared_with_both_neighbours(number):
    """Within a budget of ten trainings: each side holds a worse full trial, a hopeless one, or the cliff."""
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=10.0)
    results, _ = searched(objective, asked)
    full = {r.lr: r.objective for r in results if r.seed == 0 and r.steps == STEPS and not r.diverged}
    best = min(full, key=full.get)
    tried = sorted({r.lr for r in results if r.seed == 0})
    place = tried.index(best)
    assert 0 < place < len(tried) - 1
    coarse = {r.lr: r.objective for r in results if r.seed == 0 and r.steps == rung_steps(asked)}
    for neighbour in (tried[place - 1], tried[place + 1]):
        assert neighbour in full or not coarse.get(neighbour, math.nan) < asked.untrained


@settings(max_examples=12, deadline=None)
@given(numbers, st.sampled_from([-1.4, -0.9, 0.9, 1.4]))
def test_a_bracket_that_misses_grows_until_it_holds_the_best(number, miss):
    objective = Objective.drawn(number, noise=0.01)
    asked = Settings(
        steps=STEPS,
        budget=8 * STEPS,
        low=10.0 ** (objective.best + miss - 0.6),
        high=10.0 ** (objective.best + miss + 0.6),
    )
    results, _ = searched(objective, asked)
    tried = [math.log10(r.lr) for r in results]
    assert min(tried) < objective.best < max(tried)
    assert abs(fit_results(asked, results)[1].best - objective.best) < 0.35


def test_nothing_is_tried_above_a_rate_that_diverged():
    asked = Settings(steps=300, budget=1800, low=1e-4, high=1e-1)
    first = next_trials(asked, [])
    middle = first[0]
    burst = Result(middle.lr, 0, 3, math.nan, True, 3, 0.0)
    assert all(p.lr < middle.lr for p in next_trials(asked, [burst]))


def test_when_every_rate_diverges_lower_ones_are_tried_and_then_it_ends():
    asked = Settings(steps=300, budget=1800, low=1e-3, high=1e-1)
    results: list[Result] = []
    while not isinstance(following := next_trials(asked, results), Stop):
        results.append(Result(following[0].lr, 0, 1, math.nan, True, 1, 0.0))
    assert following.reason == "every rate tried diverged"
    assert min(r.lr for r in results) < 1e-5


def test_when_no_rate_helps_little_is_spent():
    asked = Settings(steps=300, budget=1800, low=1e-3, high=1e-1, untrained=1.0)
    results: list[Result] = []
    while not isinstance(following := next_trials(asked, results), Stop):
        p = following[0]
        results.append(Result(p.lr, p.seed, p.stop, 2.0, False, p.cost, 0.0))
    assert following.reason == "no rate does better than the untrained model"
    assert not rates_at(results, 300)


@pytest.mark.parametrize("value", [0.75, 0.0])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_ties_break_nothing(value, direction):
    """An accuracy that is the same at every rate: the search ends and answers from within what it tried."""
    asked = Settings(steps=90, budget=540, low=1e-4, high=1e-2, direction=direction)
    results: list[Result] = []
    while not isinstance(following := next_trials(asked, results), Stop):
        p = following[0]
        results.append(Result(p.lr, p.seed, p.stop, value, False, p.cost, 0.0))
    scale, fit = fit_results(asked, results)
    assert scale.unit == 0.0
    assert min(r.lr for r in results) <= 10.0**fit.best <= max(r.lr for r in results)


@settings(max_examples=20, deadline=None)
@example(steps=2, excess=1.0, width=3.125)
@given(st.integers(1, 3000), st.floats(1.0, 3.0), st.floats(0.1, 4.0))
def test_the_least_budget_gives_an_answer(steps, excess, width):
    """Four coarse trials and one at full length, whatever the bracket and the length."""
    budget = max(least_budget(steps), int(excess * least_budget(steps)))
    asked = Settings(steps=steps, budget=budget, low=1e-4, high=1e-4 * 10**width)
    results: list[Result] = []
    while not isinstance(following := next_trials(asked, results), Stop):
        p = following[0]
        value = 1.0 + abs(math.log10(p.lr) + 3.5)
        results.append(Result(p.lr, p.seed, p.stop, value, False, p.cost, 0.0))
    assert any(r.steps == steps for r in results)
    assert sum(r.cost for r in results) <= budget


def test_no_trial_is_judged_while_the_rate_warms_up():
    short = Settings(steps=300, budget=1800, low=1e-3, high=1e-1)
    late = Settings(steps=300, budget=1800, low=1e-3, high=1e-1, earliest=180)
    assert rung_steps(short) == 100
    assert rung_steps(late) == 180
    assert all(p.stop >= 180 for p in next_trials(late, []))


def test_a_first_rung_is_never_below_a_tenth():
    for budget in (430, 900, 1800, 10_000):
        assert rung_steps(Settings(steps=300, budget=budget, low=1e-3, high=1e-1)) >= 30


def test_rates_come_in_three_digits():
    results, _ = searched(Objective(), settings_for(Objective()))
    assert all(float(f"{r.lr:.3g}") == r.lr for r in results)


def test_more_budget_brings_replicates():
    objective = Objective.drawn(5, noise=0.03)
    results, _ = searched(objective, settings_for(objective, budget=12.0))
    assert {r.seed for r in results} > {0}


def test_proposals_cost_what_they_train():
    assert Proposal(1e-3, 0, 100, 300).cost == 200
