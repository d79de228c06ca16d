"""What a worker process tells the one that started it, as plain values; answers are sent as they are."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Protocol

from lrkit.errors import TaskError

__all__ = ["Advanced", "Failed", "Noted", "Ready", "portable"]


class Pickler(Protocol):
    """`pickle` and its like."""

    def dumps(self, obj: Any, /) -> bytes:
        """The object as bytes."""

    def loads(self, data: bytes, /) -> Any:
        """The object again."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is open, and this is what it had to tell of that."""

    told: Any


@dataclass(frozen=True, slots=True)
class Advanced:
    """`steps` more updates are done; the newest had this loss at this lr."""

    steps: int
    loss: float
    lr: float


@dataclass(frozen=True, slots=True)
class Noted:
    """A line that a person should read."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's code raised, and `portable` has made this of it."""

    error: BaseException


def portable(error: BaseException, pickler: Pickler) -> BaseException:
    """`error`, with its traceback as a note, if `pickler` can pickle it and back; else a TaskError with name and text.

    An exception cannot be pickled and back when its constructor wants other arguments than it keeps.
    """
    told = "".join(traceback.format_exception(error)).rstrip()
    error.add_note(f"In a worker process:\n{told}")
    try:
        pickler.loads(pickler.dumps(error))
    except Exception:
        instead = TaskError(type(error).__name__ + (f": {error}" if str(error) else ""))
        instead.add_note(f"In a worker process:\n{told}")
        return instead
    return error
