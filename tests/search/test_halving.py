"""Successive halving: rungs no shorter than a tenth, pruned by position, the best rate's neighbours always there."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import StudyError
from lrkit.search.methods.halving import HALVING
from lrkit.search.space import Space
from lrkit.search.trials import Proposal, Result, Stop
from search.joint_simulated import Joint, best_result, check_laws, searched, without_space
from search.simulated import STEPS


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 9), st.floats(6, 15), st.booleans(), st.integers(0, 99))
def test_the_laws_of_methods(number, budget, alone, order):
    objective = Joint.drawn(number)
    objective = without_space(objective) if alone else objective
    check_laws(HALVING, objective, objective.settings(budget), np.random.default_rng(order))


def batches(objective, asked):
    """Every batch, with the results before it."""
    results = []
    while not isinstance(batch := HALVING.next_trials(asked, results), Stop):
        yield batch, tuple(results)
        results += [objective.outcome(asked, p) for p in batch]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), st.floats(3.5, 25), st.booleans())
def test_what_goes_on_lies_around_the_best_rate_and_holds_its_neighbours(number, budget, alone):
    objective = Joint.drawn(number)
    objective, budget = (without_space(objective), budget) if alone else (objective, budget + 4)
    asked = objective.settings(budget)
    for batch, before in batches(objective, asked):
        assert min(p.stop for p in batch) >= STEPS / 10
        if not batch[0].start:
            continue
        gone = {r.key for r in before if r.diverged}
        ladders = {}
        for r in sorted(before, key=lambda r: r.lr):
            if r.steps == batch[0].start and r.key not in gone:
                ladders.setdefault(r.values, []).append(r)
        best = {values: min(ladder, key=lambda r: r.objective) for values, ladder in ladders.items()}
        going = {p.values for p in batch}
        if batch[0].start < STEPS / 4:
            assert len(going) >= len(ladders) / 2
        others = [best[values].objective for values in ladders.keys() - going]
        assert max(best[values].objective for values in going) <= min(others, default=math.inf)
        for values in going:
            rates = [p.lr for p in batch if p.values == values]
            place = ladders[values].index(best[values])
            neighbours = [r.lr for r in ladders[values][max(0, place - 1) : place + 2]]
            assert set(neighbours) <= set(rates)
            assert all(lr in neighbours or abs(math.log10(lr / best[values].lr)) <= 0.61 for lr in rates)


def test_a_rate_that_burst_never_goes_on():
    objective = Joint.drawn(2)
    objective = without_space(
        dataclasses.replace(objective, rate=dataclasses.replace(objective.rate, cliff=0.15))
    )
    results, _, _ = searched(HALVING, objective, objective.settings(6))
    burst = [i for i, r in enumerate(results) if r.diverged]
    assert len(burst) >= 3
    assert all(results[i].key not in {r.key for r in results[i + 1 :]} for i in burst)


def test_where_all_that_went_on_burst_others_take_their_place():
    objective = without_space(Joint.drawn(2))
    asked = objective.settings(6)

    def bursts_late(asked, p: Proposal) -> Result:
        if p.start and math.log10(p.lr) > objective.rate.best - 0.3:
            return Result(p.lr, p.seed, p.start + 5, math.nan, True, 5, 0.1)
        return objective.outcome(asked, p)

    results = []
    while not isinstance(batch := HALVING.next_trials(asked, results), Stop):
        results += [bursts_late(asked, p) for p in batch]
    assert len([r for r in results if r.diverged]) >= 3
    finished = [r for r in results if r.steps == STEPS]
    assert finished
    assert all(math.log10(r.lr) <= objective.rate.best - 0.3 for r in finished)


def test_nothing_is_judged_before_its_warmup_is_over():
    objective = without_space(Joint.drawn(2))
    for earliest, rungs in [(0, {100, 300, 900}), (200, {200, 300, 900}), (500, {500, 900}), (900, {900})]:
        asked = dataclasses.replace(objective.settings(12), earliest=earliest)
        assert {p.stop for batch, _ in batches(objective, asked) for p in batch} == rungs


def test_what_is_left_goes_to_other_seeds_of_the_trials_that_reached_the_end():
    objective = without_space(Joint.drawn(2))
    results, stop, _ = searched(HALVING, objective, objective.settings(40))
    full = [r for r in results if r.steps == STEPS]
    assert sorted({r.seed for r in full}) == [0, 1, 2, 3]
    assert {r.lr for r in full if r.seed} == {r.lr for r in full if not r.seed}
    assert stop.reason == "halving is done: 21 rates, 0.1 decades apart"


def test_it_says_why_when_there_is_nothing_to_go_on_with():
    objective = without_space(Joint.drawn(2))
    asked = objective.settings(6)
    for outcome, told in [
        (lambda s, p: Result(p.lr, p.seed, 1, math.nan, True, 1, 0.1), "every rate tried diverged"),
        (
            lambda s, p: Result(p.lr, p.seed, p.stop, 9.0, False, p.cost, 0.1),
            "no rate does better than the untrained model",
        ),
    ]:
        results = [outcome(asked, p) for p in HALVING.next_trials(asked, [])]
        assert HALVING.next_trials(asked, results).reason.startswith(told)


def test_a_budget_that_is_too_small_is_told_what_it_takes():
    objective = Joint.drawn(2)
    with pytest.raises(
        StudyError, match=r"needs 3000 updates at least \(3 rates under 2 choices.*raise budget="
    ):
        HALVING.next_trials(objective.settings(1), [])
    alone = dataclasses.replace(without_space(objective).settings(1), space=None)
    with pytest.raises(StudyError, match=r"\(3 rates under 1 choice of"):
        HALVING.next_trials(alone, [])


def test_more_budget_goes_on_from_what_there_is():
    objective = Joint.drawn(3)
    few, _, _ = searched(HALVING, objective, objective.settings(6))
    more, _, _ = searched(HALVING, objective, objective.settings(20), few)
    assert more[: len(few)] == few
    assert sum(r.cost for r in more) <= 20 * STEPS
    fresh = more[len(few) :]
    assert any(r.steps == STEPS for r in fresh)
    assert {r.values for r in few} & {r.values for r in fresh}


def test_few_options_are_all_tried():
    objective = dataclasses.replace(Joint.drawn(3), space=Space({"schedule": ["a", "b", "c"]}))
    results, _, _ = searched(HALVING, objective, objective.settings(12))
    assert {dict(r.values)["schedule"] for r in results} == {"a", "b", "c"}


def test_it_finds_a_better_setting_than_a_grid_of_its_budget():
    from lrkit.search.methods.grid import GRID

    def regrets(method):
        for number in range(16):
            objective = Joint.drawn(number)
            best = best_result(searched(method, objective, objective.settings(8))[0])
            yield objective.regret(best.lr, best.values)

    assert np.mean(list(regrets(HALVING))) < 0.5 * np.mean(list(regrets(GRID)))
