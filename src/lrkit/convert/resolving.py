"""A schedule resolved for another program: the curve whose factors, times `base_lr`, are its rates."""

from __future__ import annotations

from lrkit.duration import Horizon, brief
from lrkit.errors import SpecError
from lrkit.schedule import Curve, Schedule
from lrkit.schedule.levels import as_number
from lrkit.spec import parse

__all__ = ["resolve"]


def resolve(schedule: Schedule | str, horizon: Horizon | int, base_lr: float) -> tuple[Curve, float]:
    """The curve, and the base lr that is to multiply it; absolute levels become factors of that base lr."""
    rate = as_number(base_lr, "base_lr", above=0.0)
    if isinstance(schedule, str):
        schedule = parse(schedule)
    if not isinstance(schedule, Schedule):
        raise SpecError(f"a Schedule or its text is to be converted, not {brief(schedule)}")
    return schedule.over(horizon, base_lr=rate), rate
