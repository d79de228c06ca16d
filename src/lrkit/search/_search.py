"""search_lr: range test, trials as the method asks for them, and what they say; all of it kept in a study."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrkit.errors import NoAnswer, SpecError, StudyError, TaskError
from lrkit.files import make_folder
from lrkit.plan import Plan
from lrkit.range_test import RangeTest, find_lr
from lrkit.schedule import Schedule
from lrkit.search.driver import Executor, drive
from lrkit.search.identity import plan_identity, same_measurement
from lrkit.search.limits import SWEPT, Limits
from lrkit.search.locking import WriterLock
from lrkit.search.loss_curves import LossCurves
from lrkit.search.methods.batches import SPENT
from lrkit.search.methods.registry import chosen_method, usual_trainings
from lrkit.search.result import Search, conclude
from lrkit.search.setting import apply_values, check_space, corners
from lrkit.search.shared_study import SharedStudy, study_name
from lrkit.search.side_by_side import SideBySide, fused, settled_pairing
from lrkit.search.space import Space, read_space
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.states import FileStates
from lrkit.search.study import Study
from lrkit.search.trainer import Trainer, routed
from lrkit.search.trials import Result, Settings
from lrkit.spec import Spec
from lrkit.training import SILENT, Reporter, Run, Task, choose_device, default_plan
from lrkit.training.task import VALIDATION_LOSS

__all__ = ["search_lr"]

# As wide as a range test's bracket usually is: what a method needs is asked with it before there is a real one.
_USUAL_BRACKET = (1e-3, 4e-2)
BLIND_DECADES = 3.2
"""What is searched below the end of a sweep that saw nothing but noise: twice the usual bracket."""


def search_lr(
    task: Task,
    *,
    schedule: Schedule | Spec | str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    method: str | None = None,
    space: Mapping[str, Any] | None = None,
    bracket: tuple[float, float] | None = None,
    range_test: RangeTest | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    storage: str | None = None,
    name: str = "",
    workers: int = 1,
    ray: bool | str = False,
    device: str | None = None,
    reporter: Reporter = SILENT,
) -> Search:
    """Find the peak learning rate with which `task`, trained under the schedule to the horizon, ends best.

    schedule, epochs, steps: as for `default_plan`; or a whole `plan`, whose lr does not matter.
    budget: the most updates that all of it may take, range test included; eight trainings by default for the lr
        alone, a quarter of a grid of 32 rates.
    seconds: wall time of this call after which no further trial begins (three are always run); the answer then
        rests on what there is, and says so.
    seed: of every trial, so that all rates share weights and batches; replicates take the next ones.
    method: "auto" (the default for the lr alone), "bayes" (the default with a space), "halving" or "grid".
    space: what is searched beside the lr, by name: `{"weight_decay": "1e-4..1e-1:log", "schedule": "wsd|one_cycle"}`;
        "lr" in it is the bracket. The answer is then `values`, and the lr that goes with them.
    bracket: the rates to begin between, (low, high); without it that of `range_test`, or of one that is run first.
    out: a folder for the study. The same call again continues there, also with a larger budget, and trains no
        finished trial again; None keeps nothing.
    storage: `postgresql://...`, a study that several processes or machines share by making the same call; `name` tells
        it from others of the same task. `out` then holds what is this machine's own.
    workers: processes that train trials side by side.
    ray: True trains on a Ray that is started on this machine, an address on that cluster.

    Raises NoAnswer where no rate can be trained, StudyError for a budget that is too small for any answer and for
    a folder that cannot be used, is in use, or belongs to another search, SpecError for arguments that do not go
    together, TaskError for a task that other processes cannot have, MissingExtra.
    """
    plan = _planned(task, plan, schedule=schedule, epochs=epochs, steps=steps)
    rates, varied = read_space({} if space is None else space)
    if rates is not None:
        if bracket is not None:
            raise SpecError("the space has lr, which is the bracket: leave out bracket=")
        bracket = (rates.low, rates.high)
    method, choosing = chosen_method(method, varied)
    check_space(task, plan, varied)
    _check(workers, seconds)
    if ray and workers != 1:
        raise SpecError("workers= are processes of this machine, and ray= trains on Ray: give one of them")
    usual = usual_trainings(method, varied)
    limits = Limits.of(plan.horizon.steps, budget, bracket=bracket, range_test=range_test, trainings=usual)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    work = _Work(task, plan, seed, device, reporter)
    identity = work.identity() | {
        "method": method,
        "space": varied.to_dict(),
        "bracket": None if bracket is None else [*bracket],
        "range test": None if range_test is None else range_test.to_dict(),
    }
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        study = stack.enter_context(_study(folder, storage, name, identity, work, varied))
        states = stack.enter_context(_states(folder))
        if workers != 1:
            from lrkit.search.workers import require_travel

            require_travel(Trainer(task, plan, seed, device, reporter))
        untrained = work.untrained(study)
        before = 0.0
        if bracket is None:
            if method != "auto":
                # What it lacks, an extra or a larger budget, is told before anything is spent.
                choosing.next_trials(_settings(work, limits.budget, _USUAL_BRACKET, untrained, varied), ())
            if range_test is None:
                range_test, before = work.range_test(study, limits)
            bracket = _bracket(range_test, reporter)
        budget = limits.budget - (0 if range_test is None else range_test.steps)
        search = _settings(work, budget, bracket, untrained, varied)
        trainer = Trainer(task, plan, seed, device, reporter)
        alone = not ray and workers == 1 and storage is None
        pairs = settled_pairing(trainer, study, choosing, search) if alone else None
        trainer, route = routed(
            trainer, study, choosing, search, plain_seconds=None if pairs is None else pairs.seconds
        )
        paired = pairs is not None and pairs.pays and route == "loop"
        executor = stack.enter_context(_executor(trainer, workers, ray, paired=paired))
        spent = sum(result.cost for result in study.results())
        if spent > budget:
            stop = SPENT
            reporter.note(
                f"the trials of this study have taken {spent:,} updates, and the budget leaves them {budget:,}: "
                "nothing further is trained, and the answer rests on all of them"
            )
        else:
            stop = drive(
                choosing,
                search,
                study,
                states,
                executor,
                deadline=deadline,
                reporter=reporter,
                curves=None if folder is None else LossCurves(folder / "curves.bin"),
            )
        results = study.results()
    _require_answer(results)
    return conclude(
        search,
        results,
        stop,
        objective_name=task.objective,
        range_test=range_test,
        seconds=before,
        route="side by side" if isinstance(executor, SideBySide) and not executor.given_up else route,
    )


def _settings(
    work: _Work, budget: int, bracket: tuple[float, float], untrained: float, space: Space
) -> Settings:
    return Settings(
        steps=work.plan.horizon.steps,
        budget=budget,
        low=bracket[0],
        high=bracket[1],
        seed=work.seed,
        direction=work.task.direction or "min",
        untrained=untrained,
        earliest=_past_warmup(work.task, work.plan, space),
        space=space or None,
    )


def _check(workers: int, seconds: float | None) -> None:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SpecError(f"workers= is a whole number of processes, at least 1, not {workers!r}")
    if seconds is not None and not seconds >= 0:
        raise SpecError(f"seconds= is a time of at least 0, not {seconds!r}")


@contextmanager
def _study(
    folder: Path | None,
    storage: str | None,
    name: str,
    identity: Mapping[str, Any],
    work: _Work,
    space: Space,
) -> Iterator[Study]:
    """In the folder, in the database that is shared, or in memory; a folder has one search at a time."""
    if storage is not None:
        with ExitStack() as stack:
            shared = SharedStudy(
                storage,
                study_name(work.task.name, name),
                identity,
                steps=work.plan.horizon.steps,
                direction=work.task.direction or "min",
                space=space or None,
            )
            stack.enter_context(shared)
            if folder is not None:
                stack.callback(WriterLock(make_folder(folder) / "study.lock").release)
            yield shared
        return
    if name:
        raise SpecError("name= tells studies of one storage= apart: give both, or use another folder")
    with SqliteStudy(folder, identity) as study:
        if study.journal_note is not None:
            work.reporter.note(study.journal_note)
        yield study


@contextmanager
def _executor(trainer: Trainer, workers: int, ray: bool | str, *, paired: bool) -> Iterator[Executor]:
    """What trains: this process, by itself or in threads, others, or Ray; ended with the search."""
    if ray:
        from lrkit.search.workers import RayExecutor

        executor: Executor = RayExecutor(trainer, None if ray is True else ray)
    elif workers != 1:
        from lrkit.search.workers import PoolExecutor

        executor = PoolExecutor(trainer, workers=workers)
    elif paired:
        executor = SideBySide(fused(trainer))
    else:
        executor = trainer
    with closing(executor):
        yield executor


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
            "direction": task.direction,
            "split seed": task.seed,
            "held out": task.holdout if task.validation is None else None,
            "seed": self.seed,
            "device": choose_device(self.device or task.device).type,
            "schedule": str(plan.schedule),
            "control": list(plan.control),
            **plan_identity(plan),
        }

    def untrained(self, study: Study) -> float:
        """The objective before training; a study that knows another was made with other data or another model."""
        run = Run(self.task, self.plan, seed=self.seed, data="search", device=self.device)
        value = run.evaluate("validation")[self.task.objective_key]
        if math.isnan(value) and self.task.objective == VALIDATION_LOSS:
            raise TaskError(
                f"task {self.task.name!r}: the validation loss of the untrained model is NaN: check the validation "
                "data, and what model and loss do in eval mode"
            )
        known = study.once("untrained", lambda: {"objective": _plain(value)})
        if not same_measurement(float(known["objective"]), value):
            raise StudyError(
                f"the task has changed since this study was begun: its untrained model's {self.task.objective} "
                f"was {float(known['objective']):.6g} and is {value:.6g}; choose another folder"
            )
        return float(known["objective"])

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


def _past_warmup(task: Task, plan: Plan, space: Space) -> int:
    """The first update at which trials may be compared: a twentieth of the length after the schedule's peak, the
    latest of all schedules and warmups in the space.
    """
    shaped = [apply_values(task, plan, values)[1] for values in corners(space, ("schedule", "warmup"))]
    return min(plan.horizon.steps, max(map(_peak, shaped)) + plan.horizon.steps // 20)


def _peak(plan: Plan) -> int:
    """The first update within 1 % of the largest rate."""
    base_lr = plan.lr if plan.schedule.needs_base_lr else None
    factors = plan.schedule.over(plan.horizon, base_lr=base_lr).chunk(0, plan.horizon.steps)
    return int(np.argmax(factors >= 0.99 * factors.max()))


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
    furthest = {result.key: result for result in sorted(results, key=lambda result: result.steps)}
    if any(not result.diverged for result in furthest.values()):
        return
    rates, longest = [result.lr for result in results], max(result.steps for result in results)
    raise NoAnswer(
        f"the loss becomes NaN or infinite at every rate tried, {min(rates):.1e} to {max(rates):.1e}, "
        f"after {longest} updates at the latest: "
        "check the data and the loss, or pass bracket=(low, high) with lower rates"
    )


def _plain(value: float) -> float | str:
    """JSON has no NaN: as text it comes back through `float` all the same."""
    return value if math.isfinite(value) else str(value)
