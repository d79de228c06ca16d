"""From a task to a first plan: its horizon, its optimizer by name, and a schedule, before any rate is measured."""

from __future__ import annotations

import inspect

from lrkit.duration import Horizon
from lrkit.errors import TaskError
from lrkit.plan import Plan, TrainingPlan
from lrkit.schedule import Schedule
from lrkit.spec import Spec, parse_spec
from lrkit.training.batches import count_samples
from lrkit.training.build import describe_optimizer
from lrkit.training.data import search_split
from lrkit.training.task import Task, optimizer_class

__all__ = ["DEFAULT_SCHEDULE", "default_plan", "task_horizon"]

# Cosine for a known horizon, with a short warmup that costs little where it is not needed (docs/schedules.md).
DEFAULT_SCHEDULE = "warmup(5%) >> cosine(to=0)"

_FALLBACK_LR = 1e-3


def default_plan(
    task: Task,
    *,
    schedule: Schedule | Spec | str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    training: TrainingPlan | None = None,
) -> Plan:
    """The plan that a search starts from; a `schedule` as text may bring controllers (`"... & plateau()"`).

    `lr` is the optimizer's own default unless given. `epochs` or `steps` overrule the task's own length. Raises
    TaskError when neither says how long to train.
    """
    training = TrainingPlan() if training is None else training
    if lr is None:
        cls = optimizer_class(task.optimizer)
        lr = _FALLBACK_LR if cls is None else _default_lr(cls)
    given = DEFAULT_SCHEDULE if schedule is None else schedule
    spec = parse_spec(given) if isinstance(given, str) else given
    spec = spec if isinstance(spec, Spec) else Spec(spec)
    return Plan(
        optimizer=describe_optimizer(task, lr),
        schedule=spec.schedule,
        control=tuple(map(str, spec.control)),
        horizon=task_horizon(task, epochs=epochs, steps=steps, accumulate=training.accumulate),
        training=training,
    )


def task_horizon(
    task: Task, *, epochs: int | None = None, steps: int | None = None, accumulate: int = 1
) -> Horizon:
    """How long a training of `task` is: the call's epochs or steps, else the task's own.

    An epoch is one pass over what the search trains on; the final training takes the same number of updates.
    """
    if epochs is not None and steps is not None:
        raise TaskError("give epochs= or steps=, not both")
    if epochs is None and steps is None:
        epochs, steps = task.epochs, task.steps
    if epochs is None and steps is None:
        raise TaskError(f"task {task.name!r} does not say how long to train: pass epochs= or steps=")
    loader = search_split(task).train
    horizon = Horizon.of(loader, epochs=epochs, steps=steps, accumulate=accumulate)
    if horizon.batch_size is None and isinstance(loader, list | tuple) and loader:
        return Horizon(
            horizon.steps,
            steps_per_epoch=horizon.steps_per_epoch,
            batch_size=accumulate * count_samples(loader[0]),
        )
    return horizon


def _default_lr(cls: type) -> float:
    default = getattr(inspect.signature(cls).parameters.get("lr"), "default", None)
    return float(default) if isinstance(default, int | float) else _FALLBACK_LR
