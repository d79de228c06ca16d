"""The exhaustive grid that everything is measured against, and the default rate, which costs nothing."""

from __future__ import annotations

import math
import time

import numpy as np

from lrkit.training import Run, Task, default_plan
from rivals.outcome import Outcome

RATES = tuple(float(lr) for lr in np.geomspace(1e-5, 1.0, 32))
AFFORDABLE_SECONDS = 60.0
"""Processor time above which a grid is not trained whole: its wall time is then told by the trainings that were."""
TIMED = 3


def exhaustive_grid(task: Task, seed: int) -> Outcome:
    """32 rates from 1e-5 to 1, one training each with one seed, one after the other; the best objective wins.

    Trained whole if that takes a minute of processor time at most by the first trainings, at rates spread over the
    grid. Otherwise there is no answer. `told["seconds"]` is 32 times the mean of those that were trained.
    """
    plan = default_plan(task)
    objectives: dict[float, float] = {}
    cost, started, worked = 0, time.perf_counter(), time.process_time()
    for lr in sorted(RATES, key=lambda lr: lr not in RATES[:: len(RATES) // TIMED][:TIMED]):
        run = Run(task, plan.with_lr(lr), seed=seed)
        run.advance(plan.horizon.steps)
        cost += len(run.losses)
        value = math.inf if run.diverged else run.evaluate("validation")[task.objective_key]
        objectives[lr] = value if math.isfinite(value) else math.inf
        parts = len(RATES) / len(objectives)
        seconds = (time.perf_counter() - started) * parts
        if len(objectives) == TIMED and (time.process_time() - worked) * parts > AFFORDABLE_SECONDS:
            return Outcome(
                steps=len(RATES) * plan.horizon.steps, told={"seconds": seconds, "trained": len(objectives)}
            )
    best = min(objectives, key=lambda lr: objectives[lr])
    return Outcome(lr=best, steps=cost, told={"seconds": seconds, "trained": len(objectives)})


def default(task: Task, seed: int) -> Outcome:
    """The optimizer's own default rate, under the default schedule."""
    del seed
    return Outcome(lr=default_plan(task).lr)
