"""Trials of a batch: alone or side by side they end alike, and go on from where they stopped."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from torch import nn

from lrkit.search import Proposal, search_lr
from lrkit.search.loss_curves import LossCurves
from lrkit.search.states import FileStates
from lrkit.search.trainer import Trainer
from lrkit.training import Route, default_plan
from toys import toy_task

RATES = (1e-3, 5e-3, 2e-2)
STEPS = 24


def plain_net() -> nn.Module:
    """Nothing in it whose true gradient is zero: of such parameters Adam makes large steps from rounding."""
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def trainer(route: str = "loop", **changes) -> Trainer:
    task = toy_task(model=plain_net, **changes)
    chosen = Trainer(task, default_plan(task), seed=0)
    proposals = [Proposal(lr, 0, 0, STEPS) for lr in RATES]
    named = dataclasses.replace(chosen, route=Route(name="loop", reason="a test"))
    if route == "loop":
        return named
    # As a search does: settled on the first batch, then taken as it is.
    settled = dataclasses.replace(chosen, route=route).population(proposals).route
    assert settled.name == route
    return dataclasses.replace(chosen, route=settled)


def trained(trainer: Trainer, states: FileStates, *stretches: tuple[int, int], seed: int = 0):
    """The results at the end of the last stretch, by rate."""
    found = {}
    for start, stop in stretches:
        proposals = [Proposal(lr, seed, start, stop) for lr in RATES]
        found = {result.lr: result for result in trainer.run(proposals, states)}
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_side_by_side_they_end_as_alone(tmp_path, seed):
    alone = trained(trainer(), FileStates(tmp_path / "a"), (0, 8), (8, STEPS), seed=seed)
    together = trained(trainer("eager"), FileStates(tmp_path / "b"), (0, 8), (8, STEPS), seed=seed)
    for lr in RATES:
        assert together[lr].objective == pytest.approx(alone[lr].objective, rel=1e-4)
        assert together[lr].losses == pytest.approx(alone[lr].losses, rel=1e-4)
        assert (together[lr].steps, together[lr].cost, together[lr].begun) == (STEPS, STEPS - 8, 8)
        assert dict(together[lr].metrics).keys() == dict(alone[lr].metrics).keys()


def test_populations_share_graphs_where_they_have_values_and_route_in_common(tmp_path):
    chosen = trainer("eager")
    latest = chosen.graphs.of((), chosen.route)
    assert latest is not None, "that which settled the route"
    trained(chosen, FileStates(tmp_path), (0, 8), (8, STEPS))
    assert chosen.graphs.of((), chosen.route) is latest
    assert chosen.graphs.of((("eps", 1e-6),), chosen.route) is None
    assert chosen.graphs.of((), Route(name="loop", reason="a test")) is None
    other = [Proposal(lr, 0, 0, STEPS, (("eps", 1e-6),)) for lr in RATES]
    list(chosen.run(other, FileStates(tmp_path)))
    assert chosen.graphs.of((), chosen.route) is None, "one is kept, of the latest values"
    assert trainer("eager").graphs.of(other[0].values, chosen.route) is None, "no other search has part in it"


def test_states_go_from_one_way_to_the_other(tmp_path):
    """What a population left, a plain run takes up."""
    states = FileStates(tmp_path)
    alone = trained(trainer(), FileStates(tmp_path / "a"), (0, STEPS))
    trained(trainer("eager"), states, (0, 8))
    mixed = trained(trainer(), states, (8, STEPS))
    for lr in RATES:
        assert mixed[lr].objective == pytest.approx(alone[lr].objective, rel=1e-4)


@pytest.mark.parametrize("route", ["loop", "eager"])
def test_what_lost_its_state_is_trained_anew(tmp_path, route):
    states, chosen = FileStates(tmp_path), trainer(route)
    whole = trained(chosen, states, (0, 8), (8, STEPS))
    trained(chosen, states, (0, 8))
    states.keep_only(frozenset({(RATES[0], 0, ())}))
    again = trained(chosen, states, (8, STEPS))
    for lr in RATES:
        assert again[lr].objective == pytest.approx(whole[lr].objective, rel=1e-4)
        assert again[lr].cost == STEPS - 8


@pytest.mark.parametrize("route", ["loop", "eager"])
def test_what_was_saved_just_before_a_kill_is_only_measured_again(tmp_path, route):
    """A state is saved before its result is kept: some of a batch may stand further than the others."""
    states, chosen = FileStates(tmp_path), trainer(route)
    whole = trained(chosen, states, (0, 8), (8, 16))
    states.keep_only(frozenset({(RATES[0], 0, ())}))
    further = states.load((RATES[0], 0, ()))
    trained(chosen, states, (0, 8))
    states.save((RATES[0], 0, ()), further)
    again = trained(chosen, states, (8, 16))
    for lr in RATES:
        assert again[lr].objective == pytest.approx(whole[lr].objective, rel=1e-4)
        assert (again[lr].steps, again[lr].cost) == (16, 8)


def test_one_that_diverges_leaves_the_others_alone(tmp_path):
    def loss(model, batch):
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        moved = sum(parameter.detach().abs().max() for parameter in model.parameters())
        return value / (moved < 3.0)  # infinite above

    chosen = trainer("eager", loss=loss)
    proposals = [Proposal(lr, 0, 0, STEPS) for lr in (1e-3, 3.0)]
    calm, wild = chosen.run(proposals, FileStates(tmp_path))
    assert [calm.diverged, wild.diverged] == [False, True]
    assert [math.isfinite(calm.objective), math.isnan(wild.objective)] == [True, True]
    assert 0 < wild.cost < STEPS
    assert not list(tmp_path.iterdir())


def test_another_batch_size_trains_on_as_many_samples(tmp_path):
    chosen = trainer()
    half = chosen.task.train.batch_size // 2
    proposal = Proposal(5e-3, 0, 0, STEPS, values=(("batch_size", half),))
    (result,) = chosen.run([proposal], FileStates(tmp_path))
    assert result.steps == result.cost == STEPS
    assert len(result.losses) == 2 * STEPS


def test_a_search_keeps_the_losses_of_its_trials(tmp_path):
    search = search_lr(toy_task(), bracket=(1e-3, 5e-2), out=tmp_path)
    curves = LossCurves(tmp_path / "curves.bin").read()
    assert {(t.lr, t.seed) for t in search.trials} == {(lr, seed) for lr, seed, _ in curves}
    for trial in search.trials:
        kept = curves[trial.lr, trial.seed, ()]
        assert len(kept) == trial.steps
        assert np.isfinite(kept).all()
    assert search.route in ("loop", "eager", "traced", "compiled")
