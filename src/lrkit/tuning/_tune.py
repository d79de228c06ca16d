"""tune: range test, search, final training on all the data, test; the answer as a plan, with its evidence."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lrkit.files import atomic_write, make_folder
from lrkit.plan import Evidence, Plan
from lrkit.range_test import RangeTest
from lrkit.schedule import Schedule
from lrkit.search import Search, apply_values, search_lr
from lrkit.spec import Spec
from lrkit.training import (
    SILENT,
    Reporter,
    Task,
    TrainResult,
    build_member,
    check_task,
    choose_device,
    default_plan,
    describe_groups,
    final_part,
    train,
)
from lrkit.tuning.pictures import check_pictures, draw_search_pictures, draw_training_picture
from lrkit.tuning.reports import answer_data, asked_settings, versions, write_report

__all__ = ["Tuning", "answer_plan", "tune"]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` found, and what it took.

    plan: the answer. search, range_test: the evidence. training: the final model and its test metrics.
    member_steps: updates that the answer cost (range test, every trial, replicates); `training_steps` come on top.
    grid_steps: what an exhaustive grid of 32 rates would have cost at this horizon.
    out: the run folder, None when nothing was written.
    unscaled_groups: groups to which the task's optimizer gives the same rate whatever lr is: the search left them.
    """

    plan: Plan
    search: Search
    training: TrainResult
    out: Path | None
    unscaled_groups: tuple[str, ...] = ()

    @property
    def range_test(self) -> RangeTest | None:
        """The range test that the search began with, None where its bracket was given."""
        return self.search.range_test

    @property
    def metrics(self) -> dict[str, float]:
        """The final model's figures by name, test figures among them where the task has test data."""
        return self.training.metrics

    @property
    def member_steps(self) -> int:
        """Updates that the search cost."""
        return self.search.member_steps

    @property
    def training_steps(self) -> int:
        """Updates of the final training."""
        return self.training.steps

    @property
    def grid_steps(self) -> int:
        """Updates of an exhaustive grid of 32 rates."""
        return self.search.grid_steps

    @property
    def seconds(self) -> float:
        """Wall time of search and final training."""
        return self.search.seconds + self.training.seconds

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data: what `lrkit tune --json` prints."""
        return answer_data(self.search, self.plan, unscaled_groups=self.unscaled_groups, out=self.out) | {
            "training_steps": self.training_steps,
            "seconds": self.seconds,
            "metrics": self.metrics,
        }


def tune(
    task: Task,
    *,
    schedule: Schedule | Spec | str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    seconds: float | None = None,
    seed: int | None = None,
    method: str | None = None,
    space: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    storage: str | None = None,
    name: str = "",
    workers: int = 1,
    ray: bool | str = False,
    device: str | None = None,
    plots: bool = True,
    reporter: Reporter = SILENT,
) -> Tuning:
    """Find the learning rate for `task` under `schedule`, train with it on all the data, and test.

    epochs or steps: the horizon, the task's own by default. budget: updates that the search may cost, eight trainings
    by default; seconds: wall time after which the search starts no further trial.
    seed: replaces `task.seed` (the split) and seeds the runs.
    method, space, storage, name, workers, ray: of the search, as for `search_lr`. What a space varies beside the lr is
        trained with at its best values.
    out: a run folder for plan, study, record, checkpoint and pictures. What is finished there is not done again: the
        same call continues an interrupted one. None writes nothing.
    Raises TaskError for a task that does not work, StudyError for a folder that cannot be used.
    """
    if seed is not None:
        task = dataclasses.replace(task, seed=seed)
    if plots and out is not None:
        check_pictures()
    choose_device(device or task.device)
    start = default_plan(task, schedule=schedule, epochs=epochs, steps=steps)
    report = check_task(task)
    folder = None if out is None else Path(out)
    settings = asked_settings(
        start, method=method, space=space, bracket=None, budget=budget, seconds=seconds, seed=task.seed
    )
    if seconds is not None and folder is not None and (folder / "checkpoint.pt").exists():
        seconds = (
            0.0  # the final training has begun with what the time allowed: no further trial may change it
        )
    search = search_lr(
        task,
        plan=start,
        budget=budget,
        seconds=seconds,
        seed=task.seed,
        method=method,
        space=space,
        out=folder,
        storage=storage,
        name=name,
        workers=workers,
        ray=ray,
        device=device,
        reporter=reporter,
    )
    plan = answer_plan(task, start, search, device=device)
    if folder is not None:
        _set_aside(folder, plan)
        plan.save(folder / "plan.toml")
    task, _ = apply_values(task, start, search.values)
    part = final_part(task, plan)
    if part == "search":
        reporter.note("the final training leaves the held-out part for the plan's control to watch")
    trained = train(task, plan, seed=task.seed, data=part, out=folder, device=device, reporter=reporter)
    tuning = Tuning(
        plan=plan, search=search, training=trained, out=folder, unscaled_groups=report.unscaled_groups
    )
    if folder is not None:
        write_report(folder, tuning.to_dict(), search, settings, diverged=trained.diverged)
        if plots:
            draw_search_pictures(folder, search)
            draw_training_picture(folder, trained.metrics)
    return tuning


def _set_aside(folder: Path, plan: Plan) -> None:
    """A training with the answer of a smaller budget makes room: it moves to `earlier-1/`, `earlier-2/` ...

    Its plan is copied there first: the call after a kill in between finds the place by it.
    """
    known = folder / "plan.toml"
    if not known.exists() or not (folder / "checkpoint.pt").exists():
        return
    text = known.read_bytes()
    if dataclasses.replace(Plan.load(known), evidence=None) == dataclasses.replace(plan, evidence=None):
        return
    plans = (folder / f"earlier-{number}" / "plan.toml" for number in itertools.count(1))
    copy = next(copy for copy in plans if not copy.exists() or copy.read_bytes() == text)
    make_folder(copy.parent)
    atomic_write(copy, text)
    for name in ("record.jsonl", "checkpoint.pt"):
        if (folder / name).exists():
            os.replace(folder / name, copy.parent / name)


def answer_plan(task: Task, start: Plan, search: Search, *, device: str | None = None) -> Plan:
    """`start` at the rate and the values that `search` found, with the optimizer's named groups and the evidence."""
    task, plan = apply_values(task, start, search.values)
    plan = plan.with_lr(search.lr)
    member = build_member(task, seed=task.seed, lr=search.lr, device=device)
    evidence = Evidence(
        objective=task.objective,
        interval=search.interval,
        status=search.status,
        trials=len(search.trials),
        seeds=tuple(sorted({trial.seed for trial in search.trials})),
        member_steps=search.member_steps,
        grid_steps=search.grid_steps,
        seconds=round(search.seconds, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    return dataclasses.replace(plan, groups=describe_groups(member.optimizer), evidence=evidence)
