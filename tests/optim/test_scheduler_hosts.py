"""What trainers and torch itself ask of a scheduler: type, fields, copies, sequences, no leaks, no noise."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LRScheduler, SequentialLR

from lrkit.errors import HorizonError, StateError
from lrkit.optim import Scheduler, schedulers_paused
from lrkit.spec import parse

SPEC = "warmup(3) >> cosine(to=0.1)"
CURVE = parse(SPEC).over(10)


def sgd(lr: float = 0.5) -> Optimizer:
    return SGD([nn.Parameter(torch.ones(1))], lr=lr)


def test_it_is_what_hosts_ask_for() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10)
    assert isinstance(scheduler, LRScheduler)
    assert scheduler.optimizer is optimizer
    assert scheduler.base_lrs == [0.5] == [optimizer.param_groups[0]["initial_lr"]]
    assert scheduler.last_epoch == 0
    assert scheduler._step_count == 1
    assert scheduler._last_lr == scheduler.get_last_lr() == scheduler.get_lr() == [0.5 * CURVE(0)]
    assert scheduler._get_lr_called_within_step is False
    assert scheduler._is_initial is False
    scheduler._step_count += 1
    scheduler._last_lr = [1.0]
    scheduler._get_lr_called_within_step = True
    assert scheduler.get_last_lr() == [0.5 * CURVE(0)]


def test_what_would_change_a_hosts_mind_is_absent() -> None:
    """Accelerate freezes what has total_steps, DeepSpeed calls what is callable and drops what is falsy."""
    scheduler = Scheduler(sgd(), SPEC, 10)
    assert not hasattr(scheduler, "total_steps")
    assert not callable(scheduler)
    assert scheduler


def test_the_optimizers_step_is_not_wrapped() -> None:
    optimizer = sgd()
    Scheduler(optimizer, SPEC, 10)
    assert "step" not in vars(optimizer)
    assert "_opt_called" not in vars(optimizer)


def test_a_host_that_counts_last_epoch_by_itself_cannot_disturb_the_clock_of_updates() -> None:
    """The way of ignite: lr from get_lr(), then last_epoch += 1."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10)
    for t in range(10):
        scheduler._get_lr_called_within_step = True
        optimizer.param_groups[0]["lr"] = scheduler.get_lr()[0]
        assert optimizer.param_groups[0]["lr"] == 0.5 * CURVE(t)
        scheduler.last_epoch += 1
        optimizer.step()
    with pytest.raises(StateError, match=r"built with step=5"):
        scheduler.last_epoch = 5


def test_with_clock_calls_last_epoch_is_honoured() -> None:
    scheduler = Scheduler(sgd(), SPEC, 10, clock="calls")
    scheduler.last_epoch = 6
    assert scheduler.get_lr() == [0.5 * CURVE(6)]
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5 * CURVE(7)] == [scheduler.optimizer.param_groups[0]["lr"]]


def test_inside_torchs_sequences() -> None:
    optimizer = sgd()
    members = [ConstantLR(optimizer, 0.5, 100), Scheduler(optimizer, SPEC, 10, clock="calls")]
    sequence = SequentialLR(optimizer, members, milestones=[2])
    seen = []
    for _ in range(6):
        seen.append(sequence.get_last_lr()[0])
        assert seen[-1] == optimizer.param_groups[0]["lr"]
        optimizer.step()
        sequence.step()
    assert seen == [0.25, 0.25, *(0.5 * CURVE(t) for t in range(4))]
    saved = io.BytesIO()
    torch.save(sequence.state_dict(), saved)
    saved.seek(0)
    sequence.load_state_dict(torch.load(saved, weights_only=True))
    assert members[1].last_epoch == 4

    first = [Scheduler(optimizer, "linear(to=0)", 4, clock="calls"), ConstantLR(optimizer, 0.5, 100)]
    sequence = SequentialLR(optimizer, first, milestones=[2])
    assert sequence.get_last_lr() == [0.5]


def test_a_clock_of_updates_does_not_belong_into_torchs_sequences() -> None:
    optimizer = sgd()
    with pytest.raises(StateError, match="clock='calls'"):
        SequentialLR(optimizer, [Scheduler(optimizer, SPEC, 10), ConstantLR(optimizer)], milestones=[2])


def test_inside_torchs_chain() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10)
    chain = ChainedScheduler([scheduler], optimizer)
    for t in range(10):
        assert chain.get_last_lr() == [0.5 * CURVE(t)]
        optimizer.step()
        chain.step()


class Forwarding(Optimizer):
    """As Accelerate wraps: an Optimizer by type that hands everything on and has no hooks."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


def test_around_a_wrapped_optimizer() -> None:
    inner = sgd()
    scheduler = Scheduler(Forwarding(inner), SPEC, 10)
    for t in range(10):
        assert inner.param_groups[0]["lr"] == 0.5 * CURVE(t)
        scheduler.optimizer.step()
        scheduler.step()
    assert "on SGD" in repr(scheduler)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])  # noqa: S301
def test_copies_stand_on_their_own(copier: Any) -> None:
    scheduler = Scheduler(sgd(), {"lr": SPEC, "weight_decay": "hold()"}, 10)
    scheduler.optimizer.step()
    twin = copier(scheduler)
    assert twin.state_dict() == scheduler.state_dict()
    assert twin.optimizer is not scheduler.optimizer
    twin.optimizer.step()
    assert (twin.done, scheduler.done) == (2, 1)
    assert twin.optimizer.param_groups[0]["lr"] == 0.5 * CURVE(2)
    assert scheduler.optimizer.param_groups[0]["lr"] == 0.5 * CURVE(1)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])  # noqa: S301
def test_the_optimizer_can_still_be_copied(copier: Any) -> None:
    optimizer = sgd()
    Scheduler(optimizer, SPEC, 10)
    twin = copier(optimizer)
    twin.step()
    assert twin.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.5 * CURVE(0)


@pytest.mark.parametrize("clock", ["updates", "calls"])
def test_nothing_refers_in_a_circle(clock: str) -> None:
    gc.collect()
    gc.disable()
    try:
        optimizer = sgd()
        scheduler = Scheduler(optimizer, SPEC, 10, clock=clock)
        for _ in range(3):
            optimizer.step()
            scheduler.step()
        with schedulers_paused(optimizer):
            optimizer.step()
        gone = [weakref.ref(scheduler), weakref.ref(scheduler._hand), weakref.ref(optimizer)]
        del scheduler
        assert gone[0]() is None
        assert gone[1]() is not None  # the optimizer's hooks keep the schedule going
        del optimizer
        assert [ref() for ref in gone] == [None, None, None]
    finally:
        gc.enable()


def test_a_second_scheduler_takes_over_and_says_so() -> None:
    optimizer = sgd()
    first = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    with pytest.warns(UserWarning, match="already had a Scheduler for lr") as caught:
        second = Scheduler(optimizer, "linear(to=0)", 4)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert second.base_lrs == [0.5]  # not where the first one had come to
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.375
    assert (first.done, second.done) == (1, 1)


def test_two_schedulers_for_two_hyperparameters_live_side_by_side() -> None:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.5, momentum=0.8)
    Scheduler(optimizer, SPEC, 10)
    Scheduler(optimizer, {"momentum": "linear(to=0.5)"}, 4)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.5 * CURVE(1)
    assert optimizer.param_groups[0]["momentum"] == 0.8 * 0.875


def test_after_close_the_optimizer_is_its_owners() -> None:
    optimizer = sgd()
    hooks = [name for name in vars(optimizer) if name.endswith("_hooks")]
    scheduler = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    scheduler.close()
    scheduler.close()
    assert all(not getattr(optimizer, name) for name in hooks)
    optimizer.param_groups[0]["lr"] = 0.125
    optimizer.step()
    assert scheduler.done == 1
    assert optimizer.param_groups[0]["lr"] == 0.125
    assert Scheduler(optimizer, "hold()", 10).base_lrs == [0.125]


def test_a_paused_scheduler_neither_counts_nor_writes() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    with pytest.raises(KeyboardInterrupt), schedulers_paused(optimizer):  # noqa: PT012 - the block is the point
        optimizer.param_groups[0]["lr"] = 0.001
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == 0.001
        raise KeyboardInterrupt
    assert scheduler.done == 1
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.5 * CURVE(2)


def test_it_prints_where_it_stands() -> None:
    scheduler = Scheduler(sgd(), SPEC, 10, step=4)
    assert repr(scheduler) == f"<Scheduler {SPEC} on SGD: 4 of 10 updates done, lr {0.5 * CURVE(4):.6g}>"


def test_an_old_scheduler_left_in_the_loop_is_noticed() -> None:
    optimizer = sgd()
    old = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scheduler = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    old.step()
    with pytest.warns(UserWarning, match=r"something else writes it.*rebase\(\)"):
        optimizer.step()
    old.step()
    optimizer.step()  # once is enough
    assert scheduler.get_last_lr() == [scheduler.base_lrs[0] * CURVE(3)]


def test_a_loader_for_a_horizon_is_told_what_one_is() -> None:
    with pytest.raises(HorizonError, match=r"counts updates.*Horizon\.of"):
        Scheduler(sgd(), SPEC, [1, 2, 3])
