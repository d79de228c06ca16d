"""For every order of building and loading, the next lr is base * curve(step), and the run goes on bit for bit."""

from __future__ import annotations

import io
import itertools
import json
import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from lrkit.duration import Horizon
from lrkit.errors import LrkitError, StateError
from lrkit.optim import Scheduler
from lrkit.schedule import from_function
from lrkit.spec import parse
from strategies import schedules

SPEC = "warmup(20%) >> hold(30%) >> cosine(to=0)"
STEPS = 12
CURVE = parse(SPEC).over(STEPS)
ORDERS = [
    order
    for order in itertools.permutations(["build", "optimizer", "scheduler"])
    if order.index("build") < order.index("scheduler")
]


def fresh(tensor: bool = False) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    rates = [0.1, 0.01]
    groups = [
        {"params": list(part.parameters()), "lr": torch.tensor(lr) if tensor else lr, "name": name}
        for part, lr, name in zip([model[0], model[2]], rates, ["body", "head"], strict=True)
    ]
    return model, AdamW(groups)


def train(model: nn.Module, optimizer: Optimizer, steps: int) -> list[list[float]]:
    lrs = []
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        lrs.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
    return lrs


def save(**parts: Any) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("tensor", [False, True], ids=["float lr", "tensor lr"])
@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
@pytest.mark.parametrize("k", range(STEPS + 1))
def test_a_run_resumed_at_any_step_in_any_order_equals_the_unbroken_one(
    order: tuple[str, ...], k: int, tensor: bool
) -> None:
    model, optimizer = fresh(tensor)
    scheduler = Scheduler(optimizer, SPEC, STEPS)
    lrs = train(model, optimizer, k)
    saved = save(model=model, optimizer=optimizer, scheduler=scheduler)
    lrs += train(model, optimizer, STEPS - k)

    again, other = fresh(tensor)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    resumed: Scheduler | None = None
    for act in order:
        if act == "build":
            resumed = Scheduler(other, SPEC, STEPS)
        elif act == "optimizer":
            other.load_state_dict(saved["optimizer"])
        else:
            assert resumed is not None
            resumed.load_state_dict(saved["scheduler"])
    again.load_state_dict(saved["model"])
    assert resumed is not None
    assert resumed.done == k
    assert resumed.get_last_lr() == [float(base) * CURVE(k) for base in resumed.base_lrs]
    assert resumed.base_lrs == scheduler.base_lrs
    rest = train(again, other, STEPS - k)
    assert rest == lrs[k:]
    for mine, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("first", ["optimizer", "build"])
def test_step_k_needs_no_scheduler_state(first: str) -> None:
    model, optimizer = fresh()
    Scheduler(optimizer, SPEC, STEPS)
    train(model, optimizer, 5)
    saved = save(optimizer=optimizer)
    _, other = fresh()
    if first == "build":
        resumed = Scheduler(other, SPEC, STEPS, step=5)
        other.load_state_dict(saved["optimizer"])
    else:
        other.load_state_dict(saved["optimizer"])
        resumed = Scheduler(other, SPEC, STEPS, step=5)
    assert [group["lr"] for group in other.param_groups] == [0.1 * CURVE(5), 0.01 * CURVE(5)]
    assert resumed.get_last_lr() == [0.1 * CURVE(5), 0.01 * CURVE(5)]


def test_an_lr_from_a_checkpoint_does_not_beat_the_one_that_the_scheduler_was_built_on() -> None:
    """Unless the scheduler's own state is loaded too, the optimizer's says nothing about the base lr."""
    model, optimizer = fresh()
    Scheduler(optimizer, SPEC, STEPS)
    train(model, optimizer, 5)
    _, other = fresh()
    for group in other.param_groups:
        group["lr"] = 0.5
    resumed = Scheduler(other, SPEC, STEPS, step=2)
    other.load_state_dict(save(optimizer=optimizer)["optimizer"])
    assert [group["lr"] for group in other.param_groups] == [0.5 * CURVE(2)] * 2 == resumed.get_last_lr()
    assert [group["initial_lr"] for group in other.param_groups] == [0.5, 0.5]


def test_a_checkpoint_that_lost_initial_lr_is_mended_by_the_schedulers_state() -> None:
    """Distributed checkpoints drop it."""
    model, optimizer = fresh()
    scheduler = Scheduler(optimizer, SPEC, STEPS)
    train(model, optimizer, 7)
    saved = save(optimizer=optimizer, scheduler=scheduler)
    for group in saved["optimizer"]["param_groups"]:
        del group["initial_lr"]
    _, other = fresh()
    other.load_state_dict(saved["optimizer"])
    resumed = Scheduler(other, SPEC, STEPS)
    resumed.load_state_dict(saved["scheduler"])
    assert resumed.base_lrs == [0.1, 0.01]
    assert [group["initial_lr"] for group in other.param_groups] == [0.1, 0.01]


@given(schedules(), st.integers(1, 50), st.integers(0, 60), st.sampled_from(["updates", "calls"]))
@settings(deadline=None, max_examples=150)
def test_the_state_is_plain_and_says_it_all(schedule: Any, steps: int, done: int, clock: str) -> None:
    def make(step: int = 0) -> Scheduler:
        optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.5)
        horizon = Horizon(steps, steps_per_epoch=7, batch_size=32, tokens_per_step=10**4)
        return Scheduler(optimizer, schedule, horizon, clock=clock, step=step)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler, other = make(done), make()
        except LrkitError:
            return  # most drawn schedules do not fit this horizon
        state = json.loads(json.dumps(scheduler.state_dict()))
        other.load_state_dict(state)
    assert other.state_dict() == scheduler.state_dict() == state
    assert other.get_last_lr() == scheduler.get_last_lr()
    assert parse(state["schedule"]["lr"]) == schedule


def test_the_state_of_a_common_run_is_below_a_kilobyte() -> None:
    _, optimizer = fresh()
    state = Scheduler(
        optimizer, {"lr": SPEC, "weight_decay": "hold()"}, Horizon(10**6, batch_size=32)
    ).state_dict()
    assert len(json.dumps(state)) < 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"schedule": "linear(to=0)"},
            ["'linear(to=0)'", "'warmup(20%) >> hold(30%) >> cosine(to=0)'", "step=4"],
        ),
        ({"horizon": 13}, ["steps was 12 and is 13"]),
        ({"clock": "calls"}, ["clock was 'updates' and is 'calls'"]),
        ({"floor": 0.001}, ["floor was None and is 0.001"]),
        ({"schedule": {"lr": SPEC, "weight_decay": "hold()"}}, ["'weight_decay' was 'unscheduled'"]),
        ({"schedule": from_function(lambda step: 1.0)}, ["is a Python function"]),
    ],
)
def test_the_state_of_another_schedule_is_refused_by_name(change: dict[str, Any], words: list[str]) -> None:
    model, optimizer = fresh()
    settings_ = {"schedule": SPEC, "horizon": STEPS}
    scheduler = Scheduler(optimizer, **settings_)
    train(model, optimizer, 4)
    _, other = fresh()
    resumed = Scheduler(other, **{**settings_, **change})
    before = resumed.state_dict(), [dict(group) for group in other.param_groups]
    with pytest.raises(StateError) as caught:
        resumed.load_state_dict(scheduler.state_dict())
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)
    assert (resumed.state_dict(), [dict(group) for group in other.param_groups]) == before


def test_only_what_the_schedule_counts_in_must_agree_in_the_horizon() -> None:
    """Another batch size moves no phase of a schedule in percent; it does move one in samples."""
    for spec, fits in [("cosine(to=0)", True), ("warmup(64 samples) >> cosine(to=0)", False)]:
        _, optimizer = fresh()
        state = Scheduler(optimizer, spec, Horizon(100, batch_size=32)).state_dict()
        _, other = fresh()
        resumed = Scheduler(other, spec, Horizon(100, batch_size=16))
        if fits:
            resumed.load_state_dict(state)
        else:
            with pytest.raises(StateError, match="batch_size was 32 and is 16"):
                resumed.load_state_dict(state)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: {"last_epoch": 3, "_step_count": 4}, "torch's own"),
        (lambda s: {**s, "version": 3}, "version 3"),
        (lambda s: {k: v for k, v in s.items() if k != "base"}, "lacks base"),
        (lambda s: {**s, "step": 1.5}, "step is 1.5"),
        (lambda s: {**s, "step": True}, "step is True"),
        (lambda s: {**s, "step": 10**30}, "step is 1000"),
        (lambda s: {**s, "step": 2**53 - 1}, "out of range"),
        (lambda s: {**s, "step": -2}, "step is -2"),
        (lambda s: {**s, "horizon": {}}, "horizon is"),
        (lambda s: {**s, "base": {"lr": ["0.1"]}}, "base is"),
        (lambda s: {**s, "base": {"lr": [math.nan, 0.1]}}, "base is"),
        (lambda s: {**s, "base": {"lr": [-1, 0.1]}}, "base is"),
        (lambda s: {**s, "base": {"lr": [True, 0.1]}}, "base is"),
        (lambda s: {**s, "base": {"lr": [10**400, 0.1]}}, "base is"),
        (lambda s: {**s, "base": {"": [0.1]}}, "base is damaged"),
        (lambda s: {**s, "schedule": "cosine()"}, "schedule is"),
        (lambda s: [1, 2], "no state of an lrkit Scheduler"),
    ],
)
def test_damaged_and_foreign_states_are_refused(damage: Any, words: str) -> None:
    _, optimizer = fresh()
    scheduler = Scheduler(optimizer, SPEC, STEPS)
    before = (
        scheduler.state_dict(),
        scheduler.get_last_lr(),
        [dict(group) for group in optimizer.param_groups],
    )
    with pytest.raises(StateError, match=words) as caught:
        scheduler.load_state_dict(damage(scheduler.state_dict()))
    assert "\n" not in str(caught.value)
    after = scheduler.state_dict(), scheduler.get_last_lr(), [dict(group) for group in optimizer.param_groups]
    assert after == before


@pytest.mark.parametrize(
    "damage",
    [
        {"gains": [math.nan, 1.0]},
        {"gains": [-1.0, 1.0]},
        {"gains": [True, 1.0]},
        {"observed": -1},
        *({"states": [{name: -1}]} for name in ("bad", "cooldown", "decided", "seen")),
        *({"states": [{name: math.nan}]} for name in ("best", "mean")),
    ],
)
def test_damaged_feedback_is_refused(damage: dict[str, Any]) -> None:
    _, optimizer = fresh()
    scheduler = Scheduler(optimizer, SPEC, STEPS, control=["plateau(patience=0)"])
    scheduler.observe(1.0)
    before = scheduler.state_dict()
    saved = scheduler.state_dict()
    state = saved["feedback"]["states"][0]
    saved["feedback"] |= damage
    if "states" in damage:
        saved["feedback"]["states"] = [{**state, **damage["states"][0]}]
    with pytest.raises(StateError):
        scheduler.load_state_dict(saved)
    assert scheduler.state_dict() == before


def test_a_state_with_more_groups_waits_for_those_that_are_added_later() -> None:
    model, optimizer = fresh()
    scheduler = Scheduler(optimizer, SPEC, STEPS)
    train(model, optimizer, 5)
    again, _ = fresh()
    other = AdamW([{"params": list(again[0].parameters()), "lr": 0.1, "name": "body"}])
    resumed = Scheduler(other, SPEC, STEPS)
    resumed.load_state_dict(scheduler.state_dict())
    other.add_param_group({"params": list(again[2].parameters()), "lr": 0.77, "name": "head"})
    other.load_state_dict(optimizer.state_dict())
    assert resumed.get_last_lr() == scheduler.get_last_lr()
