"""Shapes that are listed, not drawn: staircases of equal steps, milestones at chosen ones, tables of values.

In the formulas i is the step of the phase and v its start value, as in `shapes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any, ClassVar, Literal, cast

import numpy as np

from lrkit.duration import Duration, half_up
from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import (
    Level,
    as_choice,
    as_duration,
    as_number,
    as_optional_duration,
    as_optional_level,
    as_required_duration,
    as_sequence,
)
from lrkit.schedule.numeric import Array, Numeric, Steps
from lrkit.schedule.periods import stairs
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Motion

__all__ = ["milestones", "staircase", "table"]

Interpolation = Literal["stair", "linear"]

_ONE_STEP = Duration.of(1)
_FAR = 2**62  # later than any step, and still an int64


def staircase(
    every: Length, *, factor: float, duration: Length | None = None, start: Level | None = None
) -> Schedule:
    """Multiply by `factor` again and again: v factor^(i // e), e = `every` rounded half up to whole steps.

    Source: He et al., arXiv:1512.03385, who divided by 10.

    >>> staircase(2, factor=0.5).over(6).chunk(0, 6).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return Staircase(
        as_duration(every, "staircase()"),
        factor=as_number(factor, "staircase(factor=)"),
        duration=as_optional_duration(duration, "staircase(duration=)"),
        start=as_optional_level(start, "staircase(start=)"),
    )


def milestones(
    at: Sequence[Length],
    *,
    factor: float | Sequence[float],
    duration: Length | None = None,
    start: Level | None = None,
) -> Schedule:
    """Multiply by `factor` at each of the durations `at`, counted from the start of the phase.

    Step i has v times the factors of all milestones at or before i; one that is listed twice counts twice.
    A list of factors gives each milestone its own. Milestones are rounded half up to whole steps.
    Source: He et al., arXiv:1512.03385.

    >>> milestones([2, 4], factor=0.1).over(5).chunk(0, 5).round(12).tolist()
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    marks = as_sequence(at)
    if not marks:
        raise SpecError("milestones() takes a list of durations, such as [30%, 60%, 90%]")
    factors = as_sequence(factor)
    if factors is not None and len(factors) != len(marks):
        raise SpecError(f"milestones() has {len(marks)} durations and {len(factors)} factors: give one each")
    what = "milestones(factor=)"
    return Milestones(
        tuple(as_required_duration(mark, "milestones()") for mark in marks),
        factor=as_number(factor, what) if factors is None else tuple(as_number(f, what) for f in factors),
        duration=as_optional_duration(duration, "milestones(duration=)"),
        start=as_optional_level(start, "milestones(start=)"),
    )


def table(
    values: Sequence[float],
    *,
    every: Length = 1,
    interpolation: Interpolation = "stair",
    duration: Length | None = None,
) -> Schedule:
    """The factors themselves, one for each `every` of the phase, and the last one for ever after.

    Value k holds from k * `every` on (rounded half up to a whole step) until the next one takes over, or with
    interpolation="linear" is reached there, by straight lines. Takes a list of finite numbers from 0 on, or an
    array with `tolist()`; which level the phase before reached does not matter. For what no formula says: a
    measured schedule, a column of a CSV file, a noise that must be the same in every run.

    >>> table([1, 0.5, 0.25], every=2).over(6).chunk(0, 6).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    >>> table([1, 0.5, 0.25], every=2, interpolation="linear").over(6).chunk(0, 6).tolist()
    [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    """
    listed: Any = values  # any array library, hence `Any`
    items = as_sequence(listed.tolist() if hasattr(listed, "tolist") else listed)
    if not items:
        raise SpecError("table() takes a list of factors, such as [1, 0.5, 0.1]")
    return Table(
        tuple(as_number(item, f"value {k} of table()") for k, item in enumerate(items)),
        every=as_duration(every, "table(every=)"),
        interpolation=cast(
            "Interpolation", as_choice(interpolation, "table(interpolation=)", ("stair", "linear"))
        ),
        duration=as_optional_duration(duration, "table(duration=)"),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Staircase(Phase):
    name: ClassVar[str] = "staircase"
    every: Duration
    _: KW_ONLY
    factor: float
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, g, e = block.origin(self.start), self.factor, block.period(self.every, "staircase")
        return Motion.running(stairs(lambda m, k: v * g ** m.clip(m.real(k), 0.0, None), e), block.steps)


@dataclass(frozen=True, slots=True, repr=False)
class Milestones(Phase):
    name: ClassVar[str] = "milestones"
    at: tuple[Duration, ...]
    _: KW_ONLY
    factor: float | tuple[float, ...]
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v = block.origin(self.start)
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,) * len(self.at)
        marks = sorted(zip((half_up(block.exactly(mark)) for mark in self.at), factors, strict=True))
        edges = np.array([mark for mark, _ in marks], dtype=np.int64)
        idle = sum(mark > block.steps for mark, _ in marks)
        if idle:
            block.notes.append(f"{idle} of the milestones of {self} lie after its {block.steps} steps")
        values = np.array(list(accumulate((f for _, f in marks), float.__mul__, initial=v)))
        return Motion.running(lambda m, i: m.lookup(i, edges, values), block.steps)


@dataclass(frozen=True, slots=True, repr=False)
class Table(Phase):
    name: ClassVar[str] = "table"
    values: tuple[float, ...]
    _: KW_ONLY
    every: Duration = _ONE_STEP
    interpolation: Interpolation = "stair"
    duration: Duration | None = None

    def _bind(self, block: Block) -> Motion:
        every, values = block.exactly(self.every) or Fraction(1), np.array(self.values)
        if self.interpolation == "stair":
            stairs = _marks(every, len(values), half_up)
            return Motion.running(lambda m, i: m.lookup(i, stairs, values), block.steps)
        edges = _marks(every, len(values), math.ceil)
        knots = np.array([float(k * every) for k in range(len(values))])
        rises = np.append(np.diff(values), 0.0)

        def formula(m: Numeric, i: Array) -> Array:
            share = (m.real(i) - m.lookup(i, edges, knots)) / float(every)
            return m.lookup(i, edges, values) + m.lookup(i, edges, rises) * share

        return Motion.running(formula, block.steps)


def _marks(every: Fraction, count: int, whole: Callable[[Fraction], int]) -> Steps:
    """The whole steps on which the values but the first of a table begin."""
    return np.array([min(whole(k * every), _FAR) for k in range(1, count)], dtype=np.int64)
