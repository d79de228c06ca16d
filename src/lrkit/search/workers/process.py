"""One worker process as its driver sees it: started, given an order, listened to, killed; never trusted to live.

Not here: what a worker does (`child`), what it is given and what becomes of it when it dies (whoever drives it).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, resource_tracker
from typing import Any, Generic, TypeVar

import torch

from lrkit.errors import TaskError
from lrkit.search.workers.child import Opens, work
from lrkit.search.workers.messages import Failed
from lrkit.training import usable_cores

__all__ = ["Worker", "ended", "failed_start", "threads_of_each", "wait_for_news"]

_SECONDS_BETWEEN_LOOKS = 1.0

_Part = TypeVar("_Part")


class Worker(Generic[_Part]):
    """A process, spawned by `start`, that opens `parcel` (bytes of pickle) by `opens`; see `work`.

    `ready` is set when it has said so; `chunk` holds the parts of its order that it has not answered, `answered` is how
    many of them it has.
    """

    def __init__(self, parcel: bytes, opens: Opens, *, threads: int) -> None:
        context = get_context("spawn")
        self._parcel = parcel
        self.pipe, self._theirs = context.Pipe()
        self.ready = False
        self.chunk: tuple[_Part, ...] = ()
        self.answered = 0
        self._process = context.Process(
            target=work, args=(self._theirs, os.getcwd(), threads, opens), name="lrkit-worker"
        )

    def start(self) -> None:
        """Spawn the process."""
        with self._theirs, _interrupts_held():
            self._process.start()
        with suppress(ConnectionError):
            self.pipe.send_bytes(self._parcel)

    @property
    def sentinel(self) -> int:
        """For `connection.wait`: readable when the process has ended."""
        return self._process.sentinel

    @property
    def idle(self) -> bool:
        """Whether it may be given an order."""
        return self.ready and not self.chunk

    @property
    def fallen(self) -> bool:
        """Whether the process has ended."""
        return not self._process.is_alive()

    def give(self, chunk: tuple[_Part, ...], order: object) -> None:
        """Have it carry out `order`, which is about `chunk`. One that has died in the meantime shows as fallen."""
        self.chunk, self.answered = chunk, 0
        with suppress(ConnectionError):
            self.pipe.send(order)

    def take(self, part: _Part) -> None:
        """Strike off what is answered."""
        self.chunk = tuple(other for other in self.chunk if other != part)
        self.answered += 1

    def messages(self) -> Iterator[object]:
        """What it has sent and was not read yet; a message cut off by its death is none."""
        while True:
            try:
                if not self.pipe.poll():
                    return
                message = self.pipe.recv()
            except (EOFError, OSError):
                return
            except Exception as error:
                message = Failed(TaskError(f"a worker sent what cannot be read here: {error}"))
            yield message

    def kill(self) -> None:
        """End it at once, and with it the processes that load its data; what it has sent can still be read."""
        if self._process.pid is None:
            return
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    def end(self) -> int:
        """Kill it, let go of the pipe, and give the status that it exited with: minus a signal, if one killed it."""
        self.kill()
        self.pipe.close()
        return self._process.exitcode or 0


def wait_for_news(workers: Iterable[Worker[Any]]) -> None:
    """Return when one of them has sent something or has died, after a second at the latest."""
    lines = [line for worker in workers for line in (worker.pipe, worker.sentinel)]
    connection.wait(lines, timeout=_SECONDS_BETWEEN_LOOKS)


def threads_of_each(workers: int) -> int:
    """Threads of torch for each of so many: its share of the cores, and not more than this process has."""
    return max(1, min(torch.get_num_threads(), usable_cores() // workers))


def failed_start(status: int) -> TaskError:
    """What to raise where a worker has died before it was ready."""
    return TaskError(
        f"a worker process {ended(status)} while it started: what it printed says why; a script that starts "
        'workers must do so under `if __name__ == "__main__":`, for they import it'
    )


def ended(status: int) -> str:
    """How a process went, in words."""
    return f"was killed by signal {-status}" if status < 0 else f"left with status {status}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """What is started here is deaf to Ctrl-C from its first moment on; this process hears it a little later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let them through again, were it started below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
