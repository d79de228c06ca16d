"""Feedback in a training: which data a plan's controllers need, what they are told, and after which updates."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lrkit.control import Controller, Plateau
from lrkit.duration import Duration, half_up
from lrkit.errors import PlanError, TaskError, did_you_mean
from lrkit.plan import Plan
from lrkit.spec import parse_control
from lrkit.training.task import VALIDATION_LOSS, Task

__all__ = ["final_part", "observation_intervals", "settled_plan"]

_EPOCH = Duration.of("1 epoch")


def final_part(task: Task, plan: Plan) -> Literal["search", "all"]:
    """What a final training uses: all the data, unless the plan's controllers need the part that is held out."""
    return "search" if plan.control and task.validation is None else "all"


def settled_plan(task: Task, plan: Plan, data: Literal["search", "all"]) -> Plan:
    """The plan with all said that its controllers leave open: once an epoch, on the validation loss.

    Raises TaskError where there is no validation data or no such metric, PlanError where there is no epoch.
    """
    if plan.control and data == "all" and task.validation is None:
        raise TaskError(
            f"{plan.control[0]} goes by validation data, and a training on all the data leaves none:"
            " pass data='search', or give the task validation="
        )
    return dataclasses.replace(plan, control=tuple(_settled(task, plan, text) for text in plan.control))


def observation_intervals(plan: Plan) -> tuple[int, ...]:
    """The controllers of a settled plan observe after every multiple of these numbers of updates."""
    durations = {parse_control(text).every for text in plan.control}
    return tuple(sorted({max(1, half_up(plan.horizon.steps_of(every))) for every in durations if every}))


def _settled(task: Task, plan: Plan, text: str) -> str:
    controller: Controller = parse_control(text)
    if isinstance(controller, Plateau) and controller.mode == "max" and controller.metric is None:
        raise TaskError(f"{text} goes by the validation loss, which is to fall: name a metric for mode=max")
    if controller.every is None and plan.horizon.steps_per_epoch is None:
        raise PlanError(f"control: {text} decides once an epoch, which this horizon has not: say every=")
    settled = controller.settled(every=_EPOCH, metric=VALIDATION_LOSS)
    known = [VALIDATION_LOSS, *(f"validation {name}" for name in task.metrics)]
    if settled.metric not in known:
        near = did_you_mean(settled.metric or "", known)
        raise TaskError(f"{text}: task {task.name!r} measures no {settled.metric!r}{near}")
    return str(settled)
