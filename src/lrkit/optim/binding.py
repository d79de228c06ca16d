"""From a plan to a Scheduler: the plan's lrs and schedules, group by group, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from torch.optim import Optimizer

from lrkit.duration import Horizon
from lrkit.errors import LrkitError, PlanError, SpecError, did_you_mean
from lrkit.optim.groups import Group, Target, group_names
from lrkit.schedule import Schedule

if TYPE_CHECKING:
    from lrkit.optim.scheduler import Scheduler
    from lrkit.plan import Plan

__all__ = ["Unmatched", "bind_plan"]

Unmatched = Literal["error", "keep"]

_LR = Target("lr")


def bind_plan(
    kind: type[Scheduler], plan: Plan, optimizer: Optimizer, *, horizon: Horizon | None, unmatched: Unmatched
) -> Scheduler:
    """See `Scheduler.from_plan`. Where it raises, the groups are as they were."""
    if unmatched not in ("error", "keep"):
        raise SpecError(f"unmatched={unmatched!r}{did_you_mean(str(unmatched), ('error', 'keep'))}")
    _check_horizon(plan, horizon)
    rates = _match(plan, optimizer, unmatched)
    schedules: dict[str, Schedule] = {"lr": plan.schedule}
    for place, name in rates.items():
        own = plan.groups[name].schedule if name is not None else None
        if own is not None:
            schedules[f"lr@{name}"] = own
        if name is not None and unmatched == "error":
            _check_options(name, plan.groups[name].options, optimizer.param_groups[place])
    before = [(group, group["lr"], group.get(_LR.memo)) for group in optimizer.param_groups]
    values = [_LR.read(group) for group in optimizer.param_groups]
    for place, name in rates.items():
        group = optimizer.param_groups[place]
        lr = plan.lr if name is None else plan.groups[name].lr
        _LR.write(group, lr)
        group[_LR.memo] = lr
    try:
        return kind(optimizer, schedules, plan.horizon, control=plan.control, floor=plan.floor)
    except LrkitError:
        for (group, lr, memo), value in zip(before, values, strict=True):
            group["lr"] = lr
            _LR.write(group, value)
            group.pop(_LR.memo, None)
            if memo is not None:
                group[_LR.memo] = memo
        raise


def _match(plan: Plan, optimizer: Optimizer, unmatched: Unmatched) -> dict[int, str | None]:
    """Place of a group -> its name in the plan, or None for the plan's main lr."""
    groups = optimizer.param_groups
    unnamed = [place for place, group in enumerate(groups) if not group.get("name")]
    matched: dict[int, str | None] = {
        place: group["name"] for place, group in enumerate(groups) if group.get("name") in plan.groups
    }
    if len(unnamed) == 1:
        matched[unnamed[0]] = None
    elif len(groups) == 1 and not plan.groups:
        matched[0] = None
    if unmatched == "error":
        names = group_names(groups)
        left = [repr(name) for place, name in enumerate(names) if place not in matched]
        missing = [repr(name) for name in plan.groups if name not in matched.values()]
        if left or missing:
            sides = [
                f"{side} {', '.join(which)}"
                for side, which in (("the optimizer's", left), ("the plan's", missing))
                if which
            ]
            raise PlanError(
                f"groups without a match: {'; '.join(sides)}. Name the optimizer's groups and give the plan"
                " a [groups.<name>] each, or leave those groups at their own lrs with unmatched='keep'"
            )
    return matched


def _check_horizon(plan: Plan, horizon: Horizon | None) -> None:
    if horizon is None:
        return
    for name in (f.name for f in fields(horizon)):
        there, here = getattr(plan.horizon, name), getattr(horizon, name)
        if there != here and there is not None and here is not None:
            raise PlanError(
                f"the plan's horizon has {name}={there}, this run {here}: leave horizon= out to run the plan as"
                " it is, or lay its schedule over this run with dataclasses.replace(plan, horizon=...)"
            )


def _check_options(name: str, options: Mapping[str, Any], group: Group) -> None:
    for key, wanted in options.items():
        found = group.get(key)
        if found != wanted and list(_entries(found)) != list(_entries(wanted)):
            raise PlanError(
                f"group {name!r} has {key}={found!r}, the plan says {wanted!r}: build the optimizer so,"
                " or leave it with unmatched='keep'"
            )


def _entries(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
