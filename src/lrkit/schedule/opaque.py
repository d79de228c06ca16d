"""A Python function as a schedule, for what no shape says. It has no text, so that no plan can hold it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lrkit.duration import Duration, brief
from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import as_optional_duration
from lrkit.schedule.numeric import Array, Numeric, on_host
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Motion

__all__ = ["from_function"]


def from_function(f: Callable[[int], float], duration: Length | None = None) -> Schedule:
    """The factors `f(0)`, `f(1)`, ...: `f` gets the step of the phase, and gives a finite number from 0.

    It takes no notice of the level on which the phase before ended, and the next phase starts at the last
    factor that it gave. Two such schedules are equal when they hold the very same function. `str` shows it in
    a form that does not parse. On a device it is a table, made at the first call, so there nothing continues
    past the phase's end.

    >>> from_function(lambda step: 0.5**step).over(3).chunk(0, 3).tolist()
    [1.0, 0.5, 0.25]
    """
    if not callable(f):
        raise SpecError(f"from_function() takes a function of the step, not {brief(f)}")
    return FromFunction(f, as_optional_duration(duration, "from_function()"))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class FromFunction(Phase):
    """A call of `from_function`."""

    name: ClassVar[str] = "from_function"
    _opaque: ClassVar[bool] = True

    f: Callable[[int], float]
    duration: Duration | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FromFunction):
            return NotImplemented
        return self.f is other.f and self.duration == other.duration

    def __hash__(self) -> int:
        return hash((id(self.f), self.duration))

    def _bind(self, block: Block) -> Motion:
        last = max(0, block.steps - 1)
        tables: list[npt.NDArray[np.float64]] = []

        def formula(m: Numeric, i: Array) -> Array:
            if on_host(m):
                return np.array([self._factor(k) for k in i.reshape(-1).tolist()]).reshape(i.shape)
            if not tables:
                tables.append(np.array([self._factor(k) for k in range(last + 1)]))
            return m.lookup(i, np.arange(1, last + 1, dtype=np.int64), tables[0])

        return Motion(formula, self._factor(last))

    def _factor(self, step: int) -> float:
        given = self.f(step)
        try:
            factor = float(given)
        except (TypeError, ValueError):
            factor = math.nan
        if not math.isfinite(factor) or factor < 0:
            raise SpecError(f"{self} gives {brief(given)} at step {step}: a factor is finite and at least 0")
        return factor

    def _written(self, *, python: bool) -> str:
        del python  # neither way leads back
        called = getattr(self.f, "__qualname__", type(self.f).__name__)
        return f"<{called}>" if self.duration is None else f"<{called} for {self.duration}>"
