"""When a sweep has diverged: a rule that also holds for losses near 0 or below. Sees one loss at a time."""

from __future__ import annotations

import math
from typing import Literal

from lrkit.range_test.smoothing import early_noise, early_window

__all__ = ["Ending", "StopRule"]

Ending = Literal["end", "not finite", "diverged"]

_IN_A_ROW = 3

# Of the trailing average, narrower than the kernel of the rules: it lags, and divergence is steep.
_WIDTH_DECADES = 0.1
_WIDTH_POINTS = 3.0

# The smoothed minimum of a few hundred purely noisy losses lies up to 2.5 of their standard deviations below
# the start, and the smoothed curve rises as far above it: 8 keeps noise alone from ending a sweep.
_NOISE_UNITS = 8.0


class StopRule:
    """Says after each loss whether the sweep of `steps` points must end.

    A loss that is not finite ends it at once. Otherwise it ends when the smoothed loss s exceeds both its start
    s_0 and 2 s_min for 3 points running; where s_min is small against the noise of single losses, near 0 or
    negative, the second condition is s - s_min > 8 standard deviations of that noise. s is an exponential moving
    average over 3 points or 0.1 decades: the symmetric one would need losses that are not there yet.

    The first fifth of the sweep (10 points at least) measures s_0 and the noise, and only a non-finite loss ends it.
    It costs a microsecond a loss, beside steps of a millisecond.
    """

    def __init__(self, steps: int, *, points_per_decade: float) -> None:
        self._weight = 1.0 / (1.0 + max(_WIDTH_POINTS, _WIDTH_DECADES * points_per_decade))
        self._window = early_window(steps)
        self._quiet: list[float] = []
        self._start = self._lowest = self._smoothed = self._noise = 0.0
        self._above = 0

    def ends(self, loss: float) -> Ending | None:
        """Take in the next loss; why the sweep ends here, None while it goes on."""
        if not math.isfinite(loss):
            return "not finite"
        if len(self._quiet) < self._window:
            self._quiet.append(loss)
            if len(self._quiet) == self._window:
                self._look_back()
            return None
        limit = max(self._start, self._lowest + max(self._lowest, _NOISE_UNITS * self._noise))
        # No loss weighs more than a quarter: capped so, one broken batch cannot lift s over the limit, but three in a
        # row can.
        cap = self._lowest + 3 * (limit - self._lowest)
        self._smoothed += self._weight * (min(loss, cap) - self._smoothed)
        self._lowest = min(self._lowest, self._smoothed)
        self._above = self._above + 1 if self._smoothed > limit else 0
        return "diverged" if self._above == _IN_A_ROW else None

    def _look_back(self) -> None:
        self._noise = early_noise(self._quiet, self._window)
        first = self._quiet[: math.ceil(_WIDTH_POINTS)]
        self._start = self._lowest = self._smoothed = math.fsum(first) / len(first)
        for loss in self._quiet[len(first) :]:
            self._smoothed += self._weight * (loss - self._smoothed)
        self._lowest = min(self._start, self._smoothed)
