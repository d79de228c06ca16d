"""Who ended best, and what can be told apart: paired t tests over seeds, corrected by Holm. Pure numbers.

Schedules share their seeds (weights, batches), so their differences are tested, not their values. The best is found by
the same numbers that it is then compared by, which makes it look better than it is: with the k - 1 comparisons to it
alone corrected for, 8 to 10 % of comparisons of six equal schedules find a difference at a level of 5 %. So all
k (k - 1) / 2 pairs count, which holds the 5 % whatever is picked afterwards.

A permutation test would assume less, but S seeds have only 2^S sign changes: with 5 seeds no p value below 1/16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from lrkit.tuning.comparing.student import two_sided_p, two_sided_quantile

__all__ = ["LEVEL", "Standing", "adjust_by_holm", "paired_p", "stand"]

LEVEL = 0.05
"""Adjusted p values below it tell two schedules apart; intervals hold the difference with 1 - LEVEL."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One schedule among the others, by the figure they are compared by.

    rank: from 1; None where a training diverged, or there was none: it has no mean.
    mean, sd: over seeds; sd is None for one seed.
    difference: mean difference to the best, in the figure's own units and sign; None for the best itself.
    interval_of_difference: 95 % of it, by itself (not corrected for the number of comparisons); None for one seed.
    p: of the paired test against the best, adjusted by Holm over all pairs; None where there is none.
    """

    rank: int | None
    mean: float | None
    sd: float | None
    difference: float | None = None
    interval_of_difference: tuple[float, float] | None = None
    p: float | None = None

    @property
    def told_apart(self) -> bool:
        """Whether it is worse than the best beyond the luck of seeds."""
        return self.p is not None and self.p < LEVEL


def stand(values: Mapping[str, Sequence[float]], direction: Literal["min", "max"]) -> dict[str, Standing]:
    """The standing of each schedule, by name, from its figure under each seed (the same seeds, in the same order).

    A schedule with a value that is not finite (a training diverged), or with none, gets no rank.
    """
    whole = {name: np.array(row) for name, row in values.items() if len(row) and np.all(np.isfinite(row))}
    sign = 1.0 if direction == "min" else -1.0
    order = sorted(whole, key=lambda name: sign * float(np.mean(whole[name])))
    pairs = list(combinations(order, 2))
    adjusted = adjust_by_holm([paired_p(whole[a] - whole[b]) for a, b in pairs])
    p_of = dict(zip(pairs, adjusted, strict=True))
    standings = {name: Standing(None, None, None) for name in values}
    for rank, name in enumerate(order, 1):
        row, mean, sd = whole[name], float(np.mean(whole[name])), _deviation(whole[name])
        if rank == 1:
            standings[name] = Standing(rank, mean, sd)
            continue
        apart = row - whole[order[0]]
        standings[name] = Standing(
            rank, mean, sd, float(np.mean(apart)), _interval(apart), p_of[order[0], name]
        )
    return standings


def paired_p(differences: np.ndarray) -> float | None:
    """Two-sided p of the mean of these differences being 0, by Student's t; None for fewer than two."""
    deviation = _deviation(differences)
    if deviation is None:
        return None
    mean = float(np.mean(differences))
    if deviation == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return two_sided_p(mean / (deviation / math.sqrt(len(differences))), len(differences) - 1)


def adjust_by_holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values that may each be held against the level of the whole family (Holm 1979); None stays None.

    >>> adjust_by_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for place, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p))
        adjusted[index] = highest
    return adjusted


def _deviation(row: np.ndarray) -> float | None:
    return float(np.std(row, ddof=1)) if len(row) > 1 else None


def _interval(differences: np.ndarray) -> tuple[float, float] | None:
    deviation = _deviation(differences)
    if deviation is None:
        return None
    mean, count = float(np.mean(differences)), len(differences)
    half = two_sided_quantile(1.0 - LEVEL, count - 1) * deviation / math.sqrt(count)
    return mean - half, mean + half
