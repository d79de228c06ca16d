"""Trials of the tasks in `worker_tasks.py`, and what two trainings of them must share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lrkit.search.driver import Executor, drive
from lrkit.search.methods import Method
from lrkit.search.methods.auto import AUTO
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.states import FileStates, States
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result, Settings, Stop
from lrkit.training import default_plan, load_task

TASKS = Path(__file__).with_name("worker_tasks.py")


def trainer_of(name: str, **changes: Any) -> Trainer:
    task = dataclasses.replace(load_task(f"{TASKS}:{name}"), **changes)
    return Trainer(task, default_plan(task), 0)


def proposals(*rates: float, start: int = 0, stop: int = 24) -> list[Proposal]:
    return [Proposal(lr, 0, start, stop) for lr in rates]


def comparable(results: Iterable[Result]) -> list[tuple[Any, ...]]:
    """Everything but seconds and order."""
    return sorted((r.lr, r.seed, r.steps, r.objective, r.diverged, r.cost, r.metrics) for r in results)


def searched(
    executor: Executor,
    trainer: Trainer,
    folder: Path,
    *,
    method: Method = AUTO,
    trainings: float = 24,
    disturb: Callable[[], None] = lambda: None,
) -> tuple[Stop, list[tuple[Any, ...]]]:
    """A whole search by `executor`: why it stopped, and its results. `disturb` is called before each is awaited."""

    class Disturbed:
        def run(
            self, batch: Sequence[Proposal], states: States, *, deadline: float = math.inf
        ) -> Generator[Result]:
            with closing(executor.run(batch, states, deadline=deadline)) as running:
                while True:
                    disturb()
                    try:
                        result = next(running)
                    except StopIteration:
                        return
                    yield result

        def close(self) -> None:
            executor.close()

    steps = trainer.plan.horizon.steps
    settings = Settings(steps=steps, budget=int(trainings * steps), low=1e-4, high=1e-1)
    with SqliteStudy(folder, {}) as study:
        stop = drive(method, settings, study, FileStates(folder / "trials"), Disturbed())
        return stop, comparable(study.results())
