"""search_lr: range test, trials as the method asks for them, and what they say; all of it kept in a study."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.errors import NoAnswer, SpecError, StudyError
from lrkit.plan import Plan
from lrkit.range_test import RangeTest, find_lr
from lrkit.schedule import Schedule
from lrkit.search.driver import drive
from lrkit.search.limits import Limits
from lrkit.search.methods.auto import AUTO
from lrkit.search.result import Search, conclude
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.states import FileStates
from lrkit.search.study import Study
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Result, Settings
from lrkit.spec import Spec
from lrkit.training import SILENT, Reporter, Run, Task, choose_device, default_plan

__all__ = ["search_lr"]

SWEPT = (1e-5, 1.0)
"""The range test's rates at first; it goes on by itself where the answer lies outside."""
BLIND_DECADES = 3.2
"""What is searched below the end of a sweep that saw nothing but noise: twice the usual bracket."""
# Two evaluations of one untrained model agree to this part, whatever the number of threads; other data or
# code do not.
_SAME = 1e-4


def search_lr(
    task: Task,
    *,
    schedule: Schedule | Spec | str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    bracket: tuple[float, float] | None = None,
    range_test: RangeTest | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    reporter: Reporter = SILENT,
) -> Search:
    """Find the peak learning rate with which `task`, trained under the schedule to the horizon, ends best.

    schedule, epochs, steps: as for `default_plan`; or a whole `plan`, whose lr does not matter.
    budget: the most updates that all of it may take, range test included; six trainings by default.
    seconds: wall time of this call after which no further trial begins (three are always run); the answer then
        rests on what there is, and says so.
    seed: of every trial, so that all rates share weights and batches; replicates take the next ones.
    bracket: the rates to begin between, (low, high); without it that of `range_test`, or of one that is run first.
    out: a folder for the study. The same call again continues there, and trains no finished trial again; None
        keeps nothing.

    Raises NoAnswer where no rate can be trained, StudyError for a budget that is too small for any answer and for
    a folder that cannot be used, is in use, or belongs to another search.
    """
    plan = _planned(task, plan, schedule=schedule, epochs=epochs, steps=steps)
    limits = Limits.of(plan.horizon.steps, budget, bracket=bracket, range_test=range_test)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    work = _Work(task, plan, seed, device, reporter)
    settings = work.identity() | {
        "budget": limits.budget,
        "bracket": None if bracket is None else [*bracket],
        "range test": None if range_test is None else range_test.to_dict(),
    }
    folder = None if out is None else Path(out)
    with SqliteStudy(folder, settings) as study, _states(folder) as states:
        if study.journal_note is not None:
            reporter.note(study.journal_note)
        untrained = work.untrained(study)
        before = 0.0
        if bracket is None:
            if range_test is None:
                range_test, before = work.range_test(study, limits)
            bracket = _bracket(range_test, reporter)
        search = Settings(
            steps=plan.horizon.steps,
            budget=limits.budget - (0 if range_test is None else range_test.steps),
            low=bracket[0],
            high=bracket[1],
            seed=seed,
            direction=task.direction or "min",
            untrained=untrained,
            earliest=_past_warmup(plan),
        )
        trainer = Trainer(task, plan, seed, device, reporter)
        stop = drive(AUTO, search, study, states, trainer, deadline=deadline, reporter=reporter)
        results = study.results()
    _require_answer(results)
    return conclude(
        search, results, stop, objective_name=task.objective, range_test=range_test, seconds=before
    )


@contextmanager
def _states(folder: Path | None) -> Iterator[FileStates]:
    """In the run folder, or for as long as the search lasts."""
    if folder is not None:
        yield FileStates(folder / "trials")
        return
    with tempfile.TemporaryDirectory(prefix="lrkit-") as spare:
        yield FileStates(Path(spare) / "trials")


@dataclass(frozen=True, slots=True)
class _Work:
    """What comes before the trials and tells one search from another."""

    task: Task
    plan: Plan
    seed: int
    device: str | None
    reporter: Reporter

    def identity(self) -> dict[str, Any]:
        """What must be the same for trials to belong to one search, as plain data."""
        task, plan = self.task, self.plan
        return {
            "task": task.name,
            "objective": task.objective,
            "split seed": task.seed,
            "held out": task.holdout if task.validation is None else None,
            "seed": self.seed,
            "device": choose_device(self.device or task.device).type,
            "schedule": str(plan.schedule),
            "steps": plan.horizon.steps,
            "batch size": plan.horizon.batch_size,
            "steps per epoch": plan.horizon.steps_per_epoch,
            "optimizer": plan.optimizer.name,
            "options": _listed(plan.optimizer.options),
            "groups": {
                name: [group.lr / plan.lr, str(group.schedule), _listed(group.options)]
                for name, group in plan.groups.items()
            },
            "training": dataclasses.asdict(plan.training),
            "floor": plan.floor,
            **(
                {"control": list(plan.control)} if plan.control else {}
            ),  # studies of before there was any go on
        }

    def untrained(self, study: Study) -> float:
        """The objective before training; a study that knows another was made with other data or another model."""
        run = Run(self.task, self.plan, seed=self.seed, data="search", device=self.device)
        value = run.evaluate("validation")[self.task.objective_key]
        known = study.once("untrained", lambda: {"objective": _plain(value)})
        if not _same(float(known["objective"]), value):
            raise StudyError(
                f"the task has changed since this study was begun: its untrained model's {self.task.objective} "
                f"was {float(known['objective']):.6g} and is {value:.6g}; choose another folder"
            )
        return value

    def range_test(self, study: Study, limits: Limits) -> tuple[RangeTest, float]:
        """The range test and its wall time: the study's, or a new one that it keeps."""

        def make() -> dict[str, Any]:
            started = time.perf_counter()
            found = find_lr(
                self.task,
                low=SWEPT[0],
                high=SWEPT[1],
                steps=limits.sweep,
                repeats=limits.repeats,
                seed=self.seed,
                accumulate=self.plan.training.accumulate,
                precision=self.plan.training.precision,
                device=self.device,
                reporter=self.reporter,
            )
            return {"result": found.to_dict(), "seconds": time.perf_counter() - started}

        known = study.once("range test", make)
        return RangeTest.from_dict(known["result"]), float(known["seconds"])


def _planned(
    task: Task,
    plan: Plan | None,
    *,
    schedule: Schedule | Spec | str | None,
    epochs: int | None,
    steps: int | None,
) -> Plan:
    if plan is None:
        return default_plan(task, schedule=schedule, epochs=epochs, steps=steps)
    if schedule is not None or epochs is not None or steps is not None:
        raise SpecError("a plan says schedule and length itself: leave out schedule=, epochs= and steps=")
    return plan


def _past_warmup(plan: Plan) -> int:
    """The first update at which trials may be compared: a tenth of the length after the schedule's peak."""
    T = plan.horizon.steps
    base_lr = plan.lr if plan.schedule.needs_base_lr else None
    factors = plan.schedule.over(plan.horizon, base_lr=base_lr).chunk(0, T)
    return min(T, int(np.argmax(factors >= 0.99 * factors.max())) + T // 10)


def _bracket(range_test: RangeTest, reporter: Reporter) -> tuple[float, float]:
    """The range test's bracket; where it saw nothing but noise, the decades below the end of its sweep."""
    if range_test.bracket is not None:
        return range_test.bracket
    if range_test.status == "diverged at once":
        raise NoAnswer(
            f"the range test found no learning rate to search around: {range_test.reason}; "
            "check the loss, the data and the model, or pass bracket=(low, high)"
        )
    highest = float(range_test.lrs[min(map(len, range_test.losses)) - 1])
    reporter.note(
        f"the range test gives no bracket ({range_test.reason}): searching the {BLIND_DECADES:g} decades below "
        f"{highest:.1e}, where its sweep ended"
    )
    return highest / 10.0**BLIND_DECADES, highest


def _require_answer(results: Sequence[Result]) -> None:
    if any(not result.diverged for result in results):
        return
    rates = [result.lr for result in results]
    raise NoAnswer(
        f"the loss is NaN or infinite at every rate tried, {min(rates):.1e} to {max(rates):.1e}: "
        "check the data and the loss, or pass bracket=(low, high) with lower rates"
    )


def _listed(options: Mapping[str, Any]) -> list[list[Any]]:
    return [[name, list(value) if isinstance(value, tuple) else value] for name, value in options.items()]


def _plain(value: float) -> float | str:
    """JSON has no NaN: as text it comes back through `float` all the same."""
    return value if math.isfinite(value) else str(value)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= _SAME * max(abs(a), abs(b))
