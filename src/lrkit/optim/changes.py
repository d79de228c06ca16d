"""What a Scheduler's observe, extend, replace and rebase do to its Hand: the whole of it or, with an error, nothing."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from lrkit.control import Action
from lrkit.duration import Horizon
from lrkit.errors import SpecError, StateError, did_you_mean
from lrkit.optim.arguments import Given, as_horizon, as_schedules
from lrkit.optim.feedback import Metrics, Missing
from lrkit.optim.groups import Target
from lrkit.optim.hand import Hand
from lrkit.optim.history import Revision
from lrkit.optim.registry import hands_on

__all__ = ["observe", "rebase", "replacement", "revise"]

_LR = Target("lr")


def observe(
    hand: Hand, optimizer: Optimizer, metric: Metrics, *, step: int, lrs: Sequence[float], missing: Missing
) -> tuple[Action, ...]:
    """Let the controllers act on a metric of after `step` updates."""
    _check_open(hand, optimizer)
    if step > hand.step:
        raise SpecError(f"step={step}: a metric of later than now, {hand.step} updates done")
    feedback, actions = hand.feedback.observe(
        metric, step=step, lrs=lrs, horizon=hand.horizon, missing=missing
    )
    if feedback.gains == hand.feedback.gains:
        hand.feedback = feedback  # what is read ahead stays right
    else:
        hand.settle(optimizer, feedback=feedback)
    return actions


def replacement(hand: Hand, schedule: Given, at: int, horizon: Horizon | int | None) -> Revision:
    """Other schedules for some targets from `at` on; the rest continues."""
    schedules, control = as_schedules(schedule)
    if control:
        raise SpecError(f"replace() takes schedules, and {control[0]} is none: controllers stay as they are")
    for target in schedules:
        if target not in hand.schedules:
            raise SpecError(
                f"{str(target)!r} has no schedule that could be replaced"
                f"{did_you_mean(str(target), map(str, hand.schedules))}"
            )
    longer = hand.horizon if horizon is None else as_horizon(horizon)
    return Revision(at, "continue", longer, tuple(schedules.items()))


def revise(hand: Hand, optimizer: Optimizer, revision: Revision) -> None:
    """Let the change be made, and write what the next update uses."""
    _check_open(hand, optimizer)
    if hand.history and revision.at < hand.history[-1].at:
        raise SpecError(
            f"at={revision.at}: a change is planned for step {hand.history[-1].at} already; later ones come later"
        )
    hand.take_in(optimizer)
    hand.settle(optimizer, history=(*hand.history, revision))


def rebase(hand: Hand, optimizer: Optimizer, lrs: Sequence[float | None]) -> None:
    """Give the groups whose lr is scheduled other base lrs (None: as it is)."""
    _check_open(hand, optimizer)
    scheduled = {lane.place for lane in hand.lanes if lane.target == _LR}
    if not scheduled:
        raise SpecError("the lr has no schedule here, so it has no base: set the group's lr itself")
    row = list(hand.bases[_LR])
    for place, lr in enumerate(lrs):
        if lr is not None and place in scheduled:
            row[place] = lr
    hand.settle(optimizer, bases={**hand.bases, _LR: row})


def _check_open(hand: Hand, optimizer: Optimizer) -> None:
    if hand not in hands_on(optimizer):
        raise StateError("this Scheduler is closed, or another one took over: change that one")
