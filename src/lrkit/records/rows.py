"""One row of a record, to and from one line of JSON. Knows nothing of files, buffers or columns.

A row is an object with `step`, `loss`, `lr` (a list, one number per parameter group), `grad_norm` (a number
or null), `seconds`, and one key more for each metric that was measured at that step. JSON has no word for a
number that is not finite: those are the strings "nan", "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrkit.errors import LrkitError

__all__ = ["LONGEST_ROW", "Row", "decode_row", "encode_row"]

LONGEST_ROW = 1 << 20
"""Bytes in the longest line that is read or written: room for some 50,000 parameter groups."""

_FIXED = ("step", "loss", "lr", "grad_norm", "seconds")
_LARGEST_STEP = 2**63 - 1
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was logged for one update. `grad_norm` is None where it was not measured; `seconds`: wall time."""

    step: int
    loss: float
    lr: Sequence[float]
    grad_norm: float | None
    seconds: float
    metrics: Mapping[str, float]


def encode_row(row: Row) -> bytes:
    """The row as one line of UTF-8 with its newline. Floats keep every bit.

    Raises LrkitError when the line would be too long to be read again.
    """
    fields = {
        "step": row.step,
        "loss": _written(row.loss),
        "lr": [_written(lr) for lr in row.lr],
        "grad_norm": None if row.grad_norm is None else _written(row.grad_norm),
        "seconds": _written(row.seconds),
    } | {name: _written(value) for name, value in row.metrics.items()}
    line = json.dumps(fields, allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST_ROW:
        raise LrkitError(
            f"the row of step {row.step} has {len(line)} bytes, a record's rows have at most {LONGEST_ROW}; "
            f"log fewer metrics ({len(row.metrics)} here)"
        )
    return line


def decode_row(line: bytes) -> Row:
    """The row that `encode_row` wrote. Raises LrkitError with the fact alone: file and line are the
    caller.s."""
    try:
        fields = json.loads(line.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise LrkitError("it is not UTF-8 text") from None
    except RecursionError:
        raise LrkitError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise LrkitError(f"it is not JSON ({error.msg}, column {error.colno})") from None
    except ValueError:  # Python refuses integers of thousands of digits
        raise LrkitError("it holds a number with too many digits") from None
    if not isinstance(fields, dict):
        raise LrkitError("it is not a JSON object")
    missing = [name for name in _FIXED if name not in fields]
    if missing:
        raise LrkitError(f"{missing[0]!r} is missing")
    step, lr, grad_norm = fields["step"], fields["lr"], fields["grad_norm"]
    if type(step) is not int or not 0 <= step <= _LARGEST_STEP:
        raise LrkitError(f"'step' is {_shown(step)}, not a whole number from 0")
    if not isinstance(lr, list):
        raise LrkitError(f"'lr' is {_shown(lr)}, not a list of numbers, one per parameter group")
    return Row(
        step=step,
        loss=_read("loss", fields["loss"]),
        lr=tuple(_read("lr", value) for value in lr),
        grad_norm=None if grad_norm is None else _read("grad_norm", grad_norm),
        seconds=_read("seconds", fields["seconds"]),
        metrics={name: _read(name, value) for name, value in fields.items() if name not in _FIXED},
    )


def _written(value: float) -> float | str:
    # float(...) first: numpy scalars are floats whose repr json would not take, and 0-d tensors are no floats
    # at all.
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _read(name: str, value: object) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise LrkitError(f'{name!r} is {_shown(value)}, not a finite number, "nan", "inf" or "-inf"')


def _refuse_constant(word: str) -> float:
    raise LrkitError(f"{word} is not JSON: a number that is not finite is written as a string in quotes")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
