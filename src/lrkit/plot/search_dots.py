"""The trials of a search as dots of its figure, and the heights between which the figure shows them. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Dot", "read_dots", "value_limits"]

_NEIGHBOURS = 2
"""Rates trained to the end, on either side of the good ones, that always decide the scale."""
_AROUND = 0.3
"""Decades around the chosen rate over which the band decides the scale; further off it may open wide."""
_TRIALS_REACH, _LINE_REACH = 3.0, 1.0
"""Full trainings, and what of the fitted line, are shown this far off, in heights of the stretch around the best."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A trial: its rate, its objective (nan where it diverged), the part of the length that it was trained for.

    `chosen` says whether it has the best of the values that were searched beside the rate.
    """

    lr: float
    objective: float
    part: float
    seed: int
    chosen: bool

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end."""
        return self.part >= 1.0


def read_dots(data: Mapping[str, Any]) -> tuple[Dot, ...]:
    """The trials of `data`, a search as `Search.to_dict()` gives it, in their order."""
    trials = data["trials"]
    full = data.get("steps") or max((trial["steps"] for trial in trials), default=1)
    values = data.get("values") or {}
    return tuple(
        Dot(
            lr=float(trial["lr"]),
            objective=_number(trial),
            part=1.0 if trial["status"] == "finished" else min(trial["steps"] / full, 0.999),
            seed=trial["seed"],
            chosen=(trial.get("values") or {}) == values,
        )
        for trial in trials
    )


def value_limits(data: Mapping[str, Any], dots: Sequence[Dot]) -> tuple[float, float]:
    """The lowest and the highest objective to be shown, not equal, by what was trained to the end.

    The stretch around the best, which is the band near it, the trials at good rates and the next ones on either side,
    is shown whole, and of other full trainings and of the fitted line what is not far from it. Trials that
    were stopped early stand high and say little: they never widen the scale.
    """
    ended = [dot for dot in dots if dot.chosen and dot.finished and math.isfinite(dot.objective)]
    seen = [dot.objective for dot in ended or dots if math.isfinite(dot.objective)]
    line = _finite((data.get("curve") or {}).get("mean", ()))
    near = [*_near(data, ended), *_band(data)] or seen or line
    if not near:
        return 0.0, 1.0
    low, high = min(near), max(near)
    height = (high - low) or math.inf  # one value alone has no height to go by
    shown = [
        value
        for values, reach in ((seen, _TRIALS_REACH), (line, _LINE_REACH))
        for value in values
        if low - reach * height <= value <= high + reach * height
    ]
    low, high = min([low, *shown]), max([high, *shown])
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.05 * max(abs(low), 1e-12)
        return low - margin, high + margin
    return low, high


def _near(data: Mapping[str, Any], ended: Sequence[Dot]) -> list[float]:
    """Objectives of full trainings at the good rates, and at the next rates on either side."""
    good = data.get("good") or ([data["lr"]] * 2 if data.get("lr") else None)
    if good is None:
        return []
    below = sorted({dot.lr for dot in ended if dot.lr < good[0]})[-_NEIGHBOURS:]
    above = sorted({dot.lr for dot in ended if dot.lr > good[1]})[:_NEIGHBOURS]
    low, high = min([good[0], *below]), max([good[1], *above])
    return [dot.objective for dot in ended if low <= dot.lr <= high]


def _band(data: Mapping[str, Any]) -> list[float]:
    """The ends of the fitted band at the good rates that are not far from the chosen one."""
    curve, good, lr = data.get("curve"), data.get("good"), data.get("lr")
    if curve is None or not good or lr is None:
        return []
    lrs = np.asarray(curve["lrs"], dtype=float)
    # Rates are rounded to three digits, the curve's are not.
    inside = (lrs >= good[0] * 0.99) & (lrs <= good[1] * 1.01) & (np.abs(np.log10(lrs / lr)) <= _AROUND)
    return [
        value for name in ("low", "high") for value in _finite(np.asarray(curve[name], dtype=float)[inside])
    ]


def _finite(values: Iterable[float | None]) -> list[float]:
    """Without what JSON has as null."""
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _number(trial: Mapping[str, Any]) -> float:
    # JSON has no NaN: what diverged has no objective there.
    value = math.nan if trial["objective"] is None else float(trial["objective"])
    return value if math.isfinite(value) and trial["status"] != "diverged" else math.nan
