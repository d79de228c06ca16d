"""What a comparison is asked to compare: names and specs, read and checked before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from lrkit.convert import parse_spec
from lrkit.errors import LrkitError, SpecError, did_you_mean
from lrkit.plan import Plan
from lrkit.schedule import Schedule
from lrkit.spec import Spec
from lrkit.training import Run, Task, default_plan
from lrkit.training.task import VALIDATION_LOSS
from lrkit.tuning.comparing.bound import convex_bound

__all__ = ["Given", "checked_plans", "figure_of", "named_specs"]

Given = Sequence[Schedule | Spec | str] | Mapping[str, Schedule | Spec | str]

_NAMED = re.compile(r"([A-Za-z][\w -]*?)\s*=\s*(.+)", re.DOTALL)


def named_specs(given: Given) -> dict[str, Spec]:
    """Each schedule by its name: the text itself, or what stands before a first `=`, as in `step=staircase(30%)`.

    Raises SpecError that lists every spec that is wrong, and for fewer than two, or one given twice.
    """
    if isinstance(given, str | Schedule | Spec) or not isinstance(given, Sequence | Mapping):
        raise SpecError(f"compare at least two schedules: a list of them, not {str(given)!r:.80} alone")
    pairs = list(given.items()) if isinstance(given, Mapping) else [_named(one) for one in given]
    specs: dict[str, Spec] = {}
    wrong: list[str] = []
    for name, one in pairs:
        try:
            spec = _spec(one)
        except LrkitError as error:
            wrong.append(f"{name!r:.80}: {error}")
            continue
        same = next((other for other, known in specs.items() if known == spec), None)
        if name in specs or same is not None:
            wrong.append(
                f"{name!r:.80} is there twice" + (f", as {same!r}" if same not in (None, name) else "")
            )
        else:
            specs[name] = spec
    _refuse(wrong, len(pairs))
    if len(specs) < 2:
        raise SpecError(f"compare at least two schedules: {len(specs)} given")
    return specs


def checked_plans(
    task: Task, specs: Mapping[str, Spec], *, epochs: int | None, steps: int | None, device: str | None
) -> dict[str, Plan]:
    """The plan of each schedule on this task's horizon, the optimizer and what feedback needs tried out.

    Raises SpecError that lists every schedule that cannot be trained so; TaskError for the task or its length itself.
    """
    Run(task, default_plan(task, epochs=epochs, steps=steps), seed=task.seed, device=device)
    plans: dict[str, Plan] = {}
    wrong: list[str] = []
    for name, spec in specs.items():
        try:
            plans[name] = default_plan(task, schedule=spec, epochs=epochs, steps=steps)
            Run(task, plans[name], seed=task.seed, device=device)
            convex_bound(plans[name].schedule.over(plans[name].horizon, base_lr=plans[name].lr))
        except LrkitError as error:
            wrong.append(f"{name!r:.80}: {error}")
    _refuse(wrong, len(specs))
    return plans


def figure_of(
    task: Task, metric: str | None, direction: Literal["min", "max"] | None
) -> tuple[str, Literal["min", "max"]]:
    """The figure to compare by, without "test" before it, and which way is better: the task's objective by default."""
    objective = "loss" if task.objective == VALIDATION_LOSS else task.objective
    if metric is None or metric == objective:
        own = task.direction or "min"
        if direction not in (None, own):
            raise SpecError(f"direction={direction!r}: the task's {objective} is better towards {own!r}")
        return objective, own
    known = ["loss", *task.metrics]
    if metric not in known:
        raise SpecError(
            f"metric={metric!r}: task {task.name!r} measures no such figure{did_you_mean(metric, known)}"
        )
    if metric == "loss":
        if direction == "max":
            raise SpecError("direction='max': a loss is better towards 'min'")
        return metric, "min"
    if direction not in ("min", "max"):
        raise SpecError(f"metric={metric!r}: say direction='max' or direction='min', which way it is better")
    return metric, direction


def _named(one: Schedule | Spec | str) -> tuple[str, Schedule | Spec | str]:
    text = str(one).strip()
    match = _NAMED.fullmatch(text) if isinstance(one, str) else None
    return (text, one) if match is None else (match[1], match[2])


def _spec(one: object) -> Spec:
    if isinstance(one, str):
        return parse_spec(one)
    if isinstance(one, Schedule):
        one = Spec(one)
    if not isinstance(one, Spec):
        raise SpecError(f"a schedule, or its text, not {type(one).__name__}")
    if not _comes_back(one):
        raise SpecError("it has no text that it could be read from again, by which a comparison goes on")
    return one


def _comes_back(spec: Spec) -> bool:
    try:
        return str(parse_spec(str(spec))) == str(spec)
    except SpecError:
        return False


def _refuse(wrong: Sequence[str], count: int) -> None:
    if wrong:
        raise SpecError(f"{len(wrong)} of {count} schedules cannot be compared: {'; '.join(wrong)}")
