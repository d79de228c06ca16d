"""A step is an optimizer update: whatever the loop does around it, update t runs with base * curve(t)."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lrkit.errors import HorizonError
from lrkit.optim import Scheduler
from lrkit.schedule import Schedule
from lrkit.spec import parse
from strategies import BASE_LR, quiet, tilings

SPEC = "warmup(2) >> cosine(to=0.1)"
CURVE = parse(SPEC).over(10)


def sgd(lr: float = 0.5, groups: int = 1) -> Optimizer:
    return SGD([{"params": [nn.Parameter(torch.ones(1))]} for _ in range(groups)], lr=lr)


def watch(optimizer: Optimizer) -> list[float]:
    """The lrs that updates really ran with."""
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append(float(opt.param_groups[0]["lr"])))
    return seen


@given(tilings(), st.integers(1, 1200))
@settings(deadline=None, max_examples=60)
def test_update_t_runs_with_the_base_lr_times_the_curve_at_t(schedule: Schedule, steps: int) -> None:
    optimizer = sgd(lr=BASE_LR)
    seen = watch(optimizer)
    curve = quiet(schedule, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phases that round to no step
        scheduler = Scheduler(optimizer, schedule, steps)
        for _ in range(steps):
            optimizer.step()
    assert seen == [BASE_LR * curve(t) for t in range(steps)]
    assert scheduler.done == steps


@given(st.lists(st.integers(0, 3), min_size=10, max_size=10), st.booleans())
@settings(deadline=None)
def test_missing_doubled_and_wildly_called_steps_change_nothing(calls: list[int], early: bool) -> None:
    optimizer = sgd()
    seen = watch(optimizer)
    scheduler = Scheduler(optimizer, SPEC, 10)
    if early:
        scheduler.step()
    for number in calls:
        optimizer.step()
        for argument in range(number):
            scheduler.step(argument)  # an epoch, a metric, a batch size: whatever a host passes
    assert seen == [0.5 * CURVE(t) for t in range(10)]
    assert scheduler.done == 10


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_micro_batches_are_not_steps(accumulate: int) -> None:
    model = nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.5)
    seen = watch(optimizer)
    scheduler = Scheduler(optimizer, SPEC, 10)
    for micro in range(10 * accumulate):
        model(torch.ones(1, 2)).sum().backward()
        if (micro + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    assert seen == [0.5 * CURVE(t) for t in range(10)]
    assert scheduler.done == 10


@pytest.mark.parametrize("kind", ["plain", "fused", "unscaled fused"])
def test_steps_that_a_grad_scaler_skips_do_not_count(kind: str) -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = AdamW([parameter], lr=0.5, fused=True) if "fused" in kind else SGD([parameter], lr=0.5)
    scheduler = Scheduler(optimizer, SPEC, 10)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    overflows = {0, 3, 4, 8}
    counted = []
    for t in range(12):
        optimizer.zero_grad()
        scaler.scale((parameter * (float("inf") if t in overflows else 1.0)).sum()).backward()
        if kind.startswith("unscaled"):
            scaler.unscale_(optimizer)
        before = parameter.detach().clone()
        assert optimizer.param_groups[0]["lr"] == 0.5 * CURVE(scheduler.done)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        assert torch.equal(before, parameter) == (t in overflows)
        counted.append(scheduler.done)
    assert counted == [sum(s not in overflows for s in range(t + 1)) for t in range(12)]


def test_an_update_that_raises_does_not_count() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10)

    def closure() -> float:
        raise RuntimeError("in the loss")

    with pytest.raises(RuntimeError, match="in the loss"):
        optimizer.step(closure)
    assert scheduler.done == 0
    assert scheduler.get_last_lr() == [0.5 * CURVE(0)]


def test_a_schedule_goes_on_when_the_scheduler_was_never_kept() -> None:
    optimizer = sgd()
    seen = watch(optimizer)
    Scheduler(optimizer, SPEC, 10)
    for _ in range(10):
        optimizer.step()
    assert seen == [0.5 * CURVE(t) for t in range(10)]


def test_with_clock_calls_only_calls_count() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10, clock="calls")
    for t in range(10):
        optimizer.step()
        optimizer.step()
        assert scheduler.get_last_lr() == [0.5 * CURVE(t)] == [optimizer.param_groups[0]["lr"]]
        scheduler.step()


@pytest.mark.parametrize("clock", ["updates", "calls"])
@given(done=st.integers(0, 10))
@settings(deadline=None)
def test_step_k_means_k_updates_are_done(clock: str, done: int) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10, clock=clock, step=done)
    assert scheduler.done == scheduler.last_epoch == done
    assert optimizer.param_groups[0]["lr"] == 0.5 * CURVE(done)


@pytest.mark.parametrize("clock", ["updates", "calls"])
def test_past_the_end_the_last_value_holds_with_one_warning(clock: str) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10, clock=clock)

    def update() -> None:
        optimizer.step()
        scheduler.step()

    for _ in range(10):
        update()
    with pytest.warns(UserWarning, match="planned 10 updates, now 11") as caught:
        update()
    assert len(caught) == 1
    for _ in range(1000):
        update()
    assert scheduler.get_last_lr() == [0.5 * CURVE(10)] == [optimizer.param_groups[0]["lr"]]


def test_what_continues_by_its_own_word_continues_without_a_warning() -> None:
    optimizer = sgd()
    schedule = parse("exponential(rate=0.5, every=1).after(continue)")
    scheduler = Scheduler(optimizer, schedule, 3)
    for _ in range(6):
        optimizer.step()
    assert scheduler.get_last_lr() == [0.5 * schedule.over(3)(6)]


@pytest.mark.parametrize("clock", ["updates", "calls"])
def test_after_error_refuses_the_first_update_past_the_end_and_no_sooner(clock: str) -> None:
    optimizer = sgd()
    seen = watch(optimizer)
    scheduler = Scheduler(optimizer, "linear(to=0).after(error)", 4, clock=clock)
    weight = optimizer.param_groups[0]["params"][0]
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert seen == [0.5, 0.375, 0.25, 0.125]
    assert scheduler.get_last_lr() == [0.125]
    weight.grad = torch.ones(1)
    with pytest.raises(HorizonError, match="update 5 of a run planned for 4"):
        optimizer.step()
    assert weight.item() == 1.0
    assert scheduler.done == 4
    if clock == "calls":
        with pytest.raises(HorizonError, match="update 5"):
            scheduler.step()


def test_the_first_and_the_very_last_update_of_a_decay_to_zero_both_learn() -> None:
    optimizer = sgd()
    seen = watch(optimizer)
    Scheduler(optimizer, "warmup(50%) >> linear(to=0)", 2)
    optimizer.step()
    optimizer.step()
    assert seen == [0.25, 0.5]
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_several_optimizers_each_count_their_own_updates() -> None:
    first, second = sgd(), Adam([nn.Parameter(torch.ones(1))], lr=1.0)
    schedulers = [Scheduler(first, SPEC, 10), Scheduler(second, "linear(to=0)", 5)]
    for _ in range(3):
        first.step()
    second.step()
    assert [scheduler.done for scheduler in schedulers] == [3, 1]
    assert second.param_groups[0]["lr"] == 0.8
