"""Laws of auto: a pure function from results to the next trials."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lrkit.search.fitting import fit_results
from lrkit.search.methods.auto import AUTO, least_budget, rung_steps
from lrkit.search.scatter import LEAST_NOISE
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey
from search.simulated import STEPS, Objective, outcome, searched, settings_for

numbers = st.integers(0, 10_000)
budgets = st.floats(1.4, 14.0)


def rates_at(results, steps, seed=0):
    return sorted(r.lr for r in results if r.seed == seed and r.steps == steps)


@settings(max_examples=10, deadline=None)
@given(numbers, budgets, st.booleans())
def test_the_budget_is_never_exceeded(number, budget, whole_batches):
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results, stop = searched(objective, asked, whole_batches=whole_batches)
    assert sum(r.cost for r in results) <= asked.budget
    assert stop.reason


@settings(max_examples=5, deadline=None)
@given(numbers, budgets, st.randoms())
def test_any_part_of_a_batch_in_any_order_leaves_its_rest(number, budget, random):
    """So that an interrupted search goes on as if nothing had happened, and several drivers can share a batch."""
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results: list[Result] = []
    while not isinstance(batch := AUTO.next_trials(asked, results), Stop):
        outcomes = [outcome(objective, asked, p) for p in batch]
        done = random.sample(outcomes, random.randrange(len(outcomes)))
        known = [*results, *done]
        random.shuffle(known)
        assert AUTO.next_trials(asked, known) == tuple(
            p for p, result in zip(batch, outcomes, strict=True) if result not in done
        )
        results += outcomes


@settings(max_examples=6, deadline=None)
@given(numbers, budgets)
def test_no_trial_is_run_twice_and_those_that_go_on_were_kept(number, budget):
    objective = Objective.drawn(number)
    asked = settings_for(objective, budget=budget)
    results: list[Result] = []
    kept: frozenset[TrialKey] = frozenset()
    while not isinstance(batch := AUTO.next_trials(asked, results), Stop):
        for proposal in batch:
            assert (proposal.key, proposal.stop) not in {(r.key, r.steps) for r in results}
            assert proposal.cost > 0
            if proposal.start:
                assert proposal.key in kept
        results += [outcome(objective, asked, p) for p in batch]
        stopped = {p.key for p in batch if p.stop < STEPS}
        kept = (kept | stopped) & AUTO.resumable(asked, results)


@settings(max_examples=5, deadline=None)
@given(numbers, st.floats(3.0, 7.0), st.floats(1.2, 2.0))
def test_a_larger_budget_goes_on_from_what_there_is(number, budget, more):
    """Nothing is trained again, and what was trained counts."""
    objective = Objective.drawn(number)
    results, _ = searched(objective, settings_for(objective, budget=budget))
    larger = settings_for(objective, budget=budget * more)
    while not isinstance(batch := AUTO.next_trials(larger, results), Stop):
        assert not {(p.key, p.stop) for p in batch} & {(r.key, r.steps) for r in results}
        results += [outcome(objective, larger, p) for p in batch]
    assert sum(r.cost for r in results) <= larger.budget


@settings(max_examples=6, deadline=None)
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


@settings(max_examples=6, deadline=None)
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


@settings(max_examples=6, deadline=None)
@given(numbers, budgets)
def test_after_the_coarse_grid_nothing_is_tried_above_a_rate_that_diverged(number, budget):
    objective = dataclasses.replace(Objective.drawn(number), cliff=0.35)
    asked = settings_for(objective, budget=budget)
    results: list[Result] = []
    while not isinstance(batch := AUTO.next_trials(asked, results), Stop):
        burst = min((r.lr for r in results if r.diverged), default=math.inf)
        assert not results or all(p.lr < burst for p in batch if not p.start)
        results += [outcome(objective, asked, p) for p in batch]


def test_when_every_rate_diverges_lower_ones_are_tried_and_then_it_ends():
    asked = Settings(steps=300, budget=1800, low=1e-3, high=1e-1)
    results: list[Result] = []
    while not isinstance(following := AUTO.next_trials(asked, results), Stop):
        results += [Result(p.lr, 0, 1, math.nan, True, 1, 0.0) for p in following]
    assert following.reason == "every rate tried diverged"
    assert min(r.lr for r in results) < 1e-5


def test_when_no_rate_helps_little_is_spent():
    asked = Settings(steps=300, budget=1800, low=1e-3, high=1e-1, untrained=1.0)
    results: list[Result] = []
    while not isinstance(following := AUTO.next_trials(asked, results), Stop):
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
    while not isinstance(following := AUTO.next_trials(asked, results), Stop):
        p = following[0]
        results.append(Result(p.lr, p.seed, p.stop, value, False, p.cost, 0.0))
    scale, fit = fit_results(asked, results)
    assert scale.unit == 0.0
    assert min(r.lr for r in results) <= 10.0**fit.best <= max(r.lr for r in results)


@settings(max_examples=10, deadline=None)
@example(steps=2, excess=1.0, width=3.125)
@given(st.integers(1, 3000), st.floats(1.0, 3.0), st.floats(0.1, 4.0))
def test_the_least_budget_gives_an_answer(steps, excess, width):
    """Four coarse trials and one at full length, whatever the bracket and the length."""
    budget = max(least_budget(steps), int(excess * least_budget(steps)))
    asked = Settings(steps=steps, budget=budget, low=1e-4, high=1e-4 * 10**width)
    results: list[Result] = []
    while not isinstance(following := AUTO.next_trials(asked, results), Stop):
        p = following[0]
        value = 1.0 + abs(math.log10(p.lr) + 3.5)
        results.append(Result(p.lr, p.seed, p.stop, value, False, p.cost, 0.0))
    assert any(r.steps == steps for r in results)
    assert sum(r.cost for r in results) <= budget


def test_no_trial_is_judged_while_the_rate_warms_up():
    short = Settings(steps=300, budget=1800, low=1e-3, high=1e-1)
    late = Settings(steps=300, budget=1800, low=1e-3, high=1e-1, earliest=180)
    assert rung_steps(short) == 90
    assert rung_steps(late) == 180
    assert all(p.stop >= 180 for p in AUTO.next_trials(late, []))


def test_a_tight_budget_stops_coarse_trials_sooner_but_not_below_a_tenth():
    rungs = [rung_steps(Settings(steps=300, budget=b, low=1e-3, high=1e-1)) for b in (430, 1050, 1100, 1800)]
    assert rungs == [30, 60, 90, 90]


def test_rates_come_in_three_digits():
    results, _ = searched(Objective(), settings_for(Objective()))
    assert all(float(f"{r.lr:.3g}") == r.lr for r in results)


def test_at_the_default_budget_other_seeds_are_trained_to_the_end():
    objective = Objective.drawn(5, noise=0.03)
    results, _ = searched(objective, settings_for(objective))
    assert len({r.seed for r in results if r.steps == STEPS}) >= 3


@pytest.mark.parametrize("number", [4, 5, 9])
def test_what_looks_certain_is_checked_under_another_seed(number, monkeypatch):
    """One seed's curve can be smooth and elsewhere than the next one's: no search ends early on it alone."""
    monkeypatch.setattr("lrkit.search.fitting.measured_noise", lambda *_: LEAST_NOISE)
    objective = Objective.drawn(number, noise=0.001)
    asked = settings_for(objective)
    results, stop = searched(objective, asked)
    full = {r.seed: [s.lr for s in results if (s.seed, s.steps) == (r.seed, STEPS)] for r in results}
    assert stop.reason == "further trials would tell little"
    assert len(full[1]) == 2
    assert set(full) == {0, 1}
    assert sum(r.cost for r in results) <= asked.budget - STEPS, "some of the budget is left over"


def test_proposals_cost_what_they_train():
    assert Proposal(1e-3, 0, 100, 300).cost == 200
