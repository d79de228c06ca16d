"""The door of a controller's arguments, and how they are written: as spec text, and as Python. One error for all."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import fields
from numbers import Real
from typing import Any, cast

from lrkit.duration import Duration, brief, whole_number
from lrkit.errors import SpecError, did_you_mean

__all__ = ["as_choice", "as_count", "as_length", "as_name", "as_number", "as_rates", "call_text"]

_WORD = re.compile(r"(?!(?:true|false|none)\Z)[A-Za-z_]\w*", re.ASCII | re.IGNORECASE)


def as_number(what: str, value: object, *, above: float | None = None, below: float = math.inf) -> float:
    """A finite float from 0, or above `above`, to below `below`."""
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value) + 0.0  # of -0.0 and 0.0, which are equal, one text
    if math.isfinite(number) and (number >= 0 if above is None else number > above) and number < below:
        return number
    lowest = "from 0" if above is None else f"above {above:g}"
    highest = "" if below == math.inf else f" and below {below:g}"
    raise SpecError(f"{what} takes a finite number {lowest}{highest}, not {brief(value)}")


def as_count(what: str, value: object) -> int:
    """A whole number from 0 on."""
    count = whole_number(value)
    if count is None or count < 0:
        raise SpecError(f"{what} takes a whole number from 0 on, not {brief(value)}")
    return count


def as_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """One of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise SpecError(f"{what} cannot be {brief(value)}{did_you_mean(str(value), choices)}")


def as_length(what: str, value: object) -> Duration:
    """A duration, which may be 0."""
    try:
        return Duration.of(cast("str", value))  # it says itself what it does not take
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


def as_rates(what: str, value: object) -> float | tuple[float, ...]:
    """An lr from 0 on, or one for each group."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return as_number(what, value)
    if not value:
        raise SpecError(f"{what} is an empty list: give an lr, or one for each group")
    return tuple(as_number(what, item) for item in value)


def as_name(what: str, value: object) -> str:
    """A text of one line that a spec can quote."""
    if not isinstance(value, str) or not value or re.search(r"[\\\n]", value) or {"'", '"'} <= set(value):
        raise SpecError(f"{what} takes a name of one line, not {brief(value)}")
    return value


def call_text(name: str, value: object, *, python: bool) -> str:
    """`name(...)` with the fields of the dataclass `value` that are not as in `type(value)()`."""
    default = type(value)()
    given = (
        f"{f.name}={_text(getattr(value, f.name), python=python)}"
        for f in fields(cast("Any", value))  # Any: only dataclasses come here
        if getattr(value, f.name) != getattr(default, f.name)
    )
    return f"{name}({', '.join(given)})"


def _text(value: object, *, python: bool) -> str:
    match value:
        case Duration():
            return repr(str(value)) if python and value.unit != "steps" else str(value)
        case float():
            return repr(value).removesuffix(".0")
        case str():
            bare = not python and _WORD.fullmatch(value)
            return value if bare else f'"{value}"' if "'" in value else f"'{value}'"
        case tuple():
            return f"[{', '.join(_text(item, python=python) for item in value)}]"
        case _:
            return str(value)
