"""Ctrl-C: a snapshot's block is left at once, but never before all is back in place; a Scheduler stays whole."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from fingerprints import fingerprint
from lrkit.optim import Scheduler, snapshot
from lrkit.optim._snapshot import Snapshot
from lrkit.optim.hand import Hand
from lrkit.optim.lanes import Ahead, Lane


@pytest.fixture(autouse=True)
def same_handler_afterwards() -> Iterator[None]:
    """Python's own handler, even where a shell has started the tests in the background, deaf to Ctrl-C."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, found)
    assert after is signal.default_int_handler


class Ringing:
    """A loader that has Ctrl-C pressed while its position is being put back."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        self.order.append("put back in full")


def member() -> tuple[nn.Module, SGD]:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    return model, SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(model: nn.Module, optimizer: SGD) -> None:
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()


def test_in_the_block_it_comes_through_at_once() -> None:
    model, optimizer = member()
    found = fingerprint([model], [optimizer])
    with pytest.raises(KeyboardInterrupt), snapshot(model, optimizer):  # noqa: PT012 - the block is the point
        train(model, optimizer)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not interrupted")
    assert fingerprint([model], [optimizer]) == found


@pytest.mark.parametrize("failing", [False, True])
def test_while_putting_back_it_waits(failing: bool) -> None:
    model, optimizer = member()
    found = fingerprint([model], [optimizer])
    order: list[str] = []
    with pytest.raises(KeyboardInterrupt) as caught, snapshot(model, optimizer, loaders=[Ringing(order)]):  # noqa: PT012 - the block is the point
        train(model, optimizer)
        if failing:
            raise RuntimeError("in the block")
    assert order == ["put back in full"]
    assert fingerprint([model], [optimizer]) == found
    assert isinstance(caught.value.__context__, RuntimeError) == failing


def test_between_the_block_and_the_first_line_of_putting_back_it_waits_as_well() -> None:
    """Python runs handlers before the first instruction of a function, so a flag set in its first line is too late."""
    model, optimizer = member()
    found = fingerprint([model], [optimizer])
    code = Snapshot.__exit__.__code__
    rung: list[int] = []

    def ring(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code is code and not rung:
            rung.append(1)
            handler = signal.getsignal(signal.SIGINT)
            assert callable(handler)
            handler(signal.SIGINT, frame)

    with pytest.raises(KeyboardInterrupt), snapshot(model, optimizer):  # noqa: PT012 - the block is the point
        train(model, optimizer)
        sys.setprofile(ring)
    sys.setprofile(None)
    assert rung
    assert fingerprint([model], [optimizer]) == found


def test_nested_snapshots_are_put_back_in_turn() -> None:
    model, optimizer = member()
    found = fingerprint([model], [optimizer])
    order: list[str] = []
    with pytest.raises(KeyboardInterrupt), snapshot(model, optimizer):  # noqa: PT012 - the block is the point
        train(model, optimizer)
        with snapshot(model, optimizer, loaders=[Ringing(order)]):
            train(model, optimizer)
        pytest.fail("the inner one hands the interrupt over")
    assert fingerprint([model], [optimizer]) == found


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_handlers_that_are_not_pythons_are_let_alone(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with snapshot(nn.Linear(1, 1)):
            assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_the_block_sets_stays_its_own() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[int] = []
    try:
        with snapshot(nn.Linear(1, 1)):
            signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
        signal.raise_signal(signal.SIGINT)
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_there_is_nothing_to_defer() -> None:
    model, optimizer = member()
    found = fingerprint([model], [optimizer])

    def probe() -> None:
        with snapshot(model, optimizer):
            train(model, optimizer)

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join()
    assert fingerprint([model], [optimizer]) == found


@contextlib.contextmanager
def ctrl_c_at(line: int, codes: set[CodeType]) -> Iterator[list[int]]:
    """Ctrl-C before the given one of all lines that these functions run; yields how many came."""
    seen = [0]

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code not in codes:
            return None
        if event == "line":
            seen[0] += 1
            if seen[0] == line:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("floor", [None, 1e-3])
def test_a_read_ahead_that_is_cut_off_leaves_no_wrong_lrs(floor: float | None) -> None:
    codes = {each.__code__ for each in (Hand._read_ahead, Ahead.read, Lane.read)}
    line, seen = 0, [0]
    while line <= seen[0]:  # until one goes through
        line += 1
        optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.5)
        scheduler = Scheduler(optimizer, "linear(to=0)", 4000, floor=floor, clock="calls")
        scheduler.last_epoch = 100
        with contextlib.suppress(KeyboardInterrupt), ctrl_c_at(line, codes) as seen:
            scheduler.step()
        for _ in range(3):
            scheduler.step()
            lr = 0.5 * (1 - scheduler.done / 4000)
            assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, abs=1e-12)
    assert line > 10


CHANGES: dict[str, Callable[[Scheduler, dict[str, Any]], object]] = {
    "extend": lambda scheduler, _: scheduler.extend(60, how="stretch"),
    "replace": lambda scheduler, _: scheduler.replace("cosine(to=0.3)"),
    "rebase": lambda scheduler, _: scheduler.rebase(0.25),
    "observe": lambda scheduler, _: scheduler.observe(2.0),
    "load": lambda scheduler, saved: scheduler.load_state_dict(saved),
}


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_cut_off_was_made_whole_or_not_at_all(change: str, tensor: bool) -> None:
    codes = {
        each.__code__
        for each in (
            Hand.settle,
            Hand.bind,
            Hand.write,
            Hand._read_ahead,
            Hand._find_ways,
            Ahead.read,
            Lane.read,
        )
    }

    def found(scheduler: Scheduler) -> Any:
        groups = scheduler.optimizer.param_groups
        return scheduler.state_dict(), [(float(group["lr"]), group["initial_lr"]) for group in groups]

    outcomes: list[Any] = []
    line, seen = 0, [0]
    while line <= seen[0]:
        line += 1
        lr = torch.tensor(0.5) if tensor else 0.5
        optimizer = AdamW([{"params": [nn.Parameter(torch.ones(1))], "lr": lr}])
        scheduler = Scheduler(optimizer, "linear(to=0)", 40, control=["plateau(patience=0)"])
        for _ in range(5):
            optimizer.step()
        scheduler.observe(1.0)
        saved = {**scheduler.state_dict(), "step": 9}
        before = found(scheduler)
        with contextlib.suppress(KeyboardInterrupt), ctrl_c_at(line, codes) as seen:
            CHANGES[change](scheduler, saved)
        outcomes.append(found(scheduler))
        if outcomes[-1] == before:
            optimizer.step()
            assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.5 * (1 - 6 / 40))
    assert len(outcomes) > 30
    assert outcomes[-1] != before
    assert all(outcome == before for outcome in outcomes[:-1])
