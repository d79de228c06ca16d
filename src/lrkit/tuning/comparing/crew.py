"""Doing jobs, here or in a few spawned processes. Knows what a job is as little as it can: a value that `do_job` does.

A worker loads the task by its name, as the command line does: tasks are made of functions, which do not travel.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from lrkit import errors
from lrkit.errors import LrkitError, StudyError, TaskError
from lrkit.training import Reporter, Task, load_task, usable_cores
from lrkit.tuning.comparing.jobs import Job, Rules, do_job

__all__ = ["Ready", "Source", "do_all_here", "do_all_in_processes", "usual_workers"]

MOST_WORKERS = 4
"""As many processes at most unless more are asked for: each holds the task's data."""

_PATIENCE = 5.0
"""Seconds that a worker has to end by itself when it is told to."""
_REPORTED_EVERY = 1.0
"""Seconds between two reports of a worker."""


@dataclass(frozen=True, slots=True)
class Source:
    """From where so many workers get the task: what `load_task` takes, and what is put in place of the task's own."""

    name: str
    data: str | None
    changes: dict[str, Any]
    workers: int


Ready = Callable[[], Iterable[Job]]
"""What can be done now. Asked again after each answer, which whoever takes it has kept by then."""


def usual_workers(device: torch.device, schedules: int) -> int:
    """A process for each core of a CPU, 4 at most, for two with a thread each do more than one with two; else one."""
    return min(usable_cores(), MOST_WORKERS, schedules) if device.type == "cpu" else 1


def do_all_here(
    ready: Ready, task: Task, rules: Rules, reporter: Reporter
) -> Generator[tuple[Job, dict[str, Any]], None, None]:
    """Each job with its answer, one after the other, until none is ready."""
    while (job := next(iter(ready()), None)) is not None:
        yield job, do_job(job, task, rules, reporter)


def do_all_in_processes(
    ready: Ready, source: Source, rules: Rules, *, reporter: Reporter
) -> Generator[tuple[Job, dict[str, Any]], None, None]:
    """As `do_all_here`, by processes side by side, in the order in which they finish.

    Each has its share of the processor's cores for threads. An error in one ends all of them and is raised here, with
    the worker's own message. Raises StudyError when a worker dies.
    """
    if next(iter(ready()), None) is None:
        return  # no process is begun for nothing
    with _crew(source, rules) as members:
        busy: dict[Connection, Job] = {}
        while True:
            taken = {job.folder for job in busy.values()}
            waiting = [job for job in ready() if job.folder not in taken]
            idle = [connection for connection in members if connection not in busy]
            for connection, job in zip(idle, waiting, strict=False):
                busy[connection] = job
                with _told_of_death(members[connection], job):
                    connection.send(job)
            if not busy:
                return
            ready_to_read = wait(list(busy))
            for connection in [one for one in members if one in ready_to_read]:
                answer = _received(connection, members[connection], busy[connection], reporter)
                if answer is not None:
                    yield busy.pop(connection), answer


@contextmanager
def _crew(source: Source, rules: Rules) -> Iterator[dict[Connection, BaseProcess]]:
    context = multiprocessing.get_context("spawn")
    threads = max(1, usable_cores() // source.workers)
    crew: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(source.workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, source, rules, threads))
            process.start()
            theirs.close()
            crew[mine] = process
        yield dict(crew)
    finally:
        for connection, member in crew.items():
            connection.close()
            member.terminate()
        for member in crew.values():
            member.join(_PATIENCE)
            if member.is_alive():
                member.kill()
                member.join()


def _received(
    connection: Connection, process: BaseProcess, job: Job, reporter: Reporter
) -> dict[str, Any] | None:
    """The answer of a job; None where the message was about how it goes."""
    with _told_of_death(process, job):
        kind, content = connection.recv()
    if kind == "answer":
        return dict(content)
    if kind == "advance":
        steps, loss, lr = content
        reporter.advance(steps, loss=loss, lr=lr)
        return None
    if kind == "note":
        reporter.note(f"{job.name}: {content}")
        return None
    name, message, told = content
    known = getattr(errors, name, None)
    if known is None or not issubclass(known, LrkitError):
        raise TaskError(f"{job.name}: {name}: {message}") from RuntimeError(told)
    raise (known if known is not errors.MissingExtra else LrkitError)(message)


@contextmanager
def _told_of_death(process: BaseProcess, job: Job) -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        process.join(_PATIENCE)
        raise StudyError(
            f"the worker that had {job.name!r} died (exit code {process.exitcode}; was memory short?): "
            "what was finished is kept, the same call goes on"
        ) from ChildProcessError(process.exitcode)


def _serve(connection: Connection, source: Source, rules: Rules, threads: int) -> None:
    """What a worker does: jobs, one after the other, until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started us ends us
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    task: Task | None = None
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if task is None:
                loaded = load_task(source.name, data=None if source.data is None else Path(source.data))
                task = dataclasses.replace(loaded, **source.changes)
            relay = _Relay(connection)
            answer = do_job(job, task, rules, relay)
            relay.close()
            connection.send(("answer", answer))
        except BrokenPipeError:
            return
        except Exception as error:
            connection.send(("error", (type(error).__name__, str(error), traceback.format_exc())))


class _Relay:
    """A worker's reporter: what it is told goes to whoever started the worker, about once a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._steps, self._told = 0, time.monotonic()
        self._newest = (float("nan"), float("nan"))

    def stage(self, name: str, total: int) -> None:
        del name, total  # the comparison is one stage

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        self._steps += steps
        self._newest = (loss, lr)
        if time.monotonic() - self._told >= _REPORTED_EVERY:
            self.close()

    def note(self, text: str) -> None:
        self._connection.send(("note", text))

    def close(self) -> None:
        """Send what has not been sent."""
        if self._steps:
            self._connection.send(("advance", (self._steps, *self._newest)))
        self._steps, self._told = 0, time.monotonic()


def _leave_with_parent() -> None:
    """A parent that was killed cannot end its workers: they would hold the study's lock until their job is done."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
