"""One worker process as the driver sees it: started, given a chunk, listened to, killed; never trusted to live."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker

from lrkit.errors import TaskError
from lrkit.search.states import States
from lrkit.search.trials import Proposal, Result
from lrkit.search.workers.child import work
from lrkit.search.workers.messages import Failed

__all__ = ["Worker"]


class Worker:
    """A process that keeps the trainer in `parcel` open, spawned by `start`.

    `ready` is set when it has said so; `chunk` holds what it was given and has not answered, `answered` is how much of
    it was.
    """

    def __init__(self, parcel: bytes, threads: int) -> None:
        context = get_context("spawn")
        self._parcel = parcel
        self.pipe, self._theirs = context.Pipe()
        self.ready = False
        self.chunk: tuple[Proposal, ...] = ()
        self.answered = 0
        self._process = context.Process(
            target=work, args=(self._theirs, os.getcwd(), threads), name="lrkit-worker"
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
        """Whether it may be given a chunk."""
        return self.ready and not self.chunk

    @property
    def fallen(self) -> bool:
        """Whether the process has ended."""
        return not self._process.is_alive()

    def give(self, chunk: tuple[Proposal, ...], states: States) -> None:
        """Have it train `chunk`. One that has died in the meantime shows as fallen."""
        self.chunk, self.answered = chunk, 0
        with suppress(ConnectionError):
            self.pipe.send((chunk, states))

    def take(self, result: Result) -> None:
        """Strike off what is answered."""
        self.chunk = tuple(proposal for proposal in self.chunk if proposal.key != result.key)
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
