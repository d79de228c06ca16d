"""Shapes that go up and down: one cycle, its momentum, triangular cycles and warm restarts.

All borders between rises and falls are whole steps, counted in integers: no rounding moves a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, ClassVar, Literal, TypedDict, cast

import numpy as np
import numpy.typing as npt

from lrkit.duration import Duration, half_up
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import (
    Level,
    as_choice,
    as_count,
    as_duration,
    as_level,
    as_number,
    as_optional_duration,
    as_optional_level,
)
from lrkit.schedule.numeric import NUMPY, Array, Numeric, Steps
from lrkit.schedule.periods import above, half_waves, repeating, stairs
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Formula, Motion

__all__ = ["cyclic", "one_cycle", "one_cycle_momentum", "restarts"]

Anneal = Literal["cosine", "linear"]
Last = Literal["exclusive", "unrounded", "inclusive"]
Lengths = Literal["whole", "exact"]

_Cycles = tuple[Callable[[Formula], Formula], Formula]
"""What makes a formula of the step out of one of the cycle's number, and the half wave that each cycle is."""

# Cycles are listed well past the run, for .after("continue"), but a growth near 1 would never get there.
_FAR = 2**52
_MANY = 10_000


def one_cycle(
    duration: Length | None = None,
    *,
    rise: float = 0.3,
    start: Level = 0.04,
    to: Level = 4e-6,
    anneal: Anneal = "cosine",
    phases: int = 2,
    last: Last = "exclusive",
) -> Schedule:
    """Up to the peak, then far down: `start` -> 1 -> `to`, each by a half wave or a straight line.

    `rise` is the share of the phase spent rising. Three `phases` go `start` -> 1 -> `start` -> `to`, with as
    many steps down as up in the first two (then `rise` is at most 0.5). The peak sits on a whole step (half
    up), so that an update reaches it. The defaults are those of torch's OneCycleLR: a 25th of the peak, a
    10,000th of that, 30 % rising.

    `last="unrounded"` leaves the peak between two steps where rise * n does (as fastai does), and
    `last="inclusive"` puts the ends where torch puts them: the last update uses `to` itself, and the peak
    lies at step rise * n - 1, whole or not. Source: Smith and Topin, arXiv:1708.07120.

    >>> one_cycle().over(100)(30)
    1.0
    """
    return OneCycle(
        as_optional_duration(duration, "one_cycle()"),
        start=as_level(start, "one_cycle(start=)"),
        to=as_level(to, "one_cycle(to=)"),
        **_form(rise, anneal, phases, last, "one_cycle"),
    )


def one_cycle_momentum(
    duration: Length | None = None,
    *,
    rise: float = 0.3,
    low: Level = 0.85 / 0.95,
    anneal: Anneal = "cosine",
    phases: int = 2,
    last: Last = "exclusive",
) -> Schedule:
    """The mirror image of `one_cycle`, for momentum or beta1: 1 -> `low` -> 1 (-> 1 in three phases).

    It multiplies the group's own momentum: the default gives a momentum of 0.95 torch's way down to 0.85 and
    back. Use the same `rise`, `anneal`, `phases` and `last` as for the rate.
    Source: Smith, arXiv:1803.09820, section 4.3.

    >>> round(0.95 * one_cycle_momentum().over(100)(30), 12)
    0.85
    """
    return OneCycleMomentum(
        as_optional_duration(duration, "one_cycle_momentum()"),
        low=as_level(low, "one_cycle_momentum(low=)"),
        **_form(rise, anneal, phases, last, "one_cycle_momentum"),
    )


def cyclic(
    up: Length,
    *,
    down: Length | None = None,
    low: Level = 0.25,
    cycle_decay: float = 1.0,
    step_decay: float = 1.0,
    duration: Length | None = None,
) -> Schedule:
    """Triangles for ever: from `low` to 1 in `up` steps, back in `down` steps (else as many), and again.

    Step i in cycle c has low + (1 - low) h cycle_decay^c step_decay^i, where h from 0 to 1 is the height of
    the triangle. The source's "triangular" is the default, its "triangular2" is `cycle_decay=0.5`, and its
    "exp_range" is a `step_decay` just below 1. `up` and `down` are rounded half up to whole steps, once.
    The default of `low` is the source's too: a lower bound of a third or a quarter of the upper one. A cycle
    starts at `low` wherever it stands. Source: Smith, arXiv:1506.01186.

    >>> cyclic(2, low=0).over(6).chunk(0, 6).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """
    return Cyclic(
        as_duration(up, "cyclic()"),
        down=None if down is None else as_duration(down, "cyclic(down=)"),
        low=as_level(low, "cyclic(low=)"),
        cycle_decay=as_number(cycle_decay, "cyclic(cycle_decay=)", above=0.0, most=1.0),
        step_decay=as_number(step_decay, "cyclic(step_decay=)", above=0.0, most=1.0),
        duration=as_optional_duration(duration, "cyclic(duration=)"),
    )


def restarts(
    first: Length,
    *,
    growth: float = 1.0,
    decay: float = 1.0,
    to: Level = 0.0,
    limit: int | None = None,
    k: float = 1.0,
    lengths: Lengths = "whole",
    duration: Length | None = None,
    start: Level | None = None,
) -> Schedule:
    """Cosine decay with warm restarts: cycles of `first`, first * growth, first * growth^2, ... steps.

    Cycle c falls from v decay^c to `to`, so that a `decay` below 1 lowers each restart. After `limit` cycles
    it stays at `to`. `k` above 1 makes each cycle fall later ("k-decay": progress p^k). Each period is rounded
    half up to whole steps, so that every cycle begins at its peak; with lengths="exact" none is, and a cycle
    that begins between two steps is met a little below its peak. For equal cycles that just fill the run write
    `cosine(to=0).repeat(n)`.
    Sources: Loshchilov and Hutter, arXiv:1608.03983 (SGDR); Zhang and Li, arXiv:2004.05909 (k).

    >>> restarts(2, growth=2).over(7).chunk(0, 7).round(3).tolist()
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """
    stretch = as_number(growth, "restarts(growth=)")
    if stretch < 1.0:
        raise SpecError(f"restarts(growth={stretch:.6g}): cycles cannot shrink, give 1 or more")
    return Restarts(
        as_duration(first, "restarts()"),
        growth=stretch,
        decay=as_number(decay, "restarts(decay=)", above=0.0, most=1.0),
        to=as_level(to, "restarts(to=)"),
        limit=None if limit is None else as_count(limit, "restarts(limit=)"),
        k=as_number(k, "restarts(k=)", above=0.0),
        lengths=cast("Lengths", as_choice(lengths, "restarts(lengths=)", ("whole", "exact"))),
        duration=as_optional_duration(duration, "restarts(duration=)"),
        start=as_optional_level(start, "restarts(start=)"),
    )


@dataclass(frozen=True, slots=True, repr=False)
class OneCycle(Phase):
    name: ClassVar[str] = "one_cycle"
    duration: Duration | None = None
    _: KW_ONLY
    rise: float = 0.3
    start: Level = 0.04
    to: Level = 4e-6
    anneal: Anneal = "cosine"
    phases: int = 2
    last: Last = "exclusive"

    def _bind(self, block: Block) -> Motion:
        start, to = block.factor(self.start), block.factor(self.to)
        levels = (start, 1.0, to) if self.phases == 2 else (start, 1.0, start, to)
        return _through(_knots(block.steps, self.rise, self.phases, self.last), levels, self.anneal)


@dataclass(frozen=True, slots=True, repr=False)
class OneCycleMomentum(Phase):
    name: ClassVar[str] = "one_cycle_momentum"
    duration: Duration | None = None
    _: KW_ONLY
    rise: float = 0.3
    low: Level = 0.85 / 0.95
    anneal: Anneal = "cosine"
    phases: int = 2
    last: Last = "exclusive"

    def _bind(self, block: Block) -> Motion:
        levels = (1.0, block.factor(self.low), 1.0, 1.0)[: self.phases + 1]
        return _through(_knots(block.steps, self.rise, self.phases, self.last), levels, self.anneal)


@dataclass(frozen=True, slots=True, repr=False)
class Cyclic(Phase):
    name: ClassVar[str] = "cyclic"
    up: Duration
    _: KW_ONLY
    down: Duration | None = None
    low: Level = 0.25
    cycle_decay: float = 1.0
    step_decay: float = 1.0
    duration: Duration | None = None

    def _bind(self, block: Block) -> Motion:
        low, up = block.factor(self.low), block.period(self.up, "cyclic")
        down = up if self.down is None else block.period(self.down, "cyclic")
        per_cycle, per_step, whole = self.cycle_decay, self.step_decay, up + down

        height = repeating(lambda m, j: m.where(j <= up, m.real(j) / up, m.real(whole - j) / down), whole)
        decayed = stairs(lambda m, c: (1.0 - low) * per_cycle ** m.real(c), whole)

        def formula(m: Numeric, i: Array) -> Array:
            top = 1.0 - low if per_cycle == 1.0 else decayed(m, i)
            return low + top * height(m, i) * (1.0 if per_step == 1.0 else per_step ** m.real(i))

        return Motion.running(formula, block.steps)


@dataclass(frozen=True, slots=True, repr=False)
class Restarts(Phase):
    name: ClassVar[str] = "restarts"
    first: Duration
    _: KW_ONLY
    growth: float = 1.0
    decay: float = 1.0
    to: Level = 0.0
    limit: int | None = None
    k: float = 1.0
    lengths: Lengths = "whole"
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, L, first = block.origin(self.start), block.factor(self.to), block.period(self.first, "restarts")
        decay, limit = self.decay, self.limit
        exact = block.exactly(self.first) or Fraction(1)
        if self.lengths == "exact" and not (self.growth == 1.0 and exact == first):
            by_number, wave = _growing(*_exact_cycles(exact, self.growth, block.steps), self.k)
        elif self.growth == 1.0:
            by_number, wave = _even(first, self.k)
        else:
            by_number, wave = _growing(*_whole_cycles(first, self.growth, block.steps), self.k)

        def height(m: Numeric, c: Array) -> Array:
            fall = (v - L) + m.real(c) * 0.0 if decay == 1.0 else v * decay ** m.real(c) - L
            return fall if limit is None else m.where(c < limit, fall, 0.0)

        heights = None if decay == 1.0 and limit is None else by_number(height)

        def formula(m: Numeric, i: Array) -> Array:
            return L + heights(m, i) * wave(m, i) if heights else above(L, v - L, wave(m, i))

        return Motion.running(formula, block.steps)


class _Form(TypedDict):
    """The arguments that a cycle and its momentum share."""

    rise: float
    anneal: Anneal
    phases: int
    last: Last


def _form(rise: object, anneal: object, phases: object, last: object, name: str) -> _Form:
    count = as_count(phases, f"{name}(phases=)")
    if count not in (2, 3):
        raise SpecError(f"{name}(phases={count}): a cycle has 2 phases or 3")
    return _Form(
        rise=as_number(rise, f"{name}(rise=)", most=1.0 if count == 2 else 0.5),
        anneal=cast("Anneal", as_choice(anneal, f"{name}(anneal=)", ("cosine", "linear"))),
        phases=count,
        last=cast("Last", as_choice(last, f"{name}(last=)", ("exclusive", "unrounded", "inclusive"))),
    )


def _knots(steps: int, rise: float, phases: int, last: Last) -> tuple[float, ...]:
    """Where each part of the cycle ends."""
    if last == "inclusive":
        peak, end = rise * steps - 1.0, steps - 1.0
        return (peak, end) if phases == 2 else (peak, 2.0 * rise * steps - 2.0, end)
    if last == "unrounded":
        return (
            (rise * steps, float(steps)) if phases == 2 else (rise * steps, 2.0 * rise * steps, float(steps))
        )
    # repr, because a rise of 0.3 means three tenths, not the float next to it.
    summit = half_up(Fraction(repr(rise)) * steps)
    if phases == 3 and rise:
        summit = max(1, summit)  # or both sides of the peak would vanish together
    back = () if phases == 2 else (float(min(2 * summit, steps)),)
    return (float(summit), *back, float(steps))


def _through(knots: Sequence[float], levels: Sequence[float], anneal: Anneal) -> Motion:
    """From level to level, reaching `levels[k + 1]` at `knots[k]`; parts without length are jumped over."""
    parts = [
        (begin, end, levels[k], levels[k + 1])
        for k, (begin, end) in enumerate(zip((0.0, *knots), knots, strict=False))
        if end > begin
    ]

    def formula(m: Numeric, i: Array) -> Array:
        x = m.real(i)
        values = x * 0.0 + levels[-1]
        for begin, end, source, target in reversed(parts):
            p = m.clip((x - begin) / (end - begin), 0.0, 1.0)
            if anneal == "linear":
                reached = source + (target - source) * p
            else:
                reached = target + (source - target) * m.half_wave(math.pi * p)
            values = m.where(x <= end, reached, values)
        return values

    return Motion(formula, levels[-1])


def _bent(m: Numeric, p: Array, k: float) -> Array:
    p = m.clip(p, 0.0, 1.0)
    return m.half_wave(math.pi * (p if k == 1.0 else p**k))


def _even(period: int, k: float) -> _Cycles:
    wave = half_waves(period) if k == 1.0 else lambda m, j: _bent(m, m.real(j) / period, k)
    return lambda by_number: stairs(by_number, period), repeating(wave, period)


def _growing(begins: npt.NDArray[Any], periods: npt.NDArray[np.float64], k: float) -> _Cycles:
    """Cycles that begin at `begins`, whole steps or not, in ascending order."""
    edges = np.ceil(begins[1:]).astype(np.int64)

    def of_steps(by_number: Formula) -> Formula:
        values = by_number(NUMPY, np.arange(len(begins)))
        return lambda m, i: m.lookup(i, edges, values)

    def wave(m: Numeric, i: Array) -> Array:
        passed = m.real(i - m.lookup(i, edges, begins))
        return _bent(m, passed / m.lookup(i, edges, periods), k)

    return of_steps, wave


def _whole_cycles(first: int, growth: float, steps: int) -> tuple[Steps, npt.NDArray[np.float64]]:
    """The first step and the length of each cycle, at least as many as begin within `steps`."""
    begins, periods = [0], [first]
    exact = float(first)
    while _more_cycles(begins, steps):
        exact = min(exact * growth, float(_FAR))
        begins.append(begins[-1] + periods[-1])
        periods.append(math.floor(exact + 0.5))
    return np.array(begins, dtype=np.int64), np.array(periods, dtype=np.float64)


def _exact_cycles(
    first: Fraction, growth: float, steps: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The same without rounding. In decimals, because a growth of 1.2 means six fifths, not the float beside."""
    with localcontext(prec=60):
        begins, periods = [Decimal(0)], [Decimal(first.numerator) / Decimal(first.denominator)]
        while _more_cycles(begins, steps):
            begins.append(begins[-1] + periods[-1])
            periods.append(min(periods[-1] * Decimal(repr(growth)), Decimal(_FAR)))
        return np.array(begins, dtype=np.float64), np.array(periods, dtype=np.float64)


def _more_cycles(begins: Sequence[int] | Sequence[Decimal], steps: int) -> bool:
    """Whether there is another cycle to list: all that begin within the run, and many more if they are few."""
    if begins[-1] <= steps and len(begins) > 10 * _MANY:
        raise HorizonError(
            f"restarts() begins more than {10 * _MANY} cycles in {steps} steps: make them longer"
        )
    return begins[-1] <= steps or (begins[-1] < _FAR and len(begins) < _MANY)
