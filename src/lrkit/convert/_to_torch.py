"""A schedule as one of torch's own schedulers, for programs that are to run without lrkit's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lrkit.duration import Horizon, brief
from lrkit.errors import SpecError
from lrkit.schedule import Curve, Schedule
from lrkit.spec import parse

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

__all__ = ["to_torch"]


def to_torch(schedule: Schedule | str, optimizer: Optimizer, horizon: Horizon | int) -> LambdaLR:
    """A stock LambdaLR that gives every group its base lr times the schedule's factor, for a run of `horizon`.

    The base lr is the group's `initial_lr` where a scheduler has been there before, else its `lr`, and absolute
    levels become factors of it group by group. It goes on after the end as the schedule says; with
    `.after("error")` it raises HorizonError one step later than a Scheduler, because torch computes a rate after
    the last update that none will use. As with any LambdaLR, its state does not hold the functions.
    """
    from torch.optim.lr_scheduler import LambdaLR

    schedule = parse(schedule) if isinstance(schedule, str) else schedule
    if not isinstance(schedule, Schedule) or not hasattr(optimizer, "param_groups"):
        raise SpecError(
            f"to_torch() takes a schedule, an optimizer and a horizon, not {brief(schedule)} and {brief(optimizer)}"
        )
    bases = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    if not schedule.needs_base_lr:
        return LambdaLR(optimizer, _factor(schedule.over(horizon)))
    return LambdaLR(optimizer, [_factor(schedule.over(horizon, base_lr=base)) for base in bases])


def _factor(curve: Curve) -> Callable[[int], float]:
    last = curve.steps - 1
    if curve.ending != "error":
        return lambda step: curve(
            step
        )  # not the curve itself: LambdaLR wants the __dict__ of what is no function
    return lambda step: curve(last if step == last + 1 else step)
