"""Smoothing of a sweep's losses without delay, and the size of their noise. Numpy only; knows no rules."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "WIDTH_DECADES",
    "WIDTH_POINTS",
    "FloatArray",
    "capped",
    "early_noise",
    "early_window",
    "kernel",
    "smooth",
]

FloatArray: TypeAlias = NDArray[np.float64]

# With 0.1 decades the argmin of small noisy batches drifts: on the built-in task diabetes the 90th percentile of the
# suggestion over 20 seeds is 2.4 times the 10th, with 0.3 it is 1.5 times. The median itself moves by 0.05 decades at
# most on the built-in tasks, and by -0.1 under SGD, whose rise is steep (docs/range-test.md).
WIDTH_DECADES = 0.3
WIDTH_POINTS = 3.0

_REACH = 8.0  # widths; what lies beyond weighs less than 1e-13
_ROUNDING = 1e-6
_ROWS_AT_ONCE = 512  # bounds the memory of a long sweep


def kernel(lrs: ArrayLike, at: int) -> FloatArray:
    """The weights, adding up to 1, with which each point enters the smoothed value at point `at`.

    Gaussian in x = log10 lr with a standard deviation of 0.3 decades or 3 points, whichever is wider. On a
    grid that is even in x these are one kernel; on a linear grid a point is near when it is near by either
    measure.
    """
    x = np.log10(np.asarray(lrs, dtype=np.float64))
    weights: FloatArray = _kernels(x, at, at + 1)[0]
    return weights


def smooth(lrs: ArrayLike, losses: ArrayLike) -> FloatArray:
    """`losses` averaged under the `kernel` around each point: symmetric, so minima stay where they are.

    An exponential moving average (0.98, as the peers take) lags by up to 49 points, half of a sweep of 100.
    """
    values = np.asarray(losses, dtype=np.float64)
    x = np.log10(np.asarray(lrs, dtype=np.float64)[: len(values)])
    spacing = np.diff(x)
    if len(x) > 1 and np.ptp(spacing) < 1e-6 * spacing[0]:
        return _smooth_evenly(values, max(WIDTH_POINTS, WIDTH_DECADES / spacing.mean()))
    rows = range(0, len(x), _ROWS_AT_ONCE)
    blocks = [_kernels(x, start, min(start + _ROWS_AT_ONCE, len(x))) @ values for start in rows]
    return np.concatenate(blocks) if blocks else values


def _smooth_evenly(values: FloatArray, width: float) -> FloatArray:
    """The same by convolution, for a grid on which every point has the same kernel, `width` points wide."""
    reach = math.ceil(_REACH * width)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    inside = slice(reach, reach + len(values))
    total = np.convolve(values, weights)[inside]
    smoothed: FloatArray = total / np.convolve(np.ones_like(values), weights)[inside]
    return smoothed


def _kernels(x: FloatArray, start: int, stop: int) -> FloatArray:
    """The kernels of points `start` to `stop`, one a row."""
    index = np.arange(len(x))
    points = np.abs(index[start:stop, None] - index) / WIDTH_POINTS
    distance = np.minimum(np.abs(x[start:stop, None] - x) / WIDTH_DECADES, points)
    weights: FloatArray = np.exp(-0.5 * distance**2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def capped(losses: ArrayLike) -> FloatArray:
    """`losses` with everything above twice the first cut off, so that one huge value cannot move a minimum.

    Twice is measured as the first loss plus its size, or plus the whole fall where that is larger: for losses
    that are positive it is exactly twice, and it holds for losses near 0 or below as well.
    """
    values = np.asarray(losses, dtype=np.float64)
    if not len(values):
        return values
    room = max(abs(values[0]), values[0] - values.min())
    below: FloatArray = np.minimum(values, values[0] + room)
    return below


def early_window(steps: int) -> int:
    """How many first points of a sweep of `steps` count as its quiet beginning: a fifth, 10 at least."""
    return max(10, steps // 5)


def early_noise(losses: ArrayLike, window: int) -> float:
    """The standard deviation of one loss about its trend, from the differences of the first `window` losses.

    For normal noise the mean absolute difference of two neighbours is 2 sd / sqrt(pi). A slow trend hardly
    enters, and a single outlier counts once, not squared. At least a millionth of the first loss, which is what
    float32 rounds to: a loss that never moves must not seem to fall by its rounding.
    """
    quiet = np.asarray(losses, dtype=np.float64)[:window]
    if not len(quiet):
        return 0.0
    differences = np.abs(np.diff(quiet))
    measured = float(differences.mean() * math.sqrt(math.pi) / 2) if len(differences) else 0.0
    return max(measured, _ROUNDING * abs(float(quiet[0])))
