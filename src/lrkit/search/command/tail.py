"""Lines of a text file that still grows: each one once, when it is whole."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["LONGEST_LINE", "Tail", "last_lines"]

LONGEST_LINE = 1 << 20
"""Bytes; longer lines hold no metric, and are passed over."""
_BLOCK = 1 << 20
# A progress bar ends its lines by a carriage return alone.
_END = re.compile(rb"[\r\n]")


class Tail:
    """Reads on where it stopped. A file that is not there yet is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self, *, ended: bool) -> list[str]:
        """The lines that have been completed since the last call; with `ended`, the last one too, however it ends."""
        found: list[bytes] = []
        try:
            with self._path.open("rb") as file:
                # What is written meanwhile waits: a command that never stops printing must not keep us here.
                size = file.seek(0, 2)
                file.seek(self._offset)
                while block := file.read(min(_BLOCK, size - self._offset)):
                    self._offset += len(block)
                    *whole, self._rest = _END.split(self._rest + block)
                    found += whole
                    if len(self._rest) > LONGEST_LINE:
                        self._rest = self._rest[:LONGEST_LINE]
        except FileNotFoundError:
            return []
        if ended:
            found.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace") for line in found if line and len(line) < LONGEST_LINE]


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file that are not blank, at most `count`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 200 * count))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()][-count:]
