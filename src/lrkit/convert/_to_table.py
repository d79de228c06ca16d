"""Tables of rates: a schedule written out as numbers or as a CSV file, and such numbers read as a schedule."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from lrkit.convert.pieces import sequence
from lrkit.convert.resolving import resolve
from lrkit.duration import Horizon, brief, whole_number
from lrkit.errors import SpecError, did_you_mean
from lrkit.files import atomic_write
from lrkit.schedule import Schedule, hold, linear, table
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["from_table", "read_table", "to_table", "write_table"]

Interpolation = Literal["stair", "linear"]

_MOST_ROWS = 1_000_000


def to_table(
    schedule: Schedule | str, horizon: Horizon | int, *, base_lr: float = 1.0
) -> npt.NDArray[np.float64]:
    """The rates base_lr * factor of all updates, one after the other, as float64; with base lr 1 the factors.

    >>> to_table("linear(to=0)", 4, base_lr=0.1).round(12).tolist()
    [0.1, 0.075, 0.05, 0.025]
    """
    curve, base = resolve(schedule, horizon, base_lr)
    rates: npt.NDArray[np.float64] = base * curve.chunk(0, curve.steps)
    return rates


def write_table(
    path: str | os.PathLike[str], schedule: Schedule | str, horizon: Horizon | int, *, base_lr: float = 1.0
) -> None:
    """The same as a CSV file with the columns `step` and `lr`; every digit that a float has is there."""
    rows = (
        f"{step},{rate!r}\n"
        for step, rate in enumerate(to_table(schedule, horizon, base_lr=base_lr).tolist())
    )
    atomic_write(path, "step,lr\n" + "".join(rows))


def from_table(
    values: Any,  # a list, or an array of any library
    *,
    every: int = 1,
    interpolation: Interpolation = "stair",
    base_lr: float = 1.0,
) -> Schedule:
    """The schedule that goes through given rates: one for each `every` steps, or pairs of a step and its rate.

    Between them a rate stays ("stair") or goes on in a straight line ("linear"); the last one stays for ever. The
    first belongs to step 0. Rates are divided by `base_lr`, 1 unless given: then they are the factors.

    Raises SpecError for what is no such table, saying which row.

    >>> str(from_table([[0, 1.0], [10, 0.5], [15, 0.1]]))
    'hold(10, level=1) >> hold(5, level=0.5) >> hold(level=0.1)'
    """
    rows = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes) or not rows:
        raise SpecError(f"a table is a list of rates, or of pairs of a step and a rate, not {brief(values)}")
    if not isinstance(rows[0], Sequence):
        factors = [_factor(rate, base_lr, k) for k, rate in enumerate(rows)]
        return table(factors, every=every, interpolation=interpolation)
    for k, row in enumerate(rows):
        if not isinstance(row, Sequence) or len(row) != 2:
            raise SpecError(f"row {k} of the table is no pair of a step and a rate: {brief(row)}")
    steps = [_step(step, k) for k, (step, _) in enumerate(rows)]
    return _through(steps, [_factor(rate, base_lr, k) for k, (_, rate) in enumerate(rows)], interpolation)


def read_table(
    path: str | os.PathLike[str],
    *,
    column: str | None = None,
    interpolation: Interpolation = "stair",
    base_lr: float = 1.0,
) -> Schedule:
    """The schedule that goes through the rates of a CSV file: see `from_table`.

    With a first line of names, the column "step" says where each rate belongs (without it, to steps 0, 1, 2, ...),
    and `column` which of the others holds the rates, if there are several. Without names, a file has one column of
    rates, or two: steps and rates. Raises SpecError that names the file and the line.
    """
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in islice(csv.reader(lines), _MOST_ROWS + 2) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"cannot read the table {file}: {error}") from error
    if len(rows) > _MOST_ROWS + 1:
        raise SpecError(f"{file} has more than {_MOST_ROWS} rows: keep every tenth, with their steps")
    try:
        return from_table(_columns(rows, column), interpolation=interpolation, base_lr=base_lr)
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None


def _columns(rows: list[list[str]], column: str | None) -> list[Any]:
    if not rows:
        raise SpecError("it is empty")
    if all(_is_number(cell) for cell in rows[0]):
        if column is not None:
            raise SpecError(f"its columns have no names, so there is no column {column!r}")
        if len(rows[0]) > 2:
            raise SpecError(
                f"it has {len(rows[0])} columns without names: keep the rates, or steps and rates"
            )
        names = [["rate"], ["step", "rate"]][len(rows[0]) - 1]
        first = 0
    else:
        names, first = [name.strip() for name in rows[0]], 1
    rates = [name for name in names if name != "step"]
    if column is None and len(rates) != 1:
        raise SpecError(f"it has the columns {', '.join(names)}: say column= for the one with the rates")
    chosen = rates[0] if column is None else column
    if chosen not in names:
        raise SpecError(f"it has no column {chosen!r}{did_you_mean(chosen, names)}")
    wanted = [names.index("step"), names.index(chosen)] if "step" in names else [names.index(chosen)]
    cells = [_cells(row, wanted, names, line) for line, row in enumerate(rows[first:], start=first + 1)]
    return cells if len(wanted) == 2 else [rate for (rate,) in cells]


def _cells(row: list[str], wanted: list[int], names: list[str], line: int) -> list[float]:
    if len(row) != len(names):
        raise SpecError(f"line {line} has {len(row)} columns, not {len(names)}")
    for place in wanted:
        if not _is_number(row[place]):
            raise SpecError(f"line {line}: {brief(row[place])} in the column {names[place]} is no number")
    return [float(row[place]) for place in wanted]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _factor(rate: object, base_lr: float, row: int) -> float:
    return as_number(rate, f"row {row} of the table") / as_number(base_lr, "base_lr", above=0.0)


def _step(value: object, row: int) -> int:
    step = whole_number(value)
    if step is None or step < 0:
        raise SpecError(f"row {row} of the table: a step is a whole number from 0, not {brief(value)}")
    return step


def _through(steps: list[int], factors: list[float], interpolation: Interpolation) -> Schedule:
    """Even steps are a table, uneven ones a phase from each to the next."""
    kind = cast("Interpolation", as_choice(interpolation, "interpolation", ("stair", "linear")))
    if steps[0] != 0:
        raise SpecError(f"the table begins at step {steps[0]}: say what comes before, from step 0 on")
    lengths = [end - begin for begin, end in pairwise(steps)]
    for row, length in enumerate(lengths):
        if length <= 0:
            raise SpecError(f"row {row + 1} of the table goes back to step {steps[row + 1]}: steps only rise")
    if len(set(lengths)) <= 1:
        return table(factors, every=lengths[0] if lengths else 1, interpolation=kind)
    if kind == "stair":
        phases = [hold(n, level=factor) for n, factor in zip(lengths, factors, strict=False)]
        return sequence(*phases, hold(level=factors[-1]))
    first = linear(lengths[0], start=factors[0], to=factors[1])
    lines = [first, *(linear(n, to=end) for n, end in zip(lengths[1:], factors[2:], strict=True))]
    return sequence(*lines, hold())
