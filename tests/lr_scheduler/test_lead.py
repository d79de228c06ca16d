"""Rates read ahead, and what others do in between: the same as in torch, whenever it happens."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lrkit.lr_scheduler as twin
from drop_in import advance, lrs, sgd, stock
from lrkit.lr_scheduler.chainable import LONG

KINDS: dict[str, Any] = {
    "StepLR": lambda m, o: m.StepLR(o, 5, 0.9),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 1.0, 300),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 5000),
    "CosineAnnealingLR, floor": lambda m, o: m.CosineAnnealingLR(o, 5000, eta_min=0.01),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda _: 0.9),
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda step: 0.9**step),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 50, eta_min=0.01),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, 1.0, 50), m.ExponentialLR(o, 0.9)]
    ),
}
RATES = st.sampled_from([(0.5,), (0.5, 0.5, 0.5), (0.1, 0.2, 0.3)])
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["scale", "scale", "tensor", "reload", "state", "look", "last_epoch"]),
        st.integers(0, 2),  # which group
        st.sampled_from([0.9, 0.5, 1.0]),  # 0.9 is what some of the schedules do by themselves
        st.integers(1, 80),  # steps after it
    ),
    min_size=1,
    max_size=5,
)


def played(module: Any, kind: str, rates: tuple[float, ...], acts: list[Any]) -> list[list[float]]:
    """The lrs after each step, with somebody else at work now and then."""
    scheduler = KINDS[kind](module, sgd(*rates))
    optimizer, seen = scheduler.optimizer, []
    for act, place, factor, steps in [("look", 0, 1.0, 40), *acts]:
        group = optimizer.param_groups[place % len(rates)]
        if act == "scale":
            group["lr"] = group["lr"] * factor
        elif act == "tensor":
            group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float64)
        elif act == "reload":
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        elif act == "state":
            scheduler.load_state_dict(copy.deepcopy(scheduler.state_dict()))
        elif act == "last_epoch" and hasattr(scheduler, "last_epoch"):
            scheduler.last_epoch = int(str(scheduler.last_epoch))  # an equal number
        for _ in range(steps):
            seen.append(lrs(scheduler.optimizer))
            scheduler.step()
        seen.append([float(rate) for rate in scheduler.get_last_lr()])
    return seen


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(rates=RATES, acts=ACTS)
def test_what_others_do_counts_as_in_torch(kind: str, rates: tuple[float, ...], acts: list[Any]) -> None:
    theirs, ours = played(stock, kind, rates, acts), played(twin, kind, rates, acts)
    for found, expected in zip(ours, theirs, strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("kind", ["ExponentialLR", "CosineAnnealingLR, floor"])
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.1, 0.2)])
def test_far_ahead_is_as_near(kind: str, rates: tuple[float, ...]) -> None:
    theirs, ours = (KINDS[kind](m, sgd(*rates)) for m in (stock, twin))
    for _ in range(2 * LONG):
        theirs.step()
        ours.step()
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-9)


class _Interrupting(dict[str, Any]):
    """A group in which the next writing of an lr is interrupted, once it is told so, right after it."""

    armed = False

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["ExponentialLR", "CosineAnnealingLR, floor", "ChainedScheduler"])
@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5), (0.1, 0.2, 0.3)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_step_that_was_interrupted_is_taken_again(kind: str, rates: tuple[float, ...], place: int) -> None:
    optimizer = sgd(*rates)
    group = optimizer.param_groups[place] = _Interrupting(optimizer.param_groups[place])
    ours, theirs = KINDS[kind](twin, optimizer), KINDS[kind](stock, sgd(*rates))
    advance(ours, 45)
    advance(theirs, 45)
    group.armed = True
    with pytest.raises(KeyboardInterrupt):
        ours.step()
    assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-12)
    for _ in range(50):
        ours.step()
        theirs.step()
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-9)


@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5), (0.1, 0.2, 0.3)])
def test_a_member_that_steps_alone_leaves_the_chain(rates: tuple[float, ...]) -> None:
    seen = []
    for module in (stock, twin):
        chain = KINDS["ChainedScheduler"](module, sgd(*rates))
        advance(chain, 40)
        for steps in (3, 40):
            chain._schedulers[1].step()
            seen.append([lrs(chain.optimizer), [member.get_last_lr() for member in chain._schedulers[1:]]])
            advance(chain, steps)
            seen.append([lrs(chain.optimizer), [member.last_epoch for member in chain._schedulers]])
    half = len(seen) // 2
    for found, expected in zip(seen[half:], seen[:half], strict=True):
        assert found[0] == pytest.approx(expected[0], rel=1e-9)
        assert found[1][0] == pytest.approx(expected[1][0], rel=1e-9)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("LambdaLR", "MultiplicativeLR")])
def test_a_copy_goes_on_without_its_original(kind: str) -> None:
    scheduler = KINDS[kind](twin, sgd(0.1, 0.2))
    advance(scheduler, 40)
    again = copy.deepcopy(scheduler)
    before = lrs(scheduler.optimizer)
    expected = []
    for _ in range(40):
        again.step()
        expected.append(lrs(again.optimizer))
    assert lrs(scheduler.optimizer) == before
    for rates in expected:
        scheduler.step()
        assert lrs(scheduler.optimizer) == rates


def test_a_group_that_is_taken_away_is_let_alone() -> None:
    optimizer = sgd(0.1, 0.2, 0.3)
    scheduler = twin.ExponentialLR(optimizer, 0.5)
    advance(scheduler, 3)
    gone = optimizer.param_groups.pop(1)
    scheduler.step()
    assert gone["lr"] == pytest.approx(0.2 * 0.5**3)
    assert lrs(scheduler.optimizer) == pytest.approx([0.1 * 0.5**4, 0.3 * 0.5**4])
