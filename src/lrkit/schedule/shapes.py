"""Shapes that go one way, smoothly: warmup, hold and the decays. The others are in `jumps` and `cycles`.

A phase of n steps that starts at step s goes from its start value at s to its `to` value at s + n (exclusive
end), so that a decay to 0 spends no update on a rate of 0. Unless told otherwise (`start=`) it starts where
the phase before it ended, and at factor 1 at the start of a run (a warmup: at 0).

In the formulas p = i / n is the progress at step i of the phase, v the start value and L the `to` value.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, cast

from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import (
    Level,
    as_choice,
    as_duration,
    as_level,
    as_number,
    as_optional_duration,
    as_optional_level,
    as_required_duration,
)
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.phase import Phase
from lrkit.schedule.track import Block, Motion

__all__ = [
    "cosine",
    "exponential",
    "hold",
    "inverse_sqrt",
    "linear",
    "one_minus_sqrt",
    "polynomial",
    "warmup",
]

Length = int | float | str | Duration
"""What the door takes for a duration: whole steps, or text with a unit."""

Kind = Literal["linear", "cosine", "exponential"]

_ONE_STEP = Duration.of(1)


def warmup(duration: Length, *, kind: Kind = "linear", start: Level | None = None) -> Schedule:
    r"""Rise to factor 1, spending no update on the start value nor on the peak.

    From v at step i of n, with q = (i + 1) / (n + 1):

    - "linear": v + (1 - v) q, the default because it is what the literature uses;
    - "cosine": v + (1 - v) (1 - cos(pi q)) / 2;
    - "exponential": v^(1 - q), which needs v above 0: at the start of a run give it `start`.

    The next phase starts at 1. Peers that count i / n spend their first update on rate 0: that is
    `linear(n, start=0, to=1)`. Source: Goyal et al., arXiv:1706.02677.

    >>> [round(warmup(3).over(3)(t), 2) for t in range(3)]
    [0.25, 0.5, 0.75]
    """
    choice = cast("Kind", as_choice(kind, "warmup(kind=)", ("linear", "cosine", "exponential")))
    length = as_required_duration(duration, "warmup()")
    return Warmup(length, kind=choice, start=as_optional_level(start, "warmup(start=)"))


def hold(duration: Length | None = None, *, level: Level | None = None) -> Schedule:
    """Stay: where the phase before ended, or at `level` (a jump).

    >>> (hold(2) >> hold(level=0.1)).over(4).chunk(0, 4).tolist()
    [1.0, 1.0, 0.1, 0.1]
    """
    return Hold(as_optional_duration(duration, "hold()"), level=as_optional_level(level, "hold(level=)"))


def linear(duration: Length | None = None, *, to: Level = 0.0, start: Level | None = None) -> Schedule:
    """A straight line: v + (L - v) p. Source: Bergsma et al., arXiv:2502.15938 (decay to zero).

    >>> linear(to=0).over(4).chunk(0, 4).tolist()
    [1.0, 0.75, 0.5, 0.25]
    """
    ends = as_level(to, "linear(to=)"), as_optional_level(start, "linear(start=)")
    return Linear(as_optional_duration(duration, "linear()"), to=ends[0], start=ends[1])


def cosine(
    duration: Length | None = None, *, to: Level = 0.0, start: Level | None = None, cycles: float = 0.5
) -> Schedule:
    """A falling half wave: L + (v - L) (1 + cos(2 pi c p)) / 2, c = `cycles`.

    Half a cycle ends at L; c = 1.5 rises once more in between, and a whole number ends where it started.
    Source: Loshchilov and Hutter, arXiv:1608.03983, eq. 5.

    >>> round(cosine(to=0).over(100)(50), 12)
    0.5
    """
    return Cosine(
        as_optional_duration(duration, "cosine()"),
        to=as_level(to, "cosine(to=)"),
        start=as_optional_level(start, "cosine(start=)"),
        cycles=as_number(cycles, "cosine(cycles=)", above=0.0),
    )


def exponential(
    duration: Length | None = None,
    *,
    to: Level | None = None,
    rate: float | None = None,
    every: Length = 1,
    start: Level | None = None,
) -> Schedule:
    """A geometric decay: v (L / v)^p with `to`, or v rate^(i / e) with `rate` and e = `every` in steps.

    `to` and v lie above 0. Source: Li and Arora, arXiv:1910.07454. In jumps instead of smoothly: `staircase`.

    >>> round(exponential(to=0.01).over(10)(5), 12)
    0.1
    >>> round(exponential(rate=0.5, every=10).over(100)(20), 12)
    0.25
    """
    if (to is None) == (rate is None):
        raise SpecError(
            "exponential() takes exactly one of to= (the level at its end) and rate= (per every=)"
        )
    return Exponential(
        as_optional_duration(duration, "exponential()"),
        to=as_optional_level(to, "exponential(to=)"),
        rate=None if rate is None else as_number(rate, "exponential(rate=)", above=0.0),
        every=as_duration(every, "exponential(every=)"),
        start=as_optional_level(start, "exponential(start=)"),
    )


def polynomial(
    duration: Length | None = None, *, power: float, to: Level = 0.0, start: Level | None = None
) -> Schedule:
    """A power of what is left: L + (v - L) (1 - p)^power. Continued past its end it stays at L.

    `power` has no default, as recipes differ: 0.9 is usual for segmentation, 1 is `linear`.
    Source: Chen et al., arXiv:1606.00915 ("poly").

    >>> polynomial(power=2).over(10)(5)
    0.25
    """
    return Polynomial(
        as_optional_duration(duration, "polynomial()"),
        power=as_number(power, "polynomial(power=)", above=0.0),
        to=as_level(to, "polynomial(to=)"),
        start=as_optional_level(start, "polynomial(start=)"),
    )


def one_minus_sqrt(
    duration: Length | None = None, *, to: Level = 0.0, start: Level | None = None
) -> Schedule:
    """Steep at first, then flatter: L + (v - L) (1 - sqrt(p)), the cooldown of warmup-stable-decay runs.

    Source: Hagele et al., arXiv:2405.18392.

    >>> one_minus_sqrt().over(100)(25)
    0.5
    """
    ends = as_level(to, "one_minus_sqrt(to=)"), as_optional_level(start, "one_minus_sqrt(start=)")
    return OneMinusSqrt(as_optional_duration(duration, "one_minus_sqrt()"), to=ends[0], start=ends[1])


def inverse_sqrt(scale: Length, *, duration: Length | None = None, start: Level | None = None) -> Schedule:
    """Decay as 1 / sqrt(i): v sqrt(s / (i + s)), s = `scale` in steps. Never reaches 0, and needs no horizon.

    Source: Zhai et al., arXiv:2106.04560 ("reciprocal square-root"). After a warmup of s steps it is the
    schedule of Vaswani et al., arXiv:1706.03762.

    >>> inverse_sqrt(100).over(1000)(300)
    0.5
    """
    return InverseSqrt(
        as_duration(scale, "inverse_sqrt()"),
        duration=as_optional_duration(duration, "inverse_sqrt(duration=)"),
        start=as_optional_level(start, "inverse_sqrt(start=)"),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Warmup(Phase):
    name: ClassVar[str] = "warmup"
    duration: Duration
    _: KW_ONLY
    kind: Kind = "linear"
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, n = block.origin(self.start, default=0.0), block.steps
        if v >= 1.0 and n:
            block.notes.append(f"{self} starts at {v:.6g}, so there is nothing to warm up: give it start=0")

        def q(m: Numeric, i: Array) -> Array:
            return (m.real(i) + 1.0) / (n + 1.0)

        match self.kind:
            case "linear":
                return Motion(lambda m, i: v + (1.0 - v) * q(m, i), 1.0)
            case "cosine":
                return Motion(lambda m, i: v + (1.0 - v) * (0.5 - 0.5 * m.cos(math.pi * q(m, i))), 1.0)
            case "exponential":
                if v <= 0.0:
                    raise SpecError(f"{self} cannot rise from 0: give it a start, such as start=0.01")
                log_v = math.log(v)
                return Motion(lambda m, i: m.exp(log_v * (1.0 - q(m, i))), 1.0)


@dataclass(frozen=True, slots=True, repr=False)
class Hold(Phase):
    name: ClassVar[str] = "hold"
    duration: Duration | None = None
    _: KW_ONLY
    level: Level | None = None

    @property
    def _is_spare(self) -> bool:
        return self.duration is None and self.level is None  # a tail: what comes after the end, holds too

    def _bind(self, block: Block) -> Motion:
        v = block.origin(self.level)
        return Motion(lambda m, i: m.real(i) * 0.0 + v, v)


@dataclass(frozen=True, slots=True, repr=False)
class Linear(Phase):
    name: ClassVar[str] = "linear"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, L, n = block.origin(self.start), block.factor(self.to), block.steps
        return Motion(lambda m, i: v + (L - v) * (m.real(i) / n), L)


@dataclass(frozen=True, slots=True, repr=False)
class Cosine(Phase):
    name: ClassVar[str] = "cosine"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None
    cycles: float = 0.5

    def _bind(self, block: Block) -> Motion:
        v, L, n = block.origin(self.start), block.factor(self.to), block.steps
        turn = 2.0 * math.pi * self.cycles
        end = L if self.cycles == 0.5 else L + (v - L) * (0.5 + 0.5 * math.cos(turn))
        return Motion(lambda m, i: L + (v - L) * (0.5 + 0.5 * m.cos(turn * (m.real(i) / n))), end)


@dataclass(frozen=True, slots=True, repr=False)
class Exponential(Phase):
    name: ClassVar[str] = "exponential"
    duration: Duration | None = None
    _: KW_ONLY
    to: Level | None = None
    rate: float | None = None
    every: Duration = _ONE_STEP
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v = block.origin(self.start)
        if self.to is None:
            log_rate = math.log(cast("float", self.rate)) / block.scale(self.every)
            return Motion.running(lambda m, i: v * m.exp(log_rate * m.real(i)), block.steps)
        L, n = block.factor(self.to), block.steps
        if v <= 0.0 or L <= 0.0:
            raise SpecError(
                f"{self} goes from {v:.6g} to {L:.6g}, but no geometric decay touches 0: keep both above it"
            )
        log_ratio = math.log(L) - math.log(v)
        return Motion(lambda m, i: v * m.exp(log_ratio * (m.real(i) / n)), L)


@dataclass(frozen=True, slots=True, repr=False)
class Polynomial(Phase):
    name: ClassVar[str] = "polynomial"
    duration: Duration | None
    _: KW_ONLY
    power: float
    to: Level
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, L, n, k = block.origin(self.start), block.factor(self.to), block.steps, self.power
        return Motion(lambda m, i: L + (v - L) * m.clip(1.0 - m.real(i) / n, 0.0, None) ** k, L)


@dataclass(frozen=True, slots=True, repr=False)
class OneMinusSqrt(Phase):
    name: ClassVar[str] = "one_minus_sqrt"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, L, n = block.origin(self.start), block.factor(self.to), block.steps
        return Motion(lambda m, i: L + (v - L) * (1.0 - m.sqrt(m.clip(m.real(i) / n, 0.0, None))), L)


@dataclass(frozen=True, slots=True, repr=False)
class InverseSqrt(Phase):
    name: ClassVar[str] = "inverse_sqrt"
    scale: Duration
    _: KW_ONLY
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, s = block.origin(self.start), block.scale(self.scale)
        return Motion.running(lambda m, i: v * m.sqrt(s / (m.clip(m.real(i), 0.0, None) + s)), block.steps)
