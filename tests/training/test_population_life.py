"""The life of a population: members leave, it is saved and continued, and what does not stack is trained one by one."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrkit
from lrkit.errors import PlanError, StateError, TaskError
from lrkit.training import MemberPlan, Population, Run, cross, load_checkpoint, save_checkpoint
from lrkit.training.population import choice
from toys import fingerprint, random_states, small_net, toy_plan, toy_task

LRS = (1e-3, 3e-3, 1e-2, 3e-2)
CLASSIFY = lrkit.supervised(nn.functional.cross_entropy)


def prints(population: Population) -> dict[int, str]:
    """Each member that is left, to the last bit: tensors and losses."""
    return {
        index: fingerprint(population.model(index).state_dict(), list(population.losses[index]))
        for index in population.alive
    }


@pytest.mark.parametrize("route", ["loop", "eager", "traced"])
def test_a_diverged_member_leaves_and_the_others_do_not_notice(route):
    """Its loss ends with what was not finite, its neighbours are what they are without it, to the last bit."""
    task = toy_task(optimizer=torch.optim.SGD, model=lambda: nn.Linear(4, 3))
    plan = toy_plan(task)
    sound = Population(task, cross(plan, lrs=(*LRS, 1e-3)), route=route)
    hurt = Population(task, cross(plan, lrs=(*LRS, 1e38)), route=route)
    for population in (sound, hurt):
        population.advance(15)
    assert hurt.alive == (0, 1, 2, 3)
    assert hurt.diverged == (False, False, False, False, True)
    run = Run(task, plan.with_lr(1e38))
    run.advance(15)
    assert len(hurt.losses[4]) == len(run.losses)
    assert not math.isfinite(hurt.losses[4][-1])
    alone = prints(sound)
    assert prints(hurt) == {index: alone[index] for index in range(4)}
    assert set(hurt.evaluate("validation")) == {0, 1, 2, 3}


@pytest.mark.parametrize("route", ["loop", "eager", "traced"])
def test_dropped_members_leave_and_the_rest_is_packed(route):
    task = toy_task(model=lambda: small_net(dropout=0.2), optimizer=torch.optim.SGD)
    plan = toy_plan(task)
    population = Population(task, cross(plan, lrs=(*LRS, 0.1, 0.2)), route=route)
    population.advance(8)
    population.drop([0, 1, 3, 5])
    population.advance(16)
    assert population.alive == (2, 4)
    assert [len(losses) for losses in population.losses] == [8, 8, 16, 8, 16, 8]
    for index in population.alive:
        run = Run(task, population.members[index].plan)
        run.advance(16)
        assert population.losses[index] == pytest.approx(run.losses, rel=1e-4)
    population.drop(population.alive)
    population.advance(20)
    assert population.step == 16
    assert population.evaluate("validation") == {}


@pytest.mark.parametrize("route", ["loop", "eager"])
def test_every_member_of_a_population_may_diverge(route):
    task = toy_task(optimizer=torch.optim.SGD, model=lambda: nn.Linear(4, 3))
    members = cross(toy_plan(task), lrs=(1e38, 2e38))
    population = Population(task, members, route=route)
    population.advance(24)
    assert population.alive == ()
    assert all(population.diverged)
    runs = [Run(task, member.plan) for member in members]
    for run in runs:
        run.advance(24)
    assert population.step == max(run.step for run in runs)
    assert [len(losses) for losses in population.losses] == [len(run.losses) for run in runs]


@settings(max_examples=6, deadline=None)
@given(
    stop=st.integers(0, 20),
    gone=st.sets(st.integers(0, 5), max_size=5),
    seeds=st.sampled_from([(0,), (0, 4)]),
    dropout=st.sampled_from([0.0, 0.3]),
    route=st.sampled_from(["loop", "eager", "traced"]),
)
def test_a_population_resumed_anywhere_equals_the_unbroken_one(
    tmp_path_factory, stop, gone, seeds, dropout, route
):
    task = toy_task(model=lambda: small_net(dropout=dropout), steps=20)
    members = cross(toy_plan(task), lrs=LRS[:3], seeds=seeds)
    gone = {index for index in gone if index < len(members)}
    whole = Population(task, members, route=route)
    whole.advance(stop)
    whole.drop(gone)
    path = tmp_path_factory.mktemp("population") / "state.pt"
    save_checkpoint(path, whole.state_dict())
    measured = whole.evaluate("validation")
    whole.advance(20)
    resumed = Population(task, members)
    resumed.load_state_dict(load_checkpoint(path))
    assert resumed.route == whole.route
    assert resumed.step == (stop if len(gone) < len(members) else whole.step)
    assert resumed.evaluate("validation") == measured
    resumed.advance(20)
    assert prints(resumed) == prints(whole)
    assert resumed.losses == whole.losses


def test_an_optimizer_of_the_users_own_is_resumed_too(tmp_path):
    class Mine(torch.optim.Adam):
        pass

    task = toy_task(optimizer=Mine)
    members = cross(toy_plan(task), lrs=LRS)
    whole = Population(task, members, route="eager")
    whole.advance(9)
    whole.drop([0, 1])
    save_checkpoint(tmp_path / "state.pt", whole.state_dict())
    whole.advance(20)
    resumed = Population(task, members)
    resumed.load_state_dict(load_checkpoint(tmp_path / "state.pt"))
    resumed.advance(20)
    assert prints(resumed) == prints(whole)


@pytest.mark.parametrize("route", ["loop", "eager", "traced"])
def test_the_callers_generators_are_left_alone(route):
    task = toy_task()
    for seeds in ((3,), (3, 4)):
        before = fingerprint(random_states())
        population = Population(task, cross(toy_plan(task), lrs=LRS[:2], seeds=seeds), route=route)
        population.advance(5)
        population.evaluate("validation")
        population.drop([0])
        population.advance(7)
        population.model(1)
        assert fingerprint(random_states()) == before


def test_an_evaluation_in_between_changes_nothing():
    task = toy_task()
    plain, watched = (Population(task, cross(toy_plan(task), lrs=LRS), route="eager") for _ in "ab")
    plain.advance(10)
    for step in range(11):
        watched.advance(step)
        watched.evaluate("train")
    assert prints(plain) == prints(watched)


@pytest.mark.parametrize("route", ["loop", "eager"])
def test_an_interrupted_population_refuses_to_go_on_until_it_is_loaded(route):
    task = toy_task()
    members = cross(toy_plan(task), lrs=LRS[:2])
    whole, cut = Population(task, members, route=route), Population(task, members, route=route)
    whole.advance(12)
    cut.advance(4)
    state = copy.deepcopy(cut.state_dict())

    def interrupt(step, losses):
        if step == 7:
            raise KeyboardInterrupt

    before = fingerprint(random_states())
    with pytest.raises(KeyboardInterrupt):
        cut.advance(12, on_step=interrupt)
    assert fingerprint(random_states()) == before
    for use in (cut.state_dict, lambda: cut.advance(12), lambda: cut.evaluate("validation")):
        with pytest.raises(StateError, match="interrupted within an update"):
            use()
    cut.load_state_dict(state)
    cut.advance(12)
    assert prints(cut) == prints(whole)


def test_a_deadline_stops_every_member_at_the_same_update():
    task = toy_task()
    for route in ("loop", "eager"):
        population = Population(task, cross(toy_plan(task), lrs=LRS), route=route)
        population.advance(20, deadline=0.0)
        assert population.step == 0
        seen = []
        population.advance(6, on_step=lambda step, losses, seen=seen: seen.extend((step, i) for i in losses))
        assert sorted(seen) == [(step, index) for step in range(6) for index in range(4)]


class FactoredMoments(torch.optim.Optimizer):
    """Row statistics, as Adafactor has: each element's step depends on others."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad / p.grad.square().mean(-1, keepdim=True).mean(0).sqrt(), alpha=-group["lr"])


class SquaredRate(torch.optim.SGD):
    """Not linear in lr."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 2
        super().step(closure)
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 0.5


class ClosureFree(torch.optim.LBFGS):
    """LBFGS with a closure of its own, so that any trainer can call it."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr, max_iter=2)

    def step(self, closure=None):
        loss = torch.zeros(())
        return super().step(lambda: loss)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        out = self.net(x)
        return out if out.sum() > 0 else 2 * out


class Recurrent(nn.Module):
    """A BatchNorm that averages over all batches asks its counter for a Python number."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=None))

    def forward(self, x):
        return self.net(x)


class Now(nn.Module):
    """One of its layers has a gradient at some steps only."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        if self.training and random.random() < 0.5:
            return self.last(x)
        return self.last(self.first(x))


@pytest.mark.filterwarnings("ignore:the lr was")  # SquaredRate meddles with it during its step
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": Now}, "gradient at some steps only"),
        ({"optimizer": FactoredMoments}, "FactoredMoments is not elementwise and linear in lr"),
        ({"optimizer": SquaredRate}, "SquaredRate is not elementwise and linear in lr"),
        ({"optimizer": ClosureFree}, "LBFGS|ClosureFree"),
        ({"model": Branching}, "vmap|data-dependent"),
        ({"model": Recurrent}, "vmap|item"),
    ],
    ids=["now and then", "rows", "lr squared", "lbfgs", "branch", "counter"],
)
def test_what_does_not_stack_is_trained_one_by_one_and_one_line_says_why(changes, reason, caplog):
    task = toy_task(**changes)
    members = cross(toy_plan(task), lrs=(1e-3, 1e-2))
    population = Population(task, members, route="eager")
    with caplog.at_level(logging.WARNING, logger="lrkit"):
        route = population.route
    assert route.name == "loop"
    assert len(caplog.records) == 1
    assert "one by one" in caplog.text
    assert re.search(reason, route.reason), route.reason
    population.advance(6)
    run = Run(task, members[1].plan)
    run.advance(6)
    assert population.losses[1] == tuple(run.losses)


def test_sgd_whose_closure_is_missing_fails_as_its_plain_run_does():
    task = toy_task(optimizer=torch.optim.LBFGS)
    population = Population(task, cross(toy_plan(task), lrs=(0.1, 0.2)))
    assert "a plain run fails: TypeError" in population.route.reason
    with pytest.raises(TypeError, match="closure"):
        population.advance(1)


def test_float16_and_members_of_two_kinds_are_trained_one_by_one():
    task = toy_task()
    plan = toy_plan(task, precision="float16")
    assert "loss scale" in Population(task, cross(plan, lrs=LRS)).route.reason
    plan = toy_plan(task)
    other = dataclasses.replace(
        plan, optimizer=dataclasses.replace(plan.optimizer, options={"amsgrad": True})
    )
    two = Population(task, [MemberPlan(plan), MemberPlan(other)], route="eager")
    assert "more than numbers" in two.route.reason


def test_a_metric_that_leaves_the_tensors_is_measured_member_by_member(caplog):
    task = toy_task(
        metrics={"sum": lambda model, batch: float(model(batch[0]).sum())}, optimizer=torch.optim.SGD
    )
    members = cross(toy_plan(task), lrs=LRS)
    population = Population(task, members, route="eager")
    population.advance(5)
    found = population.evaluate("test")
    assert "one by one" in caplog.text
    for index, member in enumerate(members):
        run = Run(task, member.plan)
        run.advance(5)
        assert found[index] == pytest.approx(run.evaluate("test"), rel=1e-3)


def test_the_route_is_the_fastest_that_was_timed_and_says_so(monkeypatch):
    task = toy_task()
    times = {"eager": 1e-4, "traced": 1e-5, "compiled": 1e-9}
    monkeypatch.setattr(choice, "_seconds", lambda setup, way, size, facts, graphs: times[way])
    population = Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10_000)
    assert population.route.name == "traced", "ten thousand steps do not pay for a compiler"
    assert "traced 10" in population.route.reason
    long = Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10**9)
    assert long.route.name == "compiled"
    slow = dict.fromkeys(times, 1.0)
    monkeypatch.setattr(choice, "_seconds", lambda setup, way, size, facts, graphs: slow[way])
    assert Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10_000).route.name == "loop"


def test_what_python_decides_anew_at_each_step_is_not_left_to_a_graph(caplog):
    """A graph would repeat the first decision for ever; comparing it with eager steps finds that out."""

    class StochasticDepth(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            scale = 3 if self.training and random.random() < 0.5 else 0
            return self.last(x + scale * self.first(x).tanh())

    task = toy_task(model=StochasticDepth, optimizer=torch.optim.SGD)
    members = cross(toy_plan(task), lrs=LRS)
    population = Population(task, members, route="traced")
    population.advance(20)
    run = Run(task, members[2].plan)
    run.advance(20)
    assert population.losses[2] == pytest.approx(run.losses, rel=1e-4)
    assert "goes on eagerly" in caplog.text
    assert population.route.name == "eager"
    again = Population(task, members)
    again.load_state_dict(population.state_dict())
    assert again.route == population.route


def test_a_graph_is_made_once_and_compared_at_distances_that_double(monkeypatch):
    """The timing's graph trains, too; a hundred short advances are no reason for a hundred eager steps."""
    from lrkit.training.population import flat
    from lrkit.training.population.stacked_loss import StackedLoss

    counts = {"recorded": 0, "eager": 0}

    def counted(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(flat, "make_fx", counted("recorded", flat.make_fx))
    monkeypatch.setattr(choice, "_COST", {"traced": 0.0, "compiled": math.inf})
    monkeypatch.setattr(choice, "_LEAST_SAVING", 0.0)
    timed, told = choice._seconds, {"eager": 1e-6, "traced": 1e-7}
    monkeypatch.setattr(choice, "_seconds", lambda *given: told[given[1]] + 0 * timed(*given))
    batches = [next(iter(toy_task().train))]
    task = toy_task(model=lambda: nn.Linear(4, 3), steps=100, train=batches, validation=batches)
    population = Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10**6)
    assert population.route.name == "traced", population.route.reason
    monkeypatch.setattr(StackedLoss, "gradients", counted("eager", StackedLoss.gradients))
    for step in range(100):
        population.advance(step + 1)
    # Compared before its steps 0, 1, 2, 4, ..., 64, of which ten were taken while it was timed.
    assert counts == {"recorded": 1, "eager": 3}


def test_arithmetic_is_not_recorded(monkeypatch):
    """Where large stacks are slower than plain runs a graph could not help: it is not made."""
    asked = []

    def seconds(setup, way, size, facts, graphs):
        asked.append(way)
        return 1.0

    monkeypatch.setattr(choice, "_seconds", seconds)
    task = toy_task()
    assert Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10**9).route.name == "loop"
    assert asked == ["eager"]


def test_too_little_to_train_is_not_timed():
    task = toy_task()
    route = Population(task, cross(toy_plan(task), lrs=(1e-3,))).route
    assert route.name == "loop"
    assert "too little" in route.reason


def test_a_route_that_cannot_be_taken_is_passed_over(monkeypatch):
    def fails(setup, way, size, facts, graphs):
        if way != "eager":
            raise RuntimeError("no compiler here")
        return 1e-9

    monkeypatch.setattr(choice, "_seconds", fails)
    monkeypatch.setattr(choice, "_COST", {"traced": 0.0, "compiled": 0.0})
    task = toy_task()
    population = Population(task, cross(toy_plan(task), lrs=LRS), expected_steps=10_000)
    assert population.route.name == "eager"


def test_what_cannot_be_one_population_is_said():
    task = toy_task()
    plan = toy_plan(task)
    with pytest.raises(PlanError, match="no members"):
        Population(task, [])
    other = toy_plan(task, clip_norm=1.0)
    with pytest.raises(PlanError, match="member 1 has training"):
        Population(task, [MemberPlan(plan), MemberPlan(other)])
    with pytest.raises(TaskError, match="did you mean 'eager'"):
        Population(task, cross(plan, lrs=LRS), route="eeger")
    for route in ("loop", "eager"):
        everything = Population(task, cross(plan, lrs=LRS[:2]), data="all", route=route)
        everything.advance(2)
        with pytest.raises(TaskError, match="no validation data is left"):
            everything.evaluate("validation")
    population = Population(task, cross(plan, lrs=LRS), route="eager")
    with pytest.raises(TaskError, match="no member 7"):
        population.drop([7])
    population.drop([0])
    with pytest.raises(TaskError, match="has left"):
        population.model(0)
    with pytest.raises(StateError, match="members"):
        Population(task, cross(plan, lrs=LRS[:2])).load_state_dict(population.state_dict())
    with pytest.raises(StateError, match="format"):
        population.load_state_dict({"version": 99})


class OnePlace:
    """A loader that keeps one place, as torchdata's does."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        batches = [(torch.randn(8, 4, generator=generator), torch.arange(8) % 3) for _ in range(5)]
        while self.place < len(batches):
            self.place += 1
            yield batches[self.place - 1]
        self.place = 0

    def __len__(self):
        return 5

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def test_streams_that_would_fight_over_a_loader_are_refused():
    validation = [(torch.zeros(2, 4), torch.zeros(2).long())]
    task = toy_task(train=OnePlace(), validation=validation)
    members = cross(toy_plan(task), lrs=LRS)
    with pytest.raises(TaskError, match="keeps one place"):
        Population(task, members, route="loop").advance(3)
    population = Population(task, members, route="eager")
    population.advance(7)
    own = toy_task(train=lambda seed: OnePlace(), validation=validation)
    loop = Population(own, cross(toy_plan(own), lrs=LRS), route="loop")
    loop.advance(7)
    assert loop.losses[1] == pytest.approx(population.losses[1], rel=1e-4)
