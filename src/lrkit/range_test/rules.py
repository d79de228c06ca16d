"""The rules that read one learning rate off a sweep: lrkit's own, and the peers', each as its source has it.

Every rule is a pure function `rule(lrs, losses) -> lr | None`. `lrs` is the grid that was planned, `losses`
are the raw losses measured on its first `len(losses)` points (a sweep that diverges is shorter than its
grid), all finite. None
means that the rule has nothing to read: too few points, or no fall. Whether a fall is more than noise is not
    asked
here (verdict.py). Lengths that do not fit, rates that do not rise and losses that are not finite are a
SpecError.

The peers record the loss that was computed *before* the update at lr_i beside lr_i, lrkit the one after it:
on lrkit's records their answers lie one point of the grid further left than on their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lrkit.errors import SpecError
from lrkit.range_test.smoothing import FloatArray, capped, smooth

__all__ = [
    "RULES",
    "Rule",
    "edge",
    "kmin",
    "lightning",
    "min_over_10",
    "slide",
    "steep",
    "torch_lr_finder",
    "valley",
]

Rule: TypeAlias = Callable[[ArrayLike, ArrayLike], float | None]


class _Points(NamedTuple):
    lrs: FloatArray
    losses: FloatArray


def kmin(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The lr at the minimum of the symmetrically smoothed losses, each loss capped at twice the first.

    Origin: lrkit; measured against rates found by full training it is the nearest of these rules, and hardly
    moves with the length of the sweep (docs/range-test.md). None for fewer than 3 points.
    """
    points = _measured(lrs, losses)
    if len(points.losses) < 3:
        return None
    return float(points.lrs[np.argmin(smooth(points.lrs, capped(points.losses)))])


def edge(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The largest lr that keeps nine tenths of the fall: the last with s <= s_min + (s_0 - s_min) / 10.

    s as for `kmin`, s_0 its first value. An upper end of what is stable at the start of a training, not a
    suggestion.
    Origin: lrkit. None for fewer than 3 points or without a fall.
    """
    points = _measured(lrs, losses)
    if len(points.losses) < 3:
        return None
    smoothed = smooth(points.lrs, capped(points.losses))
    fall = smoothed[0] - smoothed.min()
    if fall <= 0:
        return None
    return float(points.lrs[np.flatnonzero(smoothed <= smoothed.min() + fall / 10)[-1]])


def steep(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The lr at the left point of the steepest fall: the smallest difference quotient of the loss in ln lr.

    Origin: fastai 2.8 `steep`, on fastai's record (see `valley`). None for fewer than 2 points of it.
    """
    points = _fastai_record(lrs, losses)
    if len(points.losses) < 2:
        return None
    return float(points.lrs[np.argmin(np.diff(points.losses) / np.diff(np.log(points.lrs)))])


def valley(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """Midway down the longest valley, the longest strictly decreasing subsequence.

    With L its length and e the index of its end: the lr at e - L + int(L / 3) + int(L / 6), as if it had no
    gaps.

    Origin: fastai 2.8 `valley`, its default. fastai's record is the loss averaged with weight 0.98 on the
    past and corrected for its start, up to the first value above 4 times the lowest; the first tenth of the
    planned points and the last 5 are left out. None where nothing decreases (fastai then takes its first
    point).
    """
    points = _fastai_record(lrs, losses)
    lengths = _decreasing_lengths(points.losses)
    if not len(lengths) or lengths.max() < 2:
        return None
    end, length = int(np.argmax(lengths)), int(lengths.max())
    return float(points.lrs[end - length + int(length / 3) + int(length / 6)])


def slide(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The left end of a window of 15 points that comes from the right while the curve bends within it.

    It moves on while the gradients (per point) at its two ends differ by more than 0.005; the last left end
    for which they did is taken. The threshold is absolute: the answer depends on the unit of the loss.
    Origin: fastai 2.8 `slide`, on fastai's record (see `valley`). None for fewer than 16 points of it.
    """
    points = _fastai_record(lrs, losses)
    if len(points.losses) < 16:
        return None
    gradient = np.gradient(points.losses)
    right = len(gradient) - 1
    left = found = right - 15
    while left >= 0 and abs(gradient[right] - gradient[left]) > 0.005:
        found, right, left = left, right - 1, left - 1
    return float(points.lrs[found])


def min_over_10(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """A tenth of the lr at the lowest point.

    Origin: fastai 2.8 `minimum`, on fastai's record (see `valley`).
    """
    points = _fastai_record(lrs, losses)
    return float(points.lrs[np.argmin(points.losses)]) / 10 if len(points.losses) else None


def lightning(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The lr where the slope of the loss per *linear* lr is smallest.

    The factor 1/lr in that slope lets the noise at tiny rates win.
    Origin: Lightning 2.6 `lr_find`: average with weight 0.98 on the past, divided by 1 - 0.98^(i + 2) for
    point i = 0, 1, ... (one power too many: the first value is half the loss), up to the first value above 4
    times the lowest; the first 10 points and the last are left out; second-order differences. None for fewer
    than 2 points.
    """
    points = _measured(lrs, losses)
    averaged = _average(points.losses, weight=0.98)
    averaged /= 1 - 0.98 ** (np.arange(len(averaged)) + 2.0)
    # Lightning compares with the lowest *before* the point, which differs from the others for negative
    # losses.
    above = np.flatnonzero(averaged[1:] > 4 * np.minimum.accumulate(averaged)[:-1])
    recorded = int(above[0]) + 2 if len(above) else len(averaged)
    kept = slice(10, max(10, recorded - 1))
    if len(averaged[kept]) < 2:
        return None
    return float(points.lrs[kept][np.argmin(np.gradient(averaged[kept], points.lrs[kept]))])


def torch_lr_finder(lrs: ArrayLike, losses: ArrayLike) -> float | None:
    """The lr where the slope of the loss per point of the grid is smallest.

    Origin: torch-lr-finder 0.2.2 `plot(suggest_lr=True)`: average with weight 0.95 on the past, begun at the
    first loss, up to the first value above 5 times the lowest; the first 10 points and the last 5 are left
    out. None for fewer than 2 points.
    """
    points = _measured(lrs, losses)
    averaged = (
        _average(points.losses, weight=0.95, start=points.losses[0]) if len(points.losses) else points.losses
    )
    kept = slice(10, max(10, _stop_above(averaged, times=5) - 5))
    if len(averaged[kept]) < 2:
        return None
    return float(points.lrs[kept][np.argmin(np.gradient(averaged[kept]))])


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "kmin": kmin,
        "edge": edge,
        "steep": steep,
        "valley": valley,
        "slide": slide,
        "min/10": min_over_10,
        "lightning": lightning,
        "torch-lr-finder": torch_lr_finder,
    }
)


def _measured(lrs: ArrayLike, losses: ArrayLike) -> _Points:
    rates, values = np.asarray(lrs, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if rates.ndim != 1 or values.ndim != 1 or len(values) > len(rates):
        raise SpecError(
            f"a rule reads a row of rates and at most as many losses, not {rates.shape} and {values.shape}"
        )
    if not (np.isfinite(rates).all() and (rates > 0).all() and (np.diff(rates) > 0).all()):
        raise SpecError("the rates of a sweep must be finite, positive and rising")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise SpecError(
            f"loss {values[at]} at point {at}: a sweep ends before the first loss that is not finite"
        )
    return _Points(rates[: len(values)], values)


def _fastai_record(lrs: ArrayLike, losses: ArrayLike) -> _Points:
    points = _measured(lrs, losses)
    averaged = _average(points.losses, weight=0.98)
    averaged /= 1 - 0.98 ** (np.arange(len(averaged)) + 1.0)
    first = len(np.asarray(lrs)) // 10
    kept = slice(first, max(first, _stop_above(averaged, times=4) - 5))
    return _Points(points.lrs[kept], averaged[kept])


def _average(losses: FloatArray, *, weight: float, start: float = 0.0) -> FloatArray:
    """The exponential moving average with `weight` on the past, begun at `start`, not corrected."""
    averaged, level = np.empty_like(losses), start
    for i, loss in enumerate(losses):
        averaged[i] = level = weight * level + (1 - weight) * loss
    return averaged


def _stop_above(averaged: FloatArray, *, times: float) -> int:
    """How many points a peer records that stops after the first above `times` the lowest so far."""
    if not len(averaged):
        return 0
    above = np.flatnonzero(averaged > times * np.minimum.accumulate(averaged))
    return int(above[0]) + 1 if len(above) else len(averaged)


def _decreasing_lengths(losses: FloatArray) -> FloatArray:
    """For each point the length of the longest strictly decreasing subsequence that ends there."""
    lengths = np.ones(len(losses))
    for i in range(1, len(losses)):
        higher = losses[:i] > losses[i]
        if higher.any():
            lengths[i] += lengths[:i][higher].max()
    return lengths
