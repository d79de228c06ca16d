"""compare_schedules: one range test, a search of the peak lr for each schedule, final trainings under shared seeds."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from lrkit.errors import NoAnswer, SpecError
from lrkit.files import make_folder
from lrkit.plan import Plan
from lrkit.plot import save_figure
from lrkit.range_test import find_lr
from lrkit.search.identity import plan_identity
from lrkit.search.limits import REPEATS, SWEPT, Limits, sweep_length
from lrkit.search.locking import WriterLock
from lrkit.training import SILENT, Reporter, Run, Task, choose_device, load_task
from lrkit.tuning.comparing.course import Course, final_seeds, parts_of, ready_jobs
from lrkit.tuning.comparing.crew import Source, do_all_here, do_all_in_processes, usual_workers
from lrkit.tuning.comparing.given import Given, checked_plans, figure_of, named_specs
from lrkit.tuning.comparing.jobs import Job, Rules
from lrkit.tuning.comparing.ledger import Ledger
from lrkit.tuning.comparing.result import Comparison, conclude
from lrkit.tuning.pictures import check_pictures

__all__ = ["compare_schedules"]

TRAININGS = 5
"""Trainings that each search may cost by default."""


def compare_schedules(
    task: Task | str,
    specs: Given,
    *,
    seeds: int = 5,
    epochs: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    metric: str | None = None,
    direction: Literal["min", "max"] | None = None,
    equal_data: bool = False,
    seed: int | None = None,
    workers: int | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    plots: bool = True,
    reporter: Reporter = SILENT,
) -> Comparison:
    """Tune the peak lr of each schedule alike, train with it under some seeds, and say which ends best, and how surely.

    task: a Task, or its name as `load_task` takes it (with `data`), which several workers need.
    specs: two or more, as text, `Schedule` or `Spec`; a text "name=spec" or a mapping gives them names.
    seeds: final trainings of each schedule; they share initial weights and batches between schedules. One is allowed,
        and tells nothing about significance.
    epochs or steps: the length of every training, by default the task's.
    budget: updates that each search may take, by default five trainings; the range test, which all share, is not in it.
    metric, direction: the figure that the final trainings are compared by; by default the task's objective, which is
        what the rates are tuned for. It is measured on the test data, on the validation data where there are none.
    equal_data: leave the held-out part out of every final training, as schedules with feedback have to that watch it.
    workers: processes side by side, each with one search or one final training at a time. By default one for each core
        of a CPU, 4 at most, for a task given by its name; else the work is done in this process.
    out: a folder for `comparison.json`, the studies and the figure: the same call goes on there, also with other
        `seeds`: of more only the further ones are trained. (Chosen by what was seen, they void the p values.) None
        keeps nothing.

    The first schedule is searched from the range test's bracket. Its best rate times the ratio of the two convex bounds
    (`convex_bound`) is where each other one is searched, half a decade to each side; a search goes further by itself
    where the best is at an end. Rates are chosen by validation data alone, test data are read by final trainings.

    Raises SpecError that names every schedule that is wrong before anything is trained, StudyError for a budget that is
    too small and for a folder that cannot be used or holds another comparison, NoAnswer where nothing can be trained.
    """
    named = named_specs(specs)
    _whole("seeds", seeds)
    task, source = _resolved(task, data=data, seed=seed, device=device, workers=workers, schedules=len(named))
    figure, towards = figure_of(task, metric, direction)
    if plots and out is not None:
        check_pictures()
    plans = checked_plans(task, named, epochs=epochs, steps=steps, device=device)
    length = next(iter(plans.values())).horizon.steps
    limit = Limits.of(length, TRAININGS * length if budget is None else budget, bracket=SWEPT).budget
    on: Literal["test", "validation"] = "validation" if task.test is None else "test"
    course = Course(
        plans=plans,
        parts=parts_of(task, plans, on=on, equal_data=equal_data),
        seeds=final_seeds(task, seeds),
        on=on,
    )
    settings = _settings(task, course, limit, device=device) | {
        "schedules": [[name, str(spec)] for name, spec in named.items()],
        "compared by": f"{on} {figure}",
        "direction": towards,
        "equal data": equal_data,
    }
    with _folder(out) as folder:
        rules = Rules(
            epochs=epochs, steps=steps, budget=limit, seed=task.seed, device=device, folder=str(folder)
        )
        ledger = Ledger(folder, settings, {name: str(spec) for name, spec in named.items()})
        _begin(ledger, task, next(iter(plans.values())), device=device, reporter=reporter)
        _carry_out(course, ledger, task, source, rules, reporter)
        comparison = conclude(
            ledger.schedules,
            task=task.name,
            figure=figure,
            on=on,
            direction=towards,
            parts=course.parts,
            seeds=course.seeds,
            steps=length,
            budget=limit,
            shared_updates=int((ledger.range_test or {"steps": 0})["steps"]),
            out=None if out is None else folder,
        )
        if all(one.lr is None for one in comparison.schedules):
            raise NoAnswer(f"no schedule can be trained: {comparison.schedules[0].reason}")
        if out is not None:
            ledger.write(comparison.to_dict())
            if plots:
                save_figure(comparison.plot(), folder / "comparison.png")
    return comparison


def _settings(task: Task, course: Course, budget: int, *, device: str | None) -> dict[str, Any]:
    """What must be the same for trainings to belong to one comparison, beside the schedules and how they are judged."""
    plan = next(iter(course.plans.values()))
    return {
        "task": task.name,
        "objective": task.objective,
        **plan_identity(plan),
        "budget": budget,
        "seed": task.seed,
        "device": choose_device(device or task.device).type,
    }


def _begin(ledger: Ledger, task: Task, plan: Plan, *, device: str | None, reporter: Reporter) -> None:
    """The range test, unless the ledger has it; with it the ledger must have been begun for this very task."""
    untrained = Run(task, plan, seed=task.seed, device=device).evaluate("validation")[task.objective_key]
    if ledger.range_test is None:
        ledger.begin(_range_test(task, plan.horizon.steps, device=device, reporter=reporter), untrained)
    ledger.refuse_another_task(untrained)


def _carry_out(
    course: Course, ledger: Ledger, task: Task, source: Source | None, rules: Rules, reporter: Reporter
) -> None:
    """Do every job that is left, each kept before the next begins."""

    def ready() -> Iterator[Job]:
        return ready_jobs(course, ledger.schedules, ledger.range_test)

    if source is None:
        doing = do_all_here(ready, task, rules, reporter)
    else:
        length = next(iter(course.plans.values())).horizon.steps
        reporter.stage("comparison", len(course.plans) * (rules.budget + len(course.seeds) * length))
        doing = do_all_in_processes(ready, source, rules, reporter=reporter)
    with closing(doing):
        for job, answer in doing:
            ledger.keep(job, answer)
            (Path(rules.folder) / job.folder / "checkpoint.pt").unlink(missing_ok=True)  # of no further use


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The run folder, locked, or one for as long as the comparison lasts."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="lrkit-") as spare:
            yield Path(spare)
        return
    folder = make_folder(Path(out))
    lock = WriterLock(folder / "comparison.lock")
    try:
        yield folder
    finally:
        lock.release()


def _resolved(
    task: Task | str,
    *,
    data: str | Path | None,
    seed: int | None,
    device: str | None,
    workers: int | None,
    schedules: int,
) -> tuple[Task, Source | None]:
    """The task, and from where workers get it; None where the work is done in this process."""
    if workers is not None:
        _whole("workers", workers)
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if device is not None:
        changes["device"] = device
    if isinstance(task, str):
        loaded = dataclasses.replace(load_task(task, data=data), **changes)
        count = usual_workers(choose_device(loaded.device), schedules) if workers is None else workers
        source = Source(task, None if data is None else str(data), changes, count)
        return loaded, source if count > 1 else None
    if data is not None:
        raise SpecError("data= is for a task given by its name: this one has its data")
    if workers is not None and workers > 1:
        raise SpecError(
            f"workers={workers} load the task themselves: pass its name, a built-in one or 'path/to/file.py:task'"
        )
    return dataclasses.replace(task, **changes), None


def _range_test(task: Task, length: int, *, device: str | None, reporter: Reporter) -> dict[str, Any]:
    found = find_lr(
        task,
        low=SWEPT[0],
        high=SWEPT[1],
        steps=sweep_length(length, REPEATS),
        repeats=REPEATS,
        seed=task.seed,
        device=device,
        reporter=reporter,
    )
    return found.to_dict()


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"{name}= is a whole number from 1, not {value!r}")
