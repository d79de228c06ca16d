"""Which jobs of a comparison can be done now: a pure function of what is done, so that resuming is asking again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lrkit.plan import Plan
from lrkit.search.trials import round_rate
from lrkit.training import Task, final_part
from lrkit.tuning.comparing.bound import convex_bound
from lrkit.tuning.comparing.jobs import FinalJob, Job, SearchJob
from lrkit.tuning.comparing.ledger import Progress

__all__ = ["Course", "final_seeds", "foreseen_bracket", "parts_of", "ready_jobs"]

MARGIN, UNSETTLED_MARGIN = 0.5, 0.8
"""Decades to each side of where a best rate is foreseen: it was wrong by 0.32 at most (docs/compare.md). The second
where the search that it rests on was not settled."""
FIRST_FINAL_SEED = 1000
"""Final trainings take the seeds from the task's plus this one on: none that a rate was chosen by."""

Part = Literal["search", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is settled before anything is trained: plans and training parts by name, and the final trainings' seeds."""

    plans: Mapping[str, Plan]
    parts: Mapping[str, Part]
    seeds: tuple[int, ...]
    on: Literal["test", "validation"]


def final_seeds(task: Task, count: int) -> tuple[int, ...]:
    """The seeds of the final trainings."""
    return tuple(task.seed + FIRST_FINAL_SEED + i for i in range(count))


def parts_of(
    task: Task, plans: Mapping[str, Plan], *, on: Literal["test", "validation"], equal_data: bool
) -> dict[str, Part]:
    """What each final training trains on: all data, unless its controllers, or the comparison itself, need the rest."""
    judged_by_held_out = on == "validation" and task.validation is None
    return {
        name: "search" if equal_data or judged_by_held_out else final_part(task, plan)
        for name, plan in plans.items()
    }


def ready_jobs(
    course: Course, schedules: Mapping[str, Progress], range_test: dict[str, Any] | None
) -> Iterator[Job]:
    """What can be done now, searches first: they take longest, and final trainings wait for them.

    The first schedule that can be trained is searched alone; the brackets of the others rest on its answer.
    """
    reference = next((name for name, one in schedules.items() if one.failure is None), None)
    if reference is None:
        return
    found = schedules[reference].search
    if found is None:
        yield SearchJob(reference, schedules[reference].spec, _folder(course, reference), None, range_test)
        return
    for name, one in schedules.items():
        if one.search is None and one.failure is None:
            bracket = foreseen_bracket(found, course.plans[reference], course.plans[name])
            yield SearchJob(name, one.spec, _folder(course, name), bracket, None)
    for seed in course.seeds:
        for name, one in schedules.items():
            if one.search is not None and seed not in {final.seed for final in one.finals}:
                yield FinalJob(
                    name,
                    one.spec,
                    f"{_folder(course, name)}/final-{seed}",
                    float(one.search["lr"]),
                    seed,
                    course.parts[name],
                    course.on,
                    with_rates=seed == course.seeds[0],
                )


def foreseen_bracket(found: Mapping[str, Any], reference: Plan, plan: Plan) -> tuple[float, float]:
    """Where the best lr of `plan` is to be searched, from the search of `reference`, as `Search.to_dict()` gives it.

    The best lr times the ratio of the convex bounds' rates, and a margin to each side. Of a controller the bound knows
    nothing: it may never act, or cool the run down. So with control anything counts from the schedule's own rate to
    that of the same schedule cooled down linearly.
    """
    lr = float(found["lr"])
    ours, theirs = _rates(plan, lr), _rates(reference, lr)
    margin = 10.0 ** (MARGIN if found["status"] == "settled" else UNSETTLED_MARGIN)
    return (
        round_rate(lr * min(ours) / max(theirs) / margin),
        round_rate(lr * max(ours) / min(theirs) * margin),
    )


def _rates(plan: Plan, lr: float) -> tuple[float, ...]:
    """The convex bound's rate; two of them for a plan with control, between which it lies."""
    steps = plan.horizon.steps
    base_lr = lr if plan.schedule.needs_base_lr else None
    factors = plan.schedule.over(plan.horizon, base_lr=base_lr).chunk(0, steps)
    alone = convex_bound(factors).rate
    return (
        (alone, convex_bound(factors * (1.0 - np.arange(steps) / steps)).rate) if plan.control else (alone,)
    )


def _folder(course: Course, name: str) -> str:
    """`2-warmup-5-cosine-to-0`: numbered, as two names may look alike once they fit a file system."""
    number = list(course.plans).index(name) + 1
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40].rstrip("-")
    return f"{number}-{words}"
