"""Reading `record.jsonl` as columns of numbers. Writing is `writer.py`; what a row may hold is `rows.py`."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lrkit.errors import LrkitError
from lrkit.records.rows import LONGEST_ROW, Row, decode_row

__all__ = ["Record", "read_record", "rows_in"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_NUMBERS = 50_000_000
"""Numbers in the largest record that is read (0.4 GB): a run of ten million steps with one group fits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """What a run logged, as read-only columns with one entry per logged step, in the order of the steps.

    `lrs` has one column per parameter group; where a step had fewer groups than the widest one, the rest is nan.
    `grad_norms` is nan where it was not measured. `seconds` is the wall time of the step. `metrics` holds for each
    name the steps at which it was measured and its values there. Two records are not compared by `==`: compare
    their columns.
    """

    steps: Integers
    losses: Floats
    lrs: Floats
    grad_norms: Floats
    seconds: Floats
    metrics: Mapping[str, tuple[Integers, Floats]]

    def __len__(self) -> int:
        return len(self.steps)


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record at `path`; reading while the run still writes is fine.

    A row counts once its newline is on the disk: a last line without one was torn by a kill and is left out.
    Any other line that is no row, steps that do not rise, and a file too large to hold in memory raise
    LrkitError with file and line.
    """
    path = Path(path)
    columns = _Columns()
    try:
        with path.open("rb") as file:
            for number, _, row in rows_in(file, path):
                columns.add(row)
                if columns.size > _MOST_NUMBERS:
                    raise LrkitError(
                        f"{path}, line {number}: the record is too large to read at once "
                        f"(more than {_MOST_NUMBERS} numbers); split the file"
                    )
    except FileNotFoundError:
        raise LrkitError(f"no record at {str(path)!r}; a run writes record.jsonl into its folder") from None
    except OSError as error:
        raise LrkitError(f"cannot read the record {str(path)!r}: {error.strerror or error}") from error
    return columns.record()


def rows_in(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, Row]]:
    """Of each whole row of `file`: its line number (from 1), where its line ends (bytes), and the row.

    Raises LrkitError as `read_record` does; `path` only names the file there.
    """
    number, end, last = 0, 0, -1
    while line := file.readline(LONGEST_ROW + 1):
        number += 1
        end += len(line)
        try:
            if len(line) > LONGEST_ROW:
                raise LrkitError(f"it is longer than {LONGEST_ROW} bytes")
            if not line.endswith(b"\n"):
                return
            row = decode_row(line)
            if row.step <= last:
                raise LrkitError(f"step {row.step} comes after step {last}: two runs wrote here")
        except LrkitError as fact:
            raise LrkitError(
                f"{path}, line {number}: not a row of a record: {fact}; "
                "delete the lines from there on, or let the run write a new file"
            ) from None
        last = row.step
        yield number, end, row


class _Columns:
    """Columns while they grow, in machine numbers: Python floats in a list would take four times the
    memory."""

    def __init__(self) -> None:
        self._steps = array("q")
        self._losses, self._grad_norms, self._seconds = array("d"), array("d"), array("d")
        self._lrs, self._widths = array("d"), array("q")
        self._widest = 0
        self._measured = 0
        self._metrics: dict[str, tuple[array[int], array[float]]] = {}

    @property
    def size(self) -> int:
        """How many numbers the record will hold; the table of lrs is as wide everywhere as its widest row.

        A metric's name and its two columns weigh as much as a hundred numbers.
        """
        return len(self._steps) * (4 + self._widest) + 2 * self._measured + 100 * len(self._metrics)

    def add(self, row: Row) -> None:
        self._steps.append(row.step)
        self._losses.append(row.loss)
        self._grad_norms.append(np.nan if row.grad_norm is None else row.grad_norm)
        self._seconds.append(row.seconds)
        self._lrs.extend(row.lr)
        self._widths.append(len(row.lr))
        self._widest = max(self._widest, len(row.lr))
        self._measured += len(row.metrics)
        for name, value in row.metrics.items():
            steps, values = self._metrics.setdefault(name, (array("q"), array("d")))
            steps.append(row.step)
            values.append(value)

    def record(self) -> Record:
        lrs = np.full((len(self._steps), self._widest), np.nan)
        present = np.arange(self._widest) < np.array(self._widths, np.int64)[:, None]
        lrs[present] = np.array(self._lrs, np.float64)
        lrs.flags.writeable = False
        return Record(
            steps=_integers(self._steps),
            losses=_floats(self._losses),
            lrs=lrs,
            grad_norms=_floats(self._grad_norms),
            seconds=_floats(self._seconds),
            metrics={name: (_integers(s), _floats(v)) for name, (s, v) in self._metrics.items()},
        )


def _integers(values: array[int]) -> Integers:
    column = np.array(values, np.int64)
    column.flags.writeable = False
    return column


def _floats(values: array[float]) -> Floats:
    column = np.array(values, np.float64)
    column.flags.writeable = False
    return column
