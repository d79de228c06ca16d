"""Decays on a clock of their own: they need no horizon, and end wherever they are when their phase is over.

In the formulas i is the step of the phase and v its start value, as in `shapes`.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, cast

import numpy as np

from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import (
    Level,
    as_choice,
    as_duration,
    as_number,
    as_optional_duration,
    as_optional_level,
)
from lrkit.schedule.numeric import NUMPY, Array, Numeric
from lrkit.schedule.periods import stairs
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Motion

__all__ = ["exponential", "inverse_sqrt", "inverse_time", "power"]

Form = Literal["smooth", "stair"]

_ONE_STEP = Duration.of(1)


def exponential(
    duration: Length | None = None,
    *,
    to: Level | None = None,
    rate: float | None = None,
    every: Length = 1,
    start: Level | None = None,
) -> Schedule:
    """A geometric decay: v (L / v)^p with `to`, or v rate^(i / e) with `rate` and e = `every` in steps.

    `to` and v lie above 0. In jumps instead of smoothly: `staircase`; down to 0 itself: `shifted_exponential`.
    Source: Li and Arora, arXiv:1910.07454.

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


def inverse_sqrt(
    scale: Length, *, duration: Length | None = None, to: Level | None = None, start: Level | None = None
) -> Schedule:
    """Decay as 1 / sqrt(i): v r(i), r(i) = sqrt(s / (i + s)), s = `scale` in steps. Never reaches 0.

    With `to` = L it is stretched to end there: v + (L - v) (1 - r(i)) / (1 - r(n)); continued past its end it
    then goes on below L. Sources: Zhai et al., arXiv:2106.04560 ("reciprocal square-root"); with `to`, Ibrahim
    et al., arXiv:2403.08763. After a warmup of s steps it is the schedule of Vaswani et al., arXiv:1706.03762.

    >>> inverse_sqrt(100).over(1000)(300)
    0.5
    >>> inverse_sqrt(100, to=0).over(300)(300)
    0.0
    """
    return InverseSqrt(
        as_duration(scale, "inverse_sqrt()"),
        duration=as_optional_duration(duration, "inverse_sqrt(duration=)"),
        to=as_optional_level(to, "inverse_sqrt(to=)"),
        start=as_optional_level(start, "inverse_sqrt(start=)"),
    )


def power(
    scale: Length, *, exponent: float, duration: Length | None = None, start: Level | None = None
) -> Schedule:
    """A power law of the step: v (s / (i + s))^exponent, s = `scale` in steps. Never reaches 0.

    An exponent of 0.5 is `inverse_sqrt`. Where s is the number of steps before the phase, it is a power of
    the steps since the start of the run. Source: Shen et al., arXiv:2408.13359 (exponent 0.51).

    >>> power(100, exponent=2).over(1000)(100)
    0.25
    """
    return Power(
        as_duration(scale, "power()"),
        exponent=as_number(exponent, "power(exponent=)", above=0.0),
        duration=as_optional_duration(duration, "power(duration=)"),
        start=as_optional_level(start, "power(start=)"),
    )


def inverse_time(
    rate: float,
    *,
    every: Length = 1,
    form: Form = "smooth",
    duration: Length | None = None,
    start: Level | None = None,
) -> Schedule:
    """Decay as 1 / i: v / (1 + rate i / e), e = `every` in steps. Never reaches 0.

    form="stair" counts whole multiples of e only (i // e), e rounded half up to whole steps.
    Source: Robbins and Monro, doi:10.1214/aoms/1177729586; as Keras' InverseTimeDecay.

    >>> inverse_time(1, every=100).over(1000)(300)
    0.25
    """
    return InverseTime(
        as_number(rate, "inverse_time()", above=0.0),
        every=as_duration(every, "inverse_time(every=)"),
        form=cast("Form", as_choice(form, "inverse_time(form=)", ("smooth", "stair"))),
        duration=as_optional_duration(duration, "inverse_time(duration=)"),
        start=as_optional_level(start, "inverse_time(start=)"),
    )


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
class InverseSqrt(Phase):
    name: ClassVar[str] = "inverse_sqrt"
    scale: Duration
    _: KW_ONLY
    duration: Duration | None = None
    to: Level | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, s, n = block.origin(self.start), block.scale(self.scale), block.steps

        def r(m: Numeric, x: Array) -> Array:
            return m.sqrt(s / (x + s))

        if self.to is None:
            return Motion.running(lambda m, i: v * r(m, m.clip(m.real(i), 0.0, None)), n)

        def fallen(m: Numeric, x: Array) -> Array:
            return x / (x + s) / (1.0 + r(m, x))  # 1 - r(x), which would lose its digits where s is large

        L, whole = block.factor(self.to), float(fallen(NUMPY, np.float64(n)))
        return Motion(lambda m, i: v + (L - v) * (fallen(m, m.clip(m.real(i), 0.0, None)) / whole), L)


@dataclass(frozen=True, slots=True, repr=False)
class Power(Phase):
    name: ClassVar[str] = "power"
    scale: Duration
    _: KW_ONLY
    exponent: float
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, s, a = block.origin(self.start), block.scale(self.scale), self.exponent
        return Motion.running(lambda m, i: v * (s / (m.clip(m.real(i), 0.0, None) + s)) ** a, block.steps)


@dataclass(frozen=True, slots=True, repr=False)
class InverseTime(Phase):
    name: ClassVar[str] = "inverse_time"
    rate: float
    _: KW_ONLY
    every: Duration = _ONE_STEP
    form: Form = "smooth"
    duration: Duration | None = None
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        v, rate = block.origin(self.start), self.rate
        if self.form == "stair":
            e = block.period(self.every, "inverse_time")
            stair = stairs(lambda m, k: v / (1.0 + rate * m.clip(m.real(k), 0.0, None)), e)
            return Motion.running(stair, block.steps)
        scale = block.scale(self.every)
        return Motion.running(
            lambda m, i: v / (1.0 + rate * (m.clip(m.real(i), 0.0, None) / scale)), block.steps
        )
