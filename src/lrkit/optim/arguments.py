"""The door of a Scheduler: what it is given, checked and made plain. Raises SpecError."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real

from torch.optim import Optimizer

from lrkit.control import Controller
from lrkit.duration import Horizon, brief, whole_number
from lrkit.errors import HorizonError, SpecError, did_you_mean
from lrkit.optim.groups import Target, group_names
from lrkit.schedule import Schedule
from lrkit.spec import Spec, parse, parse_spec

__all__ = [
    "Given",
    "as_factors",
    "as_floor",
    "as_horizon",
    "as_place",
    "as_schedules",
    "as_step",
    "check_groups",
    "has_lr",
]

Given = Schedule | str | Spec | Mapping[str, Schedule | str]


def as_schedules(given: Given) -> tuple[dict[Target, Schedule], tuple[Controller, ...]]:
    """Each target's schedule, and the controllers that came with them in a Spec or its text."""
    control: tuple[Controller, ...] = ()
    spec = parse_spec(given) if isinstance(given, str) else given
    if isinstance(spec, Spec):
        given, control = spec.schedule, spec.control
    table = given if isinstance(given, Mapping) else {"lr": given}
    if not table:
        raise SpecError("a Scheduler of no schedule: give one, or a mapping such as {'lr': 'cosine(to=0)'}")
    return {Target.parse(key): _schedule(key, schedule) for key, schedule in table.items()}, control


def as_floor(floor: object, schedules: Mapping[Target, Schedule]) -> float | None:
    """An lr from 0, or None."""
    if floor is None:
        return None
    if not isinstance(floor, Real) or isinstance(floor, bool) or not 0 <= float(floor) < math.inf:
        raise SpecError(f"floor={floor!r}: it is an lr, a finite number from 0")
    if not has_lr(schedules):
        raise SpecError(f"floor={floor!r} is for the lr, which has no schedule here")
    return float(floor)


def as_horizon(given: Horizon | int) -> Horizon:
    """A horizon, or its number of steps."""
    if isinstance(given, Horizon):
        return given
    if whole_number(given) is None:
        raise HorizonError(
            f"horizon={brief(given)}: it counts updates; give their number, or Horizon.of(loader, epochs=3)"
        )
    return Horizon(given)


def as_step(step: object) -> int:
    """The number of updates done."""
    if not isinstance(step, Integral) or isinstance(step, bool) or step < 0:
        raise SpecError(f"step={step!r}: it is the number of updates done, a whole number from 0")
    return int(step)


def as_place(at: object, done: int) -> int:
    """A step from which something may still be changed; None is the next one."""
    if at is None:
        return done
    if not isinstance(at, Integral) or isinstance(at, bool) or at < done:
        raise HorizonError(f"at={at!r}: {done} updates are done, so a change can begin at {done} or later")
    return int(at)


def as_factors(given: float | Mapping[str, float], names: list[str], what: str) -> list[float | None]:
    """A finite number above 0 for each group, or None where a mapping by name has none."""
    table = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, value in table.items():
        if name not in names:
            raise SpecError(f"{what}: no group is named {name!r}{did_you_mean(str(name), names)}")
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise SpecError(f"{what} takes a finite number above 0, not {value!r}")
    return [None if name not in table else float(table[name]) for name in names]


def has_lr(schedules: Mapping[Target, Schedule]) -> bool:
    """Whether the lr of any group is scheduled."""
    return any(target.key == "lr" for target in schedules)


def _schedule(key: str, given: object) -> Schedule:
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        return parse(given)
    raise SpecError(f"the schedule of {key!r} is a {type(given).__name__}: give a Schedule or its text")


def check_groups(schedules: Mapping[Target, Schedule], optimizer: Optimizer) -> None:
    """Each group that a target names is there."""
    groups = optimizer.param_groups
    names = {*group_names(groups), *(str(group["name"]) for group in groups if group.get("name"))}
    for target in schedules:
        if target.group is not None and target.group not in names:
            raise SpecError(f"{str(target)!r}: no group has that name{did_you_mean(target.group, names)}")
