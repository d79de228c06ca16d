"""Writing `record.jsonl` while a run goes on, and picking it up again on resume. Reading is `reader.py`."""

from __future__ import annotations

import contextlib
import operator
import os
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from lrkit.errors import LrkitError
from lrkit.files import replace_atomically
from lrkit.records.reader import rows_in
from lrkit.records.rows import LONGEST_ROW, Row, decode_row, encode_row

__all__ = ["RecordWriter"]

_ROWS_HELD = 100
_SECONDS_HELD = 1.0
_BLOCK = 1 << 20


class RecordWriter:
    """Appends one row per update to a record; rows already there stay.

    Rows are held back for at most 100 rows, or until the next row that comes a second after the last time the
    file was written; `flush` and `close` leave nothing behind. A killed process thus loses at most those, and
    leaves at most one torn last line, which the reader passes over and the next writer cuts off. Not for two
    writers at once.

    `keep=k`, for a run that resumes at update k, first drops the rows of updates k and later (they will be
    done again): the file is replaced in one piece, so a kill in between leaves the old one. None keeps every
    row.

    Raises LrkitError when the file cannot be read or written (the rows on disk stay whole), or is no record.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int | None = None) -> None:
        if keep is not None and (isinstance(keep, bool) or keep < 0):
            raise LrkitError(f"keep is {keep!r}; it is the number of the first update to drop, 0 or more")
        self._path = Path(path)
        self._pending: list[bytes] = []
        try:
            self._path.touch()
            if keep is not None:
                _drop_from(self._path, keep)
            self._file: FileIO = open(self._path, "r+b", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._end, self._last_step = _whole_rows(self._file, self._path)
            self._file.truncate(self._end)
        except OSError as error:
            self._file.close()
            raise self._failure(error) from error
        except LrkitError:
            self._file.close()
            raise
        self._written_at = time.monotonic()

    def write(
        self,
        step: int,
        loss: float,
        lr: Sequence[float],
        *,
        grad_norm: float | None,
        seconds: float,
        **metrics: float,
    ) -> None:
        """Log update `step`: its loss, the lr that each group used, the norm of the gradient, the wall time it took.

        `metrics` are those measured at this step (`**{"validation loss": 0.3}`). A loss that is nan or
        infinite is a row like any other. Raises LrkitError when the steps do not rise, and when the disk does
        not take the rows.
        """
        step = operator.index(step)
        if step <= self._last_step:
            raise LrkitError(
                f"step {step} cannot follow step {self._last_step} in {str(self._path)!r}: steps rise from 0; "
                "a run that resumes opens it with RecordWriter(path, keep=step)"
            )
        row = Row(step=step, loss=loss, lr=lr, grad_norm=grad_norm, seconds=seconds, metrics=metrics)
        self._pending.append(encode_row(row))
        self._last_step = step
        if len(self._pending) >= _ROWS_HELD or time.monotonic() - self._written_at >= _SECONDS_HELD:
            self._push()

    def flush(self) -> None:
        """Put every row on the disk: a checkpoint saved after it never knows more steps than the record."""
        self._push()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Write what is held back and close the file, also when the writing fails. Closing again is
        nothing."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        # What ended the block is the news; that the disk is full as well must not hide it.
        with contextlib.suppress(LrkitError):
            self.close()

    def _push(self) -> None:
        # From a known offset, not by appending: done again after a Ctrl-C in the middle, it writes the same
        # bytes to the same place. Unbuffered, since a buffered file keeps bytes that failed and fails again
        # when closed.
        data = memoryview(b"".join(self._pending))
        done = 0
        try:
            self._file.seek(self._end)
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise self._failure(error) from error
        self._end, self._pending = self._end + done, []
        self._written_at = time.monotonic()

    def _failure(self, error: OSError) -> LrkitError:
        return LrkitError(
            f"cannot write the record {str(self._path)!r}: {error.strerror or error}; "
            "what was written before is whole; make room or choose another folder, and resume"
        )


def _drop_from(path: Path, step: int) -> None:
    """Leave only the rows before `step` in the file, in one replacement; none where there is no row to go."""
    end, drop = 0, False
    with path.open("rb") as file:
        for _, line_end, row in rows_in(file, path):
            drop = row.step >= step
            if drop:
                break
            end = line_end
    if drop:
        with replace_atomically(path) as new, path.open("rb") as file:
            while end and (block := file.read(min(end, _BLOCK))):
                new.write(block)
                end -= len(block)


def _whole_rows(file: BinaryIO | FileIO, path: Path) -> tuple[int, int]:
    """Where the last whole row ends (bytes) and its step (-1: no rows), from the tail of the file alone."""
    size = file.seek(0, os.SEEK_END)
    # Two rows' length holds a torn line and the whole row before it.
    start = max(0, size - 2 * LONGEST_ROW)
    file.seek(start)
    tail = file.read()
    newline = tail.rfind(b"\n")
    torn = tail[newline + 1 :]
    # A power cut can leave zeros where the row was to be. What is no torn row is somebody's text: it is not
    # cut off.
    if not torn.startswith(b"{") and torn.strip(b"\0"):
        raise LrkitError(
            f"{str(path)!r} is no record: its last line is not a row; choose another file, or delete it"
        )
    if newline < 0:
        if start:
            raise LrkitError(f"{str(path)!r} is no record: its last line is too long; choose another file")
        return 0, -1
    line = tail[tail.rfind(b"\n", 0, newline) + 1 : newline + 1]
    try:
        return start + newline + 1, decode_row(line).step
    except LrkitError as fact:
        raise LrkitError(
            f"{str(path)!r} is no record: its last line is not a row: {fact}; choose another file"
        ) from None
