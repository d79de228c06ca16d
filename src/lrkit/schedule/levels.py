"""Levels (factors, or absolute rates) and the door through which every argument of a shape passes.

Raises SpecError for what is no level, number, count or choice; what comes out is a plain float, int or str.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import cast

from lrkit.duration import Duration, brief, whole_number
from lrkit.errors import SpecError, did_you_mean
from lrkit.schedule.printing import number_text

__all__ = [
    "Absolute",
    "Level",
    "absolute",
    "as_choice",
    "as_count",
    "as_duration",
    "as_level",
    "as_number",
    "as_optional_duration",
    "as_optional_level",
    "as_required_duration",
    "as_sequence",
    "factor_of",
]


@dataclass(frozen=True, slots=True)
class Absolute:
    """A level given as the rate itself. Made by `absolute()`."""

    value: float

    def __str__(self) -> str:
        return f"absolute({number_text(self.value)})"

    __repr__ = __str__


Level = float | Absolute


def absolute(value: float) -> Absolute:
    """A level that is a learning rate (or a momentum, ...) rather than a factor of the base lr.

    It becomes the factor `value / base_lr` when the schedule meets a base lr: in `over(horizon, base_lr=...)`
    or, for each parameter group on its own, in a Scheduler. There a missing base lr, a base lr of 0 and a
    floor above the base lr are SpecErrors.

    >>> from lrkit.schedule import cosine
    >>> cosine(to=absolute(1e-4)).over(100, base_lr=1e-2)(100)
    0.01
    """
    return Absolute(as_number(value, "absolute()"))


def as_number(
    value: object, what: str, *, least: float = 0.0, above: float | None = None, most: float = math.inf
) -> float:
    """A finite float from `least` to `most`, or above `above`. `what` names the argument in the error."""
    number = _float(value)
    if math.isfinite(number) and (number >= least if above is None else number > above) and number <= most:
        return number
    lowest = "" if least == -math.inf else f" from {number_text(least)}"
    lowest = lowest if above is None else f" above {number_text(above)}"
    highest = "" if most == math.inf else f", at most {number_text(most)}"
    raise SpecError(f"{what} takes a finite number{lowest}{highest}, not {brief(value)}")


def as_count(value: object, what: str) -> int:
    """A whole number from 1 on."""
    count = whole_number(value)
    if count is not None and count >= 1:
        return count
    raise SpecError(f"{what} takes a whole number from 1 on, not {brief(value)}")


def as_choice(value: object, what: str, choices: Sequence[str]) -> str:
    """One of a few words."""
    if isinstance(value, str) and value in choices:
        return value
    raise SpecError(f"{what} cannot be {brief(value)}{did_you_mean(str(value), choices)}")


def as_level(value: object, what: str) -> Level:
    """A factor (finite, at least 0) or an `absolute(...)`."""
    return value if isinstance(value, Absolute) else as_number(value, what)


def as_optional_level(value: object, what: str) -> Level | None:
    """A level, or None for "from where the phase before it ended"."""
    return None if value is None else as_level(value, what)


def as_duration(value: object, what: str) -> Duration:
    """A duration above 0."""
    duration = as_optional_duration(value, what)
    if duration is None or not duration.amount:
        raise SpecError(f"{what} takes a duration above 0, not {brief(value)}")
    return duration


def as_required_duration(value: object, what: str) -> Duration:
    """A duration, which may be 0."""
    duration = as_optional_duration(value, what)
    if duration is None:
        raise SpecError(f"{what} takes a duration, not None")
    return duration


def as_optional_duration(value: object, what: str) -> Duration | None:
    """A duration, or None for "what is left"."""
    if value is None or isinstance(value, Duration):
        return value
    try:
        return Duration.of(cast("str", value))  # which says itself what it does not take
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


def as_sequence(value: object) -> tuple[object, ...] | None:
    """The items of a list, or None for anything else (text, too, although it has items)."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else None


def factor_of(level: Level, base_lr: float | None, *, floor: bool = True) -> float:
    """The factor that a level stands for. A `floor` (anything but a cap) may not lie above the base lr."""
    if not isinstance(level, Absolute):
        return level
    if base_lr is None:
        raise SpecError(f"{level} needs a base lr: use over(horizon, base_lr=...), a Scheduler, or --base-lr")
    if base_lr == 0:
        raise SpecError(f"{level} is no factor of the base lr 0: no multiple of 0 gives it")
    if floor and level.value > base_lr:
        raise SpecError(
            f"{level} lies above the base lr {number_text(base_lr)}: lower it, or raise the base lr"
        )
    factor = level.value / base_lr
    if not math.isfinite(factor):
        raise SpecError(f"{level} is no finite factor of the base lr {number_text(base_lr)}")
    return factor


def _float(value: object) -> float:
    """A number as a float, NaN if it is none. Adding 0.0 makes 0.0 of -0.0: equal values print alike."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value) + 0.0
    except OverflowError:
        return math.inf
