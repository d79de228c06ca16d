"""Optuna's samplers as a pure function: batches of four, from the results of earlier ones alone."""

import dataclasses
import importlib.util
import logging
import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import MissingExtra, StudyError
from lrkit.search.methods import bayes
from lrkit.search.methods.batches import SPENT
from lrkit.search.methods.bayes import BAYES
from lrkit.search.space import Space
from lrkit.search.trials import Result, Stop
from search.compare_methods import regrets
from search.joint_simulated import Joint, best_result, check_laws, searched, without_space
from search.simulated import STEPS

MANY = Space(
    {"weight_decay": "1e-5..1:log", "momentum": "0.5..0.99", "depth": "1..9:int", "kind": ["a", "b", "c"]}
)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 9), st.floats(6, 22), st.integers(0, 99))
def test_the_laws_of_methods_with_many_parameters(number, budget, order):
    objective = dataclasses.replace(Joint.drawn(number), space=MANY)
    check_laws(BAYES, objective, objective.settings(budget), np.random.default_rng(order))


@pytest.mark.parametrize("alone", [False, True])
def test_the_laws_of_methods_with_a_gaussian_process(alone):
    objective = without_space(Joint.drawn(1)) if alone else Joint.drawn(1)
    results = check_laws(BAYES, objective, objective.settings(12.5), np.random.default_rng(1))
    assert 10 <= len(results) <= 14


def test_what_was_forgotten_comes_again():
    objective = Joint.drawn(4)
    asked = objective.settings(10)
    results, _, _ = searched(BAYES, objective, asked)
    for many in (4, 5):
        expected = BAYES.next_trials(asked, results[:many])
        bayes._suggested.cache_clear()
        assert BAYES.next_trials(asked, results[:many]) == expected
        assert not {p.key for p in expected} & {r.key for r in results[:many]}


def test_another_seed_is_another_search():
    objective = Joint.drawn(4)
    first, second = (BAYES.next_trials(objective.settings(12, seed), []) for seed in (0, 1))
    assert not {p.lr for p in first} & {p.lr for p in second}
    assert {p.seed for p in second} == {1}


def test_the_first_trials_fill_the_space():
    space = Space({"weight_decay": "1e-5..1:log", "momentum": "0..1"})
    objective = dataclasses.replace(Joint.drawn(4), space=space)
    asked = objective.settings(40)
    results = []
    for _ in range(2):
        results += [objective.outcome(asked, p) for p in BAYES.next_trials(asked, results)]
    assert len(results) == 8
    for places in (
        [math.log10(r.lr / asked.low) / 2 for r in results],
        [space["momentum"].place(r.values[0][1]) for r in results],
        [space["weight_decay"].place(r.values[1][1]) for r in results],
    ):
        assert max(np.diff([0, *sorted(places), 1])) < 0.35


def test_the_last_trials_vary_the_rate_beside_the_best():
    objective = Joint.drawn(4)
    for budget, beside in [(7.5, 2), (13, 4)]:
        results, stop, _ = searched(BAYES, objective, objective.settings(budget))
        before, last = results[:-beside], results[-beside:]
        best = best_result(before)
        assert {r.values for r in last} == {best.values}
        away = [math.log10(r.lr / best.lr) for r in last]
        assert 0.19 < min(map(abs, away)) <= max(map(abs, away)) < 0.41
        assert min(away) < 0 < max(away)
        assert stop == SPENT


def test_more_budget_goes_on_from_what_there_is():
    objective = Joint.drawn(4)
    few, _, _ = searched(BAYES, objective, objective.settings(8))
    more, _, _ = searched(BAYES, objective, objective.settings(16), few)
    assert more[: len(few)] == few
    assert len(more) >= 15
    assert sum(r.cost for r in more) <= 16 * STEPS


def test_a_place_that_was_tried_is_tried_under_another_seed(monkeypatch):
    objective = without_space(Joint.drawn(4))
    asked = objective.settings(12)
    results, _, _ = searched(BAYES, objective, dataclasses.replace(asked, budget=4 * STEPS + 2 * STEPS))
    first = [r for r in results if r.seed == 0][:4]
    monkeypatch.setattr(
        bayes, "_suggested", lambda parameters, tried, scores, seed: (tried[0], tried[0], (0.5,), tried[1])
    )
    again = BAYES.next_trials(asked, first)
    assert [(p.lr, p.seed) for p in again] == [(first[0].lr, 1), (first[0].lr, 2), (0.5, 0), (first[1].lr, 1)]


def test_a_score_that_is_maximised_gives_the_same_search_as_its_negative():
    objective = Joint.drawn(4)
    asked = objective.settings(12)
    results, _, _ = searched(BAYES, objective, asked)
    # Losses below 0 are taken as they are, and so are scores.
    lower = [dataclasses.replace(r, objective=r.objective - 5) for r in results]
    turned = [dataclasses.replace(r, objective=5 - r.objective) for r in results]
    score = dataclasses.replace(asked, direction="max", untrained=-math.inf)
    loss = dataclasses.replace(asked, untrained=math.inf)
    assert BAYES.next_trials(loss, lower[:4]) == BAYES.next_trials(score, turned[:4])
    assert BAYES.next_trials(loss, lower[:4]) != BAYES.next_trials(asked, [])


def test_it_says_why_when_there_is_nothing_to_go_on_with():
    asked = Joint.drawn(4).settings(40)

    def all_of(outcome):
        results = []
        while not isinstance(batch := BAYES.next_trials(asked, results), Stop):
            results += [outcome(p) for p in batch]
        return batch.reason, len(results)

    assert all_of(lambda p: Result(p.lr, p.seed, 3, math.nan, True, 3, 0.1, (), p.values)) == (
        "every rate tried diverged",
        4,
    )
    hopeless = all_of(lambda p: Result(p.lr, p.seed, p.stop, 9.0, False, p.cost, 0.1, (), p.values))
    assert hopeless == ("no rate does better than the untrained model", 4)


def test_too_small_a_budget_and_a_missing_package_are_told(monkeypatch):
    asked = Joint.drawn(4).settings(5.9)
    with pytest.raises(StudyError, match=r"trains 6 trials of 900 updates at least.*raise budget="):
        BAYES.next_trials(asked, [])
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else found(name))
    with pytest.raises(MissingExtra, match=r"method 'bayes' needs optuna: pip install 'lrkit\[search\]'"):
        BAYES.next_trials(Joint.drawn(4).settings(20), [])


def test_optuna_is_silent_and_keeps_its_own_settings(capfd):
    before = optuna.logging.get_verbosity()
    bayes._suggested.cache_clear()
    searched(BAYES, Joint.drawn(4), Joint.drawn(4).settings(9))
    assert optuna.logging.get_verbosity() == before
    assert logging.getLogger("optuna").level == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_it_finds_a_better_setting_than_trials_that_fill_the_space():
    found, filled = (np.mean(regrets(name, 16, range(6))) for name in ("bayes", "spread"))
    assert found < 0.5 * filled
    assert found < 0.05
