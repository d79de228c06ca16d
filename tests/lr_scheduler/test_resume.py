"""A state that is saved at any step goes on, in whatever optimizer and order it is loaded, as if never interrupted."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch

import lrkit.lr_scheduler as twin
from drop_in import CHAINABLE, EVERY, JOINTS, OVERWRITING, advance, lrs, sgd, stock, trace

STEPS = 16


def saved(state: Any) -> Any:
    """Through a file, as only plain data goes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.3)], ids=["one", "two"])
@pytest.mark.parametrize("name", EVERY)
def test_a_fresh_optimizer_goes_on_from_the_schedulers_state_alone(
    name: str, rates: tuple[float, ...]
) -> None:
    """Built with another lr, never loaded itself, at every step: the same numbers to the last bit."""
    whole = trace(EVERY[name](twin, sgd(*rates)), STEPS)
    for taken in range(STEPS):
        first = EVERY[name](twin, sgd(*rates))
        advance(first, taken)
        second = EVERY[name](twin, sgd(*[7.0 for _ in rates]))
        second.load_state_dict(saved(first.state_dict()))
        assert trace(second, STEPS - taken) == whole[taken:], taken


@pytest.mark.parametrize(
    "order", ["build, optimizer, scheduler", "build, scheduler, optimizer", "optimizer, build, scheduler"]
)
@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_loading_does_not_matter(name: str, order: str) -> None:
    whole = trace(EVERY[name](twin, sgd(0.1, 0.3)), STEPS)
    first = EVERY[name](twin, sgd(0.1, 0.3))
    advance(first, 10)
    states = {"optimizer": saved(first.optimizer.state_dict()), "scheduler": saved(first.state_dict())}
    optimizer, second = sgd(5.0, 7.0), None
    for what in order.split(", "):
        if what == "build":
            second = EVERY[name](twin, optimizer)
        elif what == "optimizer":
            optimizer.load_state_dict(states[what])
        else:
            assert second is not None
            second.load_state_dict(states[what])
    assert trace(second, STEPS - 10) == whole[10:]


@pytest.mark.parametrize("name", EVERY)
def test_states_go_both_ways_between_torch_and_here(name: str) -> None:
    theirs = EVERY[name](stock, sgd(0.1, 0.3))
    advance(theirs, 9)
    whole = trace(EVERY[name](stock, sgd(0.1, 0.3)), STEPS)
    ours = EVERY[name](twin, sgd(5.0, 7.0))
    ours.load_state_dict(saved(theirs.state_dict()))
    there = EVERY[name](stock, sgd(0.1, 0.3))
    there.load_state_dict(copy.deepcopy(ours.state_dict()))
    there.optimizer.load_state_dict(saved(ours.optimizer.state_dict()))
    for scheduler in (ours, there):
        for expected, found in zip(whole[9:], trace(scheduler, STEPS - 9), strict=True):
            assert found == pytest.approx(expected, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("taken", [0, 1, 4, 9])
@pytest.mark.parametrize("name", EVERY)
def test_a_loaded_state_is_the_saved_state(name: str, taken: int) -> None:
    first = EVERY[name](twin, sgd(0.1, 0.3))
    advance(first, taken)
    state = first.state_dict()
    before = copy.deepcopy(state)
    second = EVERY[name](twin, sgd(0.1, 0.3))
    for _ in range(2):
        second.load_state_dict(state)
        assert state == before
    assert second.state_dict() == before
    kept = {key: value for key, value in first.__dict__.items() if key not in ("optimizer", "_schedulers")}
    for key, value in kept.items():
        assert callable(value) or second.__dict__[key] == value


@pytest.mark.parametrize("name", CHAINABLE.keys() | {"ChainedScheduler"})
def test_what_others_did_to_the_lr_is_saved(name: str) -> None:
    make = EVERY[name]
    first = make(twin, sgd(0.1, 0.3))
    advance(first, 4)
    first.optimizer.param_groups[1]["lr"] *= 0.5
    advance(first, 2)
    state = saved(first.state_dict())
    second = make(twin, sgd(7.0, 7.0))
    second.load_state_dict(state)
    assert trace(second, 10) == trace(first, 10)


@pytest.mark.filterwarnings(
    "ignore:Seems like `optimizer.step"
)  # as in torch: a copied optimizer is unwrapped
@pytest.mark.parametrize("name", EVERY)
def test_copies_and_pickles_go_on_alike(name: str) -> None:
    if "scaled" in name:
        pytest.skip("a state of Python functions")
    first = EVERY[name](twin, sgd(0.1, 0.3))
    advance(first, 5)
    copied = copy.deepcopy(first)
    thawed = pickle.loads(pickle.dumps(first))  # noqa: S301 - our own
    assert trace(copied, 8) == trace(thawed, 8) == trace(first, 8)


@pytest.mark.parametrize("name", CHAINABLE.keys() | OVERWRITING.keys() - {"SWALR", "SWALR, linear"})
def test_last_epoch_on_a_resumed_optimizer_shows_the_loaded_lr(name: str) -> None:
    """As in torch: after one step, last_epoch=0."""
    first = EVERY[name](twin, sgd(0.1))
    advance(first)
    optimizer = sgd(0.1)
    optimizer.load_state_dict(first.optimizer.state_dict())
    kind, make = name.partition(",")[0], EVERY[name]
    original = getattr(twin, kind)

    class At:
        def __getattr__(self, wanted: str) -> Any:
            return lambda *given, **named: original(*given, last_epoch=0, **named)

    make(At(), optimizer)
    assert lrs(optimizer) == pytest.approx(lrs(first.optimizer), rel=1e-12)


def test_two_schedulers_on_one_optimizer_are_loaded_in_the_order_in_which_they_step() -> None:
    def build(lr: float) -> tuple[Any, Any]:
        optimizer = sgd(lr)
        return twin.StepLR(optimizer, 2, 0.5), twin.ExponentialLR(optimizer, 0.9)

    def steps(pair: tuple[Any, Any], count: int) -> list[float]:
        seen = []
        for _ in range(count):
            seen += lrs(pair[0].optimizer)
            for scheduler in pair:
                advance(scheduler)
        return seen

    whole = steps(build(0.1), 12)
    for taken in range(12):
        first, second = build(0.1), build(3.0)
        steps(first, taken)
        for saver, loader in zip(first, second, strict=True):
            loader.load_state_dict(saver.state_dict())
        assert steps(second, 12 - taken) == pytest.approx(whole[taken:], rel=1e-12)


def test_a_checkpoints_lr_is_not_replaced_by_an_older_one() -> None:
    """What came into the groups since the scheduler was built is not the scheduler's to change."""
    scheduler = twin.StepLR(sgd(0.1), 3)
    state = scheduler.state_dict()
    scheduler.optimizer.param_groups[0]["lr"] = 0.77
    scheduler.load_state_dict(state)
    assert lrs(scheduler.optimizer) == [0.77]


def test_every_joint_is_among_the_cases() -> None:
    assert {name.partition(",")[0] for name in JOINTS} == {"SequentialLR", "ChainedScheduler"}
