"""Waves: the falling cosine, once or several times over in one phase. Cycles that grow are in `cycles`.

In the formulas p = i / n is the progress at step i of n, v the start value and L the `to` value, as in `shapes`.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from lrkit.duration import Duration
from lrkit.schedule.core import Schedule
from lrkit.schedule.falls import delayed
from lrkit.schedule.levels import Level, as_level, as_number, as_optional_duration, as_optional_level
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.periods import above, half_waves
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Motion

__all__ = ["cosine", "cosine_restarts"]

_MOST_CYCLES = 10_000.0


def cosine(
    duration: Length | None = None,
    *,
    to: Level = 0.0,
    start: Level | None = None,
    cycles: float = 0.5,
    exponent: float = 1.0,
    k: float = 1.0,
) -> Schedule:
    """A falling half wave: L + (v - L) ((1 + cos(2 pi c p^k)) / 2)^e, c = `cycles`, e = `exponent`.

    Half a cycle ends at L; c = 1.5 rises once more in between, and a whole number ends where it started.
    `k` above 1 falls later ("k-decay"), an exponent above 1 falls sooner (as in optax).
    Sources: Loshchilov and Hutter, arXiv:1608.03983, eq. 5; Zhang and Li, arXiv:2004.05909 (k).

    >>> round(cosine(to=0).over(100)(50), 12)
    0.5
    >>> round(cosine(to=0, k=2).over(100)(50), 12)
    0.853553390593
    """
    return Cosine(
        as_optional_duration(duration, "cosine()"),
        to=as_level(to, "cosine(to=)"),
        start=as_optional_level(start, "cosine(start=)"),
        cycles=as_number(cycles, "cosine(cycles=)", above=0.0),
        exponent=as_number(exponent, "cosine(exponent=)", above=0.0),
        k=as_number(k, "cosine(k=)", above=0.0),
    )


def cosine_restarts(
    duration: Length | None = None, *, cycles: float, to: Level = 0.0, start: Level | None = None
) -> Schedule:
    """Half waves with hard restarts in one phase: L + (v - L) (1 + cos(pi (c p mod 1))) / 2, c = `cycles`.

    Every cycle is as long, to fractions of a step, and falls from v to L; so does the last of a whole number,
    while a part of a cycle at the end breaks off. From p = 1 on it stays at L. A step on which a cycle begins
    has v itself. Cycles of whole steps are `cosine(to=0).repeat(4)`, cycles that grow or shrink `restarts`.
    Source: the `cosine_with_restarts` of transformers, after Loshchilov and Hutter, arXiv:1608.03983.

    >>> cosine_restarts(cycles=2).over(4).chunk(0, 4).round(12).tolist()
    [1.0, 0.5, 1.0, 0.5]
    """
    return CosineRestarts(
        as_optional_duration(duration, "cosine_restarts()"),
        cycles=as_number(cycles, "cosine_restarts(cycles=)", above=0.0, most=_MOST_CYCLES),
        to=as_level(to, "cosine_restarts(to=)"),
        start=as_optional_level(start, "cosine_restarts(start=)"),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Cosine(Phase):
    name: ClassVar[str] = "cosine"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None
    cycles: float = 0.5
    exponent: float = 1.0
    k: float = 1.0

    def _bind(self, block: Block) -> Motion:
        v, L, n = block.origin(self.start), block.factor(self.to), block.steps
        turn, exponent, k = 2.0 * math.pi * self.cycles, self.exponent, self.k
        plain = half_waves(n) if self.cycles == 0.5 and k == 1.0 else None

        def formula(m: Numeric, i: Array) -> Array:
            left = plain(m, i) if plain else m.half_wave(turn * delayed(m, m.real(i) / n, k))
            return above(L, v - L, left if exponent == 1.0 else left**exponent)

        left = 0.0 if self.cycles == 0.5 else (0.5 + 0.5 * math.cos(turn)) ** exponent
        return Motion(formula, L + (v - L) * left if left else L)


@dataclass(frozen=True, slots=True, repr=False)
class CosineRestarts(Phase):
    name: ClassVar[str] = "cosine_restarts"
    duration: Duration | None = None
    _: KW_ONLY
    cycles: float
    to: Level = 0.0
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        n, c = block.steps, self.cycles
        # Where a cycle begins is reckoned exactly, so that no rounding turns a peak into a trough.
        edges = np.array(
            [math.ceil(k * n / Fraction(repr(c))) for k in range(1, math.ceil(c))], dtype=np.int64
        )
        numbers = np.arange(len(edges) + 1, dtype=np.float64)
        v, L = block.origin(self.start), block.factor(self.to)

        def formula(m: Numeric, i: Array) -> Array:
            p = m.clip(c * (m.real(i) / n) - m.lookup(i, edges, numbers), 0.0, 1.0)
            return m.where(i < n, L + (v - L) * m.half_wave(math.pi * p), L)

        return Motion(formula, L)
