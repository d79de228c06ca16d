"""The life of a worker process: open what it is sent, do what is asked, and leave when nobody is there any more."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import torch

from lrkit.search.workers.messages import Advanced, Failed, Noted, Ready, portable
from lrkit.training import Reporter

__all__ = ["Opens", "work"]

Opens = Callable[[Any, Reporter], tuple[object, Callable[[Any], Iterable[object]]]]
"""From what a worker is sent first, and whom to tell news, to what it says when it is open, and to the function that
answers an order. It goes to the worker by its name."""

_SECONDS_BETWEEN_NEWS = 0.5
_SECONDS_BETWEEN_LOOKS = 2.0


def work(pipe: Connection, folder: str, threads: int, opens: Opens) -> None:
    """Serve the process at the other end of `pipe` until it closes it, with `threads` of torch in `folder`.

    The first thing that comes is for `opens`, all others are orders. What goes back is `Ready`, then the answers to
    each order with news in between; or `Failed` with what the user's code raised, after which the worker leaves.
    """
    _stand_alone()
    line = _Line(pipe)
    try:
        os.chdir(folder)
        torch.set_num_threads(threads)
        told, answers = opens(pipe.recv(), line)
        line.tell(Ready(told))
        while (order := line.next_order()) is not None:
            for answer in answers(order):
                line.flush()
                line.tell(answer)
            line.flush()
    except BaseException as error:
        line.tell(Failed(portable(error, pickle)))


def _stand_alone() -> None:
    """A group of its own, so that Ctrl-C reaches the driver alone, and its end when the driver ends, however."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    threading.Thread(target=_leave_with_parent, name="lrkit-watch", daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # A process forked by the parent may hold the sentinel open beyond its death: hence the look at the parent's id.
    while (
        not connection.wait([parent.sentinel], timeout=_SECONDS_BETWEEN_LOOKS) and os.getppid() == parent.pid
    ):
        pass
    _leave()


def _leave() -> NoReturn:
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # with it the processes that load its data
    os._exit(1)


class _Line:
    """The worker's end of the pipe, and the reporter of what it does: news go out twice a second."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._steps = 0
        self._newest = (0.0, 0.0)
        self._sent = time.monotonic()

    def tell(self, message: object) -> None:
        """Send a message; a worker to whom nobody listens leaves."""
        try:
            self._pipe.send(message)
        except ConnectionError:
            _leave()

    def next_order(self) -> object | None:
        """What to do next; None when the driver has closed the pipe."""
        try:
            order: object = self._pipe.recv()
        except (EOFError, ConnectionError):
            return None
        return order

    def stage(self, name: str, total: int) -> None:
        """The driver's own affair."""

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        """Count the updates until they are sent."""
        self._steps += steps
        self._newest = (loss, lr)
        if time.monotonic() - self._sent >= _SECONDS_BETWEEN_NEWS:
            self.flush()

    def note(self, text: str) -> None:
        """Send a line that a person should read."""
        self.tell(Noted(text))

    def flush(self) -> None:
        """Send what has not been sent."""
        self._sent = time.monotonic()
        if self._steps:
            self.tell(Advanced(self._steps, *self._newest))
            self._steps = 0

    close = flush
