"""From objectives to the units of the fit, and back.

Positive objectives that are minimised are taken by their logarithm, others as they are (turned round when the
most is best). What counts is the excess over the best of the same length and seed, in units of the typical
excess half a decade from the best rate: so a language model whose loss moves by 1 % and a classifier whose loss doubles
are one and the same problem. Beyond `LINEAR` units the excess is compressed: the fit needs to know that there
is a cliff, not how deep it goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrkit.search.curve_fit import Point
from lrkit.search.trials import Direction, Result

__all__ = ["Scale", "merit"]

LINEAR = 3.0
NEAR = (0.3, 0.9)
"""Decades from the best rate in which the typical excess is taken."""
DIVERGED_EXCESS = 8.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How the objectives of one search become the y of its fit; `unit` is 0 where nothing differs.

    `best` holds, for each length in updates and seed, the lowest merit measured there: another seed may hold
    out easier samples, which is no merit of its rates. `level` is that of full trials of the first seed, or of
    the longest ones.
    """

    logarithmic: bool
    direction: Direction
    steps: int
    unit: float
    best: tuple[tuple[tuple[int, int], float], ...]
    level: float

    @classmethod
    def of(cls, results: Sequence[Result], *, steps: int, direction: Direction) -> Scale:
        """The scale for these results, of which at least one is finite."""
        finite = [result for result in results if not result.diverged]
        logarithmic = direction == "min" and all(result.objective > 0 for result in finite)
        values = [(r, merit(r, direction, logarithmic=logarithmic)) for r in finite]
        kinds = sorted({(r.steps, r.seed) for r in finite})
        best = {kind: min(value for r, value in values if (r.steps, r.seed) == kind) for kind in kinds}
        first = min((seed for _, seed in kinds), default=0)
        own = [(r, value - best[r.steps, r.seed]) for r, value in values if r.seed == first]
        level = best[max(kind for kind in kinds if kind[1] == first)] if kinds else 0.0
        return cls(logarithmic, direction, steps, _typical_excess(own), tuple(best.items()), level)

    def points(self, results: Sequence[Result]) -> list[Point]:
        """The results as points of the fit; a diverged one stands on the cliff."""
        points = [self._point(result) for result in results if not result.diverged]
        # Where a trial burst says nothing of its length: it stands for a coarse one that ended badly.
        shortness = max(point.shortness for point in points)
        cliff = max(_compress(DIVERGED_EXCESS), *(point.y for point in points))
        burst = [Point(math.log10(r.lr), shortness, r.seed, cliff) for r in results if r.diverged]
        return points + burst

    def objective(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objectives at full length that fitted values `y` stand for."""
        excess = np.where(y <= LINEAR, y, LINEAR + np.expm1(np.minimum(np.maximum(y - LINEAR, 0.0), 50.0)))
        value = self.level + excess * self.unit
        if self.logarithmic:
            return np.exp(np.minimum(value, 700.0))
        return value if self.direction == "min" else -value

    def _point(self, result: Result) -> Point:
        value = merit(result, self.direction, logarithmic=self.logarithmic)
        excess = (value - dict(self.best)[result.steps, result.seed]) / self.unit if self.unit else 0.0
        return Point(
            math.log10(result.lr), math.log(self.steps / result.steps), result.seed, _compress(excess)
        )


def merit(result: Result, direction: Direction, *, logarithmic: bool) -> float:
    """What is to be as low as possible: the objective, its logarithm or its negative; inf if diverged."""
    if result.diverged:
        return math.inf
    if logarithmic:
        return math.log(result.objective)
    return result.objective if direction == "min" else -result.objective


def _typical_excess(excesses: Sequence[tuple[Result, float]]) -> float:
    tops = {r.steps: math.log10(r.lr) for r, excess in excesses if excess == 0.0}
    near = [
        excess
        for r, excess in excesses
        if NEAR[0] <= abs(math.log10(r.lr) - tops[r.steps]) <= NEAR[1] and excess > 0
    ]
    return float(np.median(near or [excess for _, excess in excesses if excess > 0] or [0.0]))


def _compress(excess: float) -> float:
    return excess if excess <= LINEAR else LINEAR + math.log1p(excess - LINEAR)
