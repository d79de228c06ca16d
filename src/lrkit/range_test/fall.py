"""Did the loss of a sweep fall at all, or rise at once? Tests against the noise that the sweep itself shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lrkit.range_test.smoothing import (
    WIDTH_POINTS,
    FloatArray,
    capped,
    early_noise,
    early_window,
    kernel,
    smooth,
)

__all__ = ["Reading", "fell", "fell_before", "read", "rose_at_once"]

# In standard errors of the difference of the two levels: few purely noisy sweeps in a thousand pass it with
# normal noise, some 20 with tails as heavy as Student's t of 3 degrees; and more than half of the repeats
# must.
_FALL_UNITS = 4.5

# For exchangeable losses one given run of 5 is below all of 20 others with a chance of 1 in 53,130.
_FALL_RUN = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """A sweep's losses with what every judgement of them needs, computed once.

    lrs: the rates of the losses. window: how many first losses are the quiet beginning. noise: standard deviation of
    one loss there. cut, smoothed: the losses capped, then smoothed.
    """

    lrs: FloatArray
    losses: FloatArray
    window: int
    noise: float
    cut: FloatArray
    smoothed: FloatArray

    @property
    def lowest(self) -> int:
        """The point at which the smoothed losses are lowest."""
        return int(np.argmin(self.smoothed))


def read(lrs: ArrayLike, losses: ArrayLike) -> Reading:
    """The reading of a sweep through the grid `lrs` that measured `losses`, one at least."""
    grid, values = np.asarray(lrs, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    rates, window, cut = grid[: len(values)], early_window(len(grid)), capped(values)
    return Reading(rates, values, window, early_noise(values, window), cut, smooth(rates, cut))


def fell(reading: Reading) -> bool:
    """Whether the loss fell by more than noise makes of nothing: a little for long, or far for a moment."""
    return _level_fell(reading) or _run_fell(reading)


def fell_before(before: float, reading: Reading) -> bool:
    """Whether the very first losses are already far below the one before any update."""
    first = reading.losses[: math.ceil(WIDTH_POINTS)]
    return bool(before - first.max() > _FALL_UNITS * reading.noise)


def rose_at_once(before: float, reading: Reading) -> bool:
    """Whether every early loss is above the one before any update, and they doubled or climb steadily."""
    early = reading.losses[: reading.window]
    if not (early > before).all():
        return False
    doubled = float(np.median(early)) - before > abs(before)
    # Mann-Kendall: pairs in rising minus in falling order, in units of its deviation for n exchangeable values.
    n = len(early)
    order = np.sign(early[None, :] - early[:, None])[np.triu_indices(n, 1)].sum()
    return doubled or bool(order > 3 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18))


def _level_fell(reading: Reading) -> bool:
    """Whether the smoothed minimum is below the mean of the quiet beginning, as Welch's test compares two levels.

    The noise of single losses is measured at the beginning and again about the minimum, where it is mostly less.
    Less than half of it is not believed: skewed noise has its minimum where it is calm by chance.
    """
    weights = kernel(reading.lrs, reading.lowest)
    quiet = reading.losses[: max(1, min(reading.window, reading.lowest))]
    near = reading.cut[weights > weights.max() / 10]
    quiet_error = reading.noise / math.sqrt(len(quiet))
    lowest_error = max(early_noise(near, len(near)), reading.noise / 2) * float(np.linalg.norm(weights))
    fall = quiet.mean() - reading.smoothed[reading.lowest]
    return bool(fall > _FALL_UNITS * math.hypot(quiet_error, lowest_error))


def _run_fell(reading: Reading) -> bool:
    """Whether enough losses in a row are below the lowest of the quiet beginning, whatever their noise."""
    quiet, later = reading.losses[: reading.window], reading.losses[reading.window :]
    longest = run = 0
    for below in later < quiet.min() - early_noise(quiet, 1):
        run = run + 1 if below else 0
        longest = max(longest, run)
    return longest >= _FALL_RUN
