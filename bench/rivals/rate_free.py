"""Optimizers that promise to need no rate: Prodigy, and schedule-free AdamW; a whole training each, at their defaults.

They take the place of the task's optimizer and of its schedule: the rate they are given stays what it is by default.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from lrkit.training import Run, Task, default_plan
from rivals.outcome import Outcome


def prodigy(task: Task, seed: int) -> Outcome:
    """Prodigy (Mishchenko and Defazio 2023): AdamW whose rate is estimated on the way."""
    from prodigyopt import Prodigy

    run = _run(task, Prodigy, seed)
    run.advance(run.plan.horizon.steps)
    return _ended(run)


def schedule_free(task: Task, seed: int) -> Outcome:
    """Schedule-free AdamW (Defazio et al. 2024): averages of the weights in place of a decay of the rate."""
    from schedulefree import AdamWScheduleFree

    run = _run(task, AdamWScheduleFree, seed)
    run.optimizer.train()
    run.advance(run.plan.horizon.steps)
    run.optimizer.eval()
    return _ended(run)


def _run(task: Task, optimizer: type[torch.optim.Optimizer], seed: int) -> Run:
    other = dataclasses.replace(task, optimizer=optimizer)
    return Run(other, default_plan(other, schedule="hold()"), seed=seed)


def _ended(run: Run) -> Outcome:
    value = math.nan if run.diverged else run.evaluate("validation")[run.task.objective_key]
    return Outcome(objective=value if math.isfinite(value) else None, steps=len(run.losses))
