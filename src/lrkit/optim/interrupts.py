"""Ctrl-C that waits: while something must not be cut in two, SIGINT is noted and handed over afterwards."""

from __future__ import annotations

import signal
import threading
from types import CodeType, FrameType
from typing import Any

__all__ = ["Shield"]


class Shield:
    """Defers Ctrl-C while a function whose code is `code` is running, from its first instruction to its last.

    `raise_()` to `lower()` is the time over which it watches. Looking for the running code rather than
    for a flag closes the gap between the call of that function and the first line in it. Python lets only
    the main thread handle signals: elsewhere, and where SIGINT is ignored or not Python's to handle,
    nothing is done and nothing is needed.
    """

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._before: Any = None
        self._pending = False

    def raise_(self) -> None:
        """Watch from now on; again is harmless."""
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and handler != self._on_signal:
            self._before = handler
            signal.signal(signal.SIGINT, self._on_signal)

    def lower(self) -> None:
        """Stop watching, and hand over what came in the meantime."""
        if self._before is None:
            return
        handler, self._before = self._before, None
        # A handler that others have set since, over this one, is theirs.
        if signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, handler)
        if self._pending:
            self._pending = False
            signal.raise_signal(signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        inner = frame
        while inner is not None:
            if inner.f_code is self._code:
                self._pending = True
                return
            inner = inner.f_back
        self._before(number, frame)
