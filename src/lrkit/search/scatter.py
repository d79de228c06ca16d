"""How far luck moves one rate against another, told by the validation data themselves.

Two trainings of one seed are measured on the same samples. How their difference scatters between the parts of these
samples is what another choice of samples would do to it: a paired jackknife (Efron and Stein 1981), of a difference or
of a ratio's logarithm. What other weights and batches would do is not in it; docs/search.md has by how much it falls
short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from lrkit.search.curve_fit import centre_of, difference_noise
from lrkit.search.scale import Scale
from lrkit.search.trials import Result

__all__ = ["difference_error", "measured_noise"]

FEWEST_PARTS = 4
LEAST_NOISE = 0.2
"""In units of the fit, what other weights and batches do at the least (char-lm, of seven tasks): many samples, or such
as are all right, hardly scatter and say nothing of it.
"""
APART = (0.1, 1.0)
"""Decades between two rates that are compared: nearer ones differ in little, further ones in what is not noise."""
NEAR = 0.7
"""Decades from the best rate within which they lie: there it is that the noise counts."""


def difference_error(a: Result, b: Result, *, logarithmic: bool) -> float | None:
    """Standard error of the difference of two objectives, or of their logarithms, over the choice of samples.

    None where they were not measured on the same parts, or on too few.
    """
    count = len(a.parts)
    if count < FEWEST_PARTS or [share for share, _ in a.parts] != [share for share, _ in b.parts]:
        return None
    (shares, first), (_, second) = np.array(a.parts).T, np.array(b.parts).T
    moved = second / second.sum() - first / first.sum() if logarithmic else second - first
    return math.sqrt(count / (count - 1) * float(np.sum((moved - shares * moved.sum()) ** 2)))


def measured_noise(results: Sequence[Result], scale: Scale) -> float | None:
    """The noise of the fit, in its units, that these errors amount to (root mean square over pairs near the best rate).

    Told by the trainings to the end if two pairs of them can be compared, else by all; None where no pair can.
    """
    alive = [result for result in results if not result.diverged]
    if not alive or not scale.unit:
        return None
    points = scale.points(alive)
    centre = centre_of(points)
    near = [(r, p) for r, p in zip(alive, points, strict=True) if abs(p.x - centre) <= NEAR]
    found: list[tuple[bool, float, float]] = []
    for (a, p), (b, q) in combinations(near, 2):
        alike = (a.seed, a.steps, a.values) == (b.seed, b.steps, b.values)
        if not alike or not APART[0] <= abs(p.x - q.x) <= APART[1]:
            continue
        error = difference_error(a, b, logarithmic=scale.logarithmic)
        if error:  # 0 where the two are one and the same, which no luck shows in
            found.append((p.shortness == 0.0, error / scale.unit, difference_noise(p, q, centre=centre)))
    full = [pair for pair in found if pair[0]]
    chosen = full if len(full) > 1 else found
    if not chosen:
        return None
    ratio = sum(error**2 for _, error, _ in chosen) / sum(unit**2 for _, _, unit in chosen)
    return max(LEAST_NOISE, math.sqrt(ratio))
