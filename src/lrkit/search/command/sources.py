"""Where a command's metric is read from: JSON lines, lines that match a pattern, a CSV, TensorBoard's event files.

A source is a value; its `reader` follows one trial while it runs. What the metric decides is not here.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lrkit.errors import SpecError, TaskError, did_you_mean
from lrkit.search.command.event_files import EventFile
from lrkit.search.command.reports import Report
from lrkit.search.command.tail import Tail

__all__ = ["ERRORS", "OUTPUT", "CsvColumn", "JsonLines", "Pattern", "Reader", "Source", "TensorBoardTag"]

OUTPUT, ERRORS = "output.txt", "errors.txt"
"""What a trial writes to standard output and to standard error, in its folder."""
_LARGEST_TABLE = 1 << 26
"""Bytes of a CSV, which is read anew whenever it has changed."""


class Reader(Protocol):
    """Follows the metric of one trial."""

    def read(self, *, ended: bool) -> Sequence[Report]:
        """All reports so far, in order; `ended` once nothing more is written.

        Raises TaskError for a value that is no number, and for a file that is none of its kind.
        """

    def hint(self) -> str:
        """What was there instead, for a trial without a report; empty where nothing was."""


class Source(Protocol):
    """Where the metric of every trial is read from, as a value."""

    @property
    def name(self) -> str:
        """What the metric is called."""

    @property
    def in_folder(self) -> bool:
        """Whether it is read from files that the command itself writes into `{out}`."""

    def reader(self, folder: Path) -> Reader:
        """A reader of the trial whose folder this is."""


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Lines of the output that are JSON objects with the key `key`: `{"epoch": 3, "loss": 0.52}`.

    Read from standard output and standard error; `epoch` and `step` say how far the training is.
    """

    key: str = "loss"
    in_folder = False

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    def __str__(self) -> str:
        return f"JSON lines with the key {self.key!r}"

    def reader(self, folder: Path) -> Reader:
        """Of the two output files in `folder`."""
        return _JsonReader(self, _tails(folder))


@dataclass(frozen=True, slots=True)
class Pattern:
    """Lines of the output that a regular expression (Python's) matches somewhere.

    The group called `value`, else its only group, else all that it matches is the metric; groups called `epoch` and
    `step` say how far the training is. Raises SpecError for an expression that is none, or has groups without a name
    to choose between.
    """

    expression: str
    compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)
    in_folder = False

    def __post_init__(self) -> None:
        try:
            compiled = re.compile(self.expression)
        except re.error as error:
            raise SpecError(f"{self.expression!r} is no regular expression: {error}") from error
        unnamed = compiled.groups - len(compiled.groupindex)
        if "value" not in compiled.groupindex and unnamed > 1:
            raise SpecError(
                f"{self.expression!r} has {unnamed} groups: write the one of the metric as (?P<value>...)"
            )
        object.__setattr__(self, "compiled", compiled)

    @property
    def name(self) -> str:
        """The word before the number, where the expression has one: `val_loss=([0-9.]+)` is `val_loss`."""
        text = re.sub(r"\\.", " ", self.expression)
        before = re.findall(r"([A-Za-z_][\w/.-]*)[\s:=]*\((?!\?P<(?:epoch|step)>)", text)
        words: list[str] = before or re.findall(r"[A-Za-z_][\w/.-]*", text)
        return words[-1] if words else "metric"

    def __str__(self) -> str:
        return f"lines that match {self.expression!r}"

    def reader(self, folder: Path) -> Reader:
        """Of the two output files in `folder`."""
        return _PatternReader(self.compiled, _tails(folder))


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """A column of a CSV file with a head line, which the command writes into its folder `{out}`.

    Columns `epoch` and `step`, where they are there, say how far the training is; empty cells are no reports.
    `file` is relative to the folder. Raises SpecError for a path that leads out of it.
    """

    file: str
    column: str
    in_folder = True

    def __post_init__(self) -> None:
        path = Path(self.file)
        if not self.file or not self.column or path.is_absolute() or ".." in path.parts:
            raise SpecError(
                f"{self.file}:{self.column} is no FILE:COLUMN of a CSV in the trial's folder, such as `log.csv:loss`"
            )

    @classmethod
    def parse(cls, text: str) -> CsvColumn:
        """From `FILE:COLUMN`."""
        file, _, column = text.rpartition(":")
        return cls(file, column)

    @property
    def name(self) -> str:
        """The column."""
        return self.column

    def __str__(self) -> str:
        return f"column {self.column!r} of {self.file}"

    def reader(self, folder: Path) -> Reader:
        """Of the file in `folder`."""
        return _CsvReader(folder / self.file, self.column)


@dataclass(frozen=True, slots=True)
class TensorBoardTag:
    """A scalar in the TensorBoard event files that the command writes anywhere into its folder `{out}`.

    The step of each value counts as the script's step; epochs are counted by the values.
    """

    tag: str
    in_folder = True

    @property
    def name(self) -> str:
        """The tag."""
        return self.tag

    def __str__(self) -> str:
        return f"TensorBoard's {self.tag!r}"

    def reader(self, folder: Path) -> Reader:
        """Of all event files in `folder`."""
        return _TensorBoardReader(self.tag, folder)


@dataclass(slots=True)
class _JsonReader:
    source: JsonLines
    tails: Sequence[Tail]
    reports: list[Report] = field(default_factory=list)
    keys: dict[str, None] = field(default_factory=dict)

    def read(self, *, ended: bool) -> Sequence[Report]:
        for line in _lines(self.tails, ended=ended):
            row = _json_object(line)
            if row is not None and self.source.key in row:
                value = _number(row[self.source.key], f"{self.source.key!r} in the line {line:.100}")
                self.reports.append(Report(value, _place(row.get("epoch")), _place(row.get("step"))))
            elif row is not None and len(self.keys) < 100:
                self.keys |= dict.fromkeys(row)
        return self.reports

    def hint(self) -> str:
        if not self.keys:
            return ""
        return f"its JSON lines have no {self.source.key!r}{did_you_mean(self.source.key, self.keys)}"


@dataclass(slots=True)
class _PatternReader:
    compiled: re.Pattern[str]
    tails: Sequence[Tail]
    reports: list[Report] = field(default_factory=list)

    def read(self, *, ended: bool) -> Sequence[Report]:
        named = self.compiled.groupindex
        group: str | int = "value"
        if "value" not in named:
            group = next((i for i in range(1, self.compiled.groups + 1) if i not in named.values()), 0)
        for line in _lines(self.tails, ended=ended):
            for match in self.compiled.finditer(line):
                value = _number(match[group], f"what {self.compiled.pattern!r} finds in {line:.100}")
                places = [_place(match[name] if name in named else None) for name in ("epoch", "step")]
                self.reports.append(Report(value, *places))
        return self.reports

    def hint(self) -> str:
        return f"no line matches {self.compiled.pattern!r}"


@dataclass(slots=True)
class _CsvReader:
    path: Path
    column: str
    reports: list[Report] = field(default_factory=list)
    stamp: tuple[int, int] | None = None
    columns: Sequence[str] = ()

    def read(self, *, ended: bool) -> Sequence[Report]:
        try:
            status = self.path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if stamp == self.stamp and not ended:
                return self.reports
            if status.st_size > _LARGEST_TABLE:
                raise TaskError(f"{self.path} is larger than {_LARGEST_TABLE} bytes: no table of a metric")
            text = self.path.read_text(errors="replace")
        except FileNotFoundError:
            return self.reports
        self.stamp = stamp
        if not ended:
            text = text[: text.rfind("\n") + 1]
        try:
            rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
            self.reports = [report for row in rows for report in self._reports(row)]
        except csv.Error as error:
            raise TaskError(f"{self.path} is no CSV: {error}") from error
        self.columns = rows.fieldnames or ()
        return self.reports

    def hint(self) -> str:
        if not self.columns:
            return f"there is no table in {self.path}"
        if self.column in self.columns:
            return f"the column {self.column!r} of {self.path} is empty"
        return f"{self.path} has no column {self.column!r}{did_you_mean(self.column, self.columns)}"

    def _reports(self, row: dict[str, str | None]) -> list[Report]:
        cell = (row.get(self.column) or "").strip()
        if not cell:
            return []
        value = _number(cell, f"{self.column!r} in {self.path}")
        return [Report(value, _place(row.get("epoch")), _place(row.get("step")))]


@dataclass(slots=True)
class _TensorBoardReader:
    tag: str
    folder: Path
    files: dict[Path, EventFile] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    tags: dict[str, None] = field(default_factory=dict)

    def read(self, *, ended: bool) -> Sequence[Report]:
        del ended
        for path in sorted(self.folder.rglob("*tfevents*")):
            if path not in self.files:
                self.files[path] = EventFile(path)
            for scalar in self.files[path].scalars():
                if scalar.tag == self.tag:
                    self.reports.append(Report(scalar.value, step=scalar.step))
                elif len(self.tags) < 100:
                    self.tags[scalar.tag] = None
        return self.reports

    def hint(self) -> str:
        if not self.files:
            return f"there is no event file under {self.folder}"
        return f"its event files have no scalar {self.tag!r}{did_you_mean(self.tag, self.tags)}"


def _tails(folder: Path) -> tuple[Tail, ...]:
    return Tail(folder / OUTPUT), Tail(folder / ERRORS)


def _lines(tails: Sequence[Tail], *, ended: bool) -> list[str]:
    return [line for tail in tails for line in tail.lines(ended=ended)]


def _json_object(line: str) -> dict[str, object] | None:
    line = line.strip()
    if not line.startswith("{"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _number(value: object, where: str) -> float:
    """A number, or a text that is one, nan and inf included; null, which some write for nan, is nan."""
    if value is None:
        return math.nan
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    except OverflowError:
        return math.inf
    raise TaskError(f"the metric is no number: {where}")


def _place(value: object) -> float | None:
    """An epoch or a step, where it is a number; there are scripts that write `3/20`."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
