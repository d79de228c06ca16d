"""Which Hands are on which optimizer: a new one takes over from the old, and a probe sets them all aside."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from lrkit.optim.hand import Hand

__all__ = ["enlist", "hands_on", "innermost", "schedulers_paused", "withdraw"]

# By optimizer, so that a Scheduler is found however it was built; the optimizer's own hooks keep its
# Hands alive.
_HANDS: WeakKeyDictionary[Optimizer, list[Hand]] = WeakKeyDictionary()


def innermost(optimizer: Optimizer) -> Optimizer:
    """The optimizer that takes the steps and has the hooks, inside wrappers that forward (Accelerate's)."""
    while "_optimizer_step_post_hooks" not in vars(optimizer) and isinstance(
        inner := vars(optimizer).get("optimizer"), Optimizer
    ):
        optimizer = inner
    return optimizer


def hands_on(optimizer: Optimizer) -> list[Hand]:
    """The list of Hands on this optimizer; its owner's to change."""
    return _HANDS.setdefault(innermost(optimizer), [])


def enlist(hand: Hand, optimizer: Optimizer, *, counting: bool) -> None:
    """Attach `hand`. One that counts updates ends those that do so for the same target, with a warning."""
    inner = innermost(optimizer)
    hands = hands_on(inner)
    for other in [
        other for other in hands if counting and other.counting and other.bases.keys() & hand.bases.keys()
    ]:
        other.detach()
        hands.remove(other)
        shared = ", ".join(sorted(str(target) for target in other.bases.keys() & hand.bases.keys()))
        warnings.warn(
            f"this optimizer already had a Scheduler for {shared}: the new one takes over. close() the old"
            " one first, or join the schedules: a >> b is one after the other, a * b is both at once",
            stacklevel=3,
        )
    hand.attach(inner, counting=counting)
    hands.append(hand)


def withdraw(hand: Hand, optimizer: Optimizer) -> None:
    """Detach `hand`; one that is not there is left as it is."""
    hand.detach()
    hands = hands_on(optimizer)
    if hand in hands:
        hands.remove(hand)


@contextmanager
def schedulers_paused(optimizer: Optimizer) -> Iterator[None]:
    """Let every Scheduler on `optimizer` neither count nor write for a while, as a sweep of the lr needs it.

    Hyperparameters stay as the block leaves them; inside `snapshot` they come back. A Scheduler that the
    block builds on the same optimizer is none of those and goes on working.
    """
    inner = innermost(optimizer)
    paused = [(hand, hand.counting) for hand in hands_on(inner)]
    for hand, _ in paused:
        hand.detach()
    try:
        yield
    finally:
        for hand, counting in paused:
            if hand in hands_on(inner):
                hand.detach()
                hand.attach(inner, counting=counting)
