"""Which rates a sweep goes through, and how the range grows when the answer lies at its end. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from lrkit.errors import SpecError
from lrkit.range_test.result import Spacing
from lrkit.range_test.smoothing import FloatArray

__all__ = ["LEAST_STEPS", "NARROWEST", "Grid"]

# Fewer points leave nothing between the quiet beginning that measures the noise and a kernel three points
# wide.
LEAST_STEPS = 20

_LOWERED_BY = 1e-3
# A sweep goes on by whole decades at its pace: nearer ends would make that thousands of updates. And rates of three
# digits, which is what a search tries, are hardly told apart between them.
NARROWEST = 1.2


@dataclass(frozen=True, slots=True)
class Grid:
    """`steps` rates from `low` to `high`, both included, even in log lr ("log") or in lr ("linear").

    Raises SpecError for rates that are not finite, positive, rising and apart, and for fewer than 20 steps.
    """

    low: float
    high: float
    steps: int
    spacing: Spacing = "log"

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, Real)
                or not math.isfinite(value)
                or value <= 0
            ):
                raise SpecError(f"{name}= must be a finite learning rate above 0, not {value!r}")
        if self.low >= self.high:
            wrong = (
                f"both are {self.low!r}" if self.low == self.high else f"{self.low!r} is above {self.high!r}"
            )
            raise SpecError(f"a sweep goes upwards, so low= must be below high=: {wrong}")
        if self.high < NARROWEST * self.low:
            raise SpecError(
                f"low={self.low!r} and high={self.high!r} leave nothing to sweep: the ends must lie a factor of "
                f"{NARROWEST} apart, and several decades tell more"
            )
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < LEAST_STEPS:
            raise SpecError(f"steps= must be a whole number of at least {LEAST_STEPS}, not {self.steps!r}")
        if self.spacing not in ("log", "linear"):
            raise SpecError(f"spacing= is 'log' or 'linear', not {self.spacing!r}")

    def rate(self, index: int) -> float:
        """The rate of update `index`; beyond `steps` the grid goes on at its pace."""
        part = index / (self.steps - 1)
        if self.spacing == "linear":
            return self.low + part * (self.high - self.low)
        return float(self.low * (self.high / self.low) ** part)

    def rates(self, count: int) -> FloatArray:
        """The first `count` rates."""
        return np.array([self.rate(index) for index in range(count)], dtype=np.float64)

    @property
    def points_per_decade(self) -> float:
        """How many points a decade holds; on a linear grid the fewest, at its low end: less than one."""
        return 1.0 / math.log10(self.rate(1) / self.rate(0))

    @property
    def extension(self) -> int:
        """By how many points a sweep grows at its high end: one decade, or the linear range once more."""
        return self.steps if self.spacing == "linear" else max(1, round(self.points_per_decade))

    def lowered(self) -> Grid:
        """The grid begun three decades lower, at the same pace; a linear one keeps its number of points."""
        low = self.low * _LOWERED_BY
        if self.spacing == "linear":
            return replace(self, low=low)
        return replace(self, low=low, steps=self.steps + round(3 * self.points_per_decade))

    def lengthened(self) -> Grid:
        """The same range in three times as many steps: what a noisy loss hides in one step shows in three."""
        return replace(self, steps=3 * self.steps)
