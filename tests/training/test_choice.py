"""How much choosing a route may cost: a share of what it may save, or of what it is seen to save."""

from __future__ import annotations

import numpy as np
import pytest

from lrkit.training import Population, cross
from lrkit.training.population import choice
from lrkit.training.population.fit import Scouted
from toys import small_net, toy_plan, toy_task


@pytest.fixture
def timings(monkeypatch):
    """What a plain step takes, and a member-step of a stack by way; gives the stacks that are timed."""
    tried: list[tuple[str, int]] = []

    def set_to(plain: float, **stacks: float):
        seen = Scouted(seconds=plain, making=1e-3, idle=frozenset(), draws=False)
        monkeypatch.setattr(choice, "scout", lambda *_, **__: seen)

        def seconds(setup, way, size, facts, graphs):
            tried.append((way, size))
            return stacks[way]

        monkeypatch.setattr(choice, "_seconds", seconds)
        return tried

    return set_to


def chosen(members: int, expected_steps: int) -> str:
    task = toy_task(model=lambda: small_net(dropout=0.0))
    plans = cross(toy_plan(task), lrs=np.geomspace(1e-4, 1e-2, members).tolist())
    return Population(task, plans, device="cpu", expected_steps=expected_steps).route.name


def test_a_short_search_of_a_slow_model_is_trained_plainly_at_once(timings, monkeypatch):
    def unwanted(*_, **__):
        raise AssertionError("members were compared")

    tried = timings(3e-3, eager=1e-3)
    monkeypatch.setattr(choice, "check_fit", unwanted)
    assert chosen(2, expected_steps=720) == "loop"
    assert tried == []


def test_a_stack_that_saves_nothing_is_the_last_that_is_tried(timings):
    tried = timings(2e-3, eager=2.1e-3, traced=1e-5, compiled=1e-6)
    assert chosen(8, expected_steps=3000) == "loop"
    assert tried == [("eager", 8)]


def test_what_a_stack_saves_pays_for_trying_a_better_one(timings):
    tried = timings(5e-4, eager=2.5e-4, traced=1e-4)
    assert chosen(8, expected_steps=6000) == "traced"
    assert tried == [("eager", 8), ("traced", 8)]


@pytest.mark.parametrize(("expected_steps", "sizes"), [(4000, [8]), (40_000, [8, 16, 32])])
def test_larger_stacks_are_tried_where_the_search_is_worth_it(timings, expected_steps, sizes):
    tried = timings(5e-4, eager=2.5e-4, traced=2e-4)
    assert chosen(32, expected_steps) == "traced"
    assert [size for way, size in tried if way == "eager"] == sizes
