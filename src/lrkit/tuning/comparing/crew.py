"""Doing jobs, here or in a few processes. Knows what a job is as little as it can: a value that `do_job` does.

A worker loads the task by its name, as the command line does: tasks are made of functions, which do not travel.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lrkit.errors import LrkitError, StudyError, TaskError
from lrkit.search.workers.messages import Advanced, Failed, Noted, Ready
from lrkit.search.workers.process import Worker, failed_start, threads_of_each, wait_for_news
from lrkit.training import Reporter, Task, load_task, usable_cores
from lrkit.tuning.comparing.jobs import Job, Rules, do_job

__all__ = ["Source", "do_all_here", "do_all_in_processes", "usual_workers"]

MOST_WORKERS = 4
"""As many processes at most unless more are asked for: each holds the task's data."""


@dataclass(frozen=True, slots=True)
class Source:
    """From where so many workers get the task: what `load_task` takes, and what is put in place of the task's own."""

    name: str
    data: str | None
    changes: dict[str, Any]
    workers: int


ReadyJobs = Callable[[], Iterable[Job]]
"""What can be done now. Asked again after each piece of news, when whoever takes the answers has kept them."""


def usual_workers(device: torch.device, schedules: int) -> int:
    """A process for each core of a CPU, 4 at most, for two with a thread each do more than one with two; else one."""
    return min(usable_cores(), MOST_WORKERS, schedules) if device.type == "cpu" else 1


def do_all_here(
    ready: ReadyJobs, task: Task, rules: Rules, reporter: Reporter
) -> Generator[tuple[Job, dict[str, Any]], None, None]:
    """Each job with its answer, one after the other, until none is ready."""
    while (job := next(iter(ready()), None)) is not None:
        yield job, do_job(job, task, rules, reporter)


def do_all_in_processes(
    ready: ReadyJobs, source: Source, rules: Rules, *, reporter: Reporter
) -> Generator[tuple[Job, dict[str, Any]], None, None]:
    """As `do_all_here`, by processes side by side, in the order in which they finish.

    Each has its share of the processor's cores for threads. An error in one ends all of them and is raised here, what
    is not lrkit's own as a TaskError that names job and error. Raises StudyError when a worker dies with a job, or the
    last one does; TaskError when one cannot start.
    """
    if next(iter(ready()), None) is None:
        return  # no process is begun for nothing
    with _crew(source, rules) as workers:
        while True:
            taken = {job.folder for worker in workers for job in worker.chunk}
            waiting = deque(job for job in ready() if job.folder not in taken)
            if not waiting and not taken:
                return
            for worker in workers:
                if waiting and worker.idle:
                    job = waiting.popleft()
                    worker.give((job,), job)
            wait_for_news(workers)
            fallen = [worker for worker in workers if worker.fallen]
            for worker in workers:
                yield from _answers(worker, reporter)
            for worker in fallen:
                if worker.chunk or not worker.ready or len(workers) == 1:
                    raise _death(worker)
                worker.end()
                workers.remove(worker)


@contextmanager
def _crew(source: Source, rules: Rules) -> Iterator[list[Worker[Job]]]:
    parcel, threads = pickle.dumps((source, rules)), threads_of_each(source.workers)
    workers: list[Worker[Job]] = [Worker(parcel, _open, threads=threads) for _ in range(source.workers)]
    with ExitStack() as ending:
        for worker in workers:
            ending.callback(worker.end)
            worker.start()
        yield workers


def _open(
    parcel: tuple[Source, Rules], reporter: Reporter
) -> tuple[None, Callable[[Job], Iterable[dict[str, Any]]]]:
    """The life of a worker, see `Opens`: an order is a job."""
    source, rules = parcel
    task = dataclasses.replace(load_task(source.name, data=source.data), **source.changes)
    return None, lambda job: [do_job(job, task, rules, reporter)]


def _answers(worker: Worker[Job], reporter: Reporter) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Hear what a worker has said, and give the answers among it."""
    for message in worker.messages():
        match message:
            case Ready():
                worker.ready = True
            case Advanced(steps, loss, lr):
                reporter.advance(steps, loss=loss, lr=lr)
            case Noted(text):
                reporter.note(f"{_place(worker)}{text}")
            case dict():
                (job,) = worker.chunk
                worker.take(job)
                yield job, message
            case Failed(error) if isinstance(error, LrkitError) or not isinstance(error, Exception):
                raise error
            case Failed(error):
                raise TaskError(f"{_place(worker)}{type(error).__name__}: {error}") from error


def _death(worker: Worker[Job]) -> LrkitError:
    status = worker.end()
    if not worker.ready:
        return failed_start(status)
    which = f"the worker that had {worker.chunk[0].name!r}" if worker.chunk else "an idle worker"
    error = StudyError(
        f"{which} died (exit code {status}; was memory short?): what was finished is kept, the same call goes on"
    )
    error.__cause__ = ChildProcessError(status)
    return error


def _place(worker: Worker[Job]) -> str:
    """What a line from a worker begins with."""
    return f"{worker.chunk[0].name}: " if worker.chunk else ""
