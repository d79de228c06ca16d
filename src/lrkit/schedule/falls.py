"""Falls: from the start value to `to` along a curve that the progress alone decides.

Each is a profile, what is left of the fall: 1 at progress p = 0, as a rule 0 at p = 1. With v the start value
and L the `to` value the factor is L + (v - L) profile(p), p = i / n at step i of n. When a phase starts, and
what else holds for every shape, is said in `shapes`. Half waves are in `waves`, decays that know no end in
`running`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, cast

from lrkit.duration import Duration, half_up
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
)
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.phase import Phase
from lrkit.schedule.shapes import Length
from lrkit.schedule.track import Block, Motion

__all__ = [
    "Profile",
    "delayed",
    "falling",
    "hyperbolic",
    "one_minus_sqrt",
    "polynomial",
    "rex",
    "shifted_exponential",
    "tanh",
]

Bend = Literal["linear", "exponential"]

Profile = Callable[[Numeric, Array], Array]
"""What is left of a fall at the progress p."""


def polynomial(
    duration: Length | None = None,
    *,
    power: float,
    to: Level = 0.0,
    start: Level | None = None,
    k: float = 1.0,
) -> Schedule:
    """A power of what is left: L + (v - L) (1 - p^k)^power. Continued past its end it stays at L.

    `power` has no default, as recipes differ: 0.9 is usual for segmentation, 1 is `linear`. `k` above 1 falls
    later ("k-decay"). Sources: Chen et al., arXiv:1606.00915 ("poly"); Zhang and Li, arXiv:2004.05909 (k).

    >>> polynomial(power=2).over(10)(5)
    0.25
    """
    return Polynomial(
        as_optional_duration(duration, "polynomial()"),
        power=as_number(power, "polynomial(power=)", above=0.0),
        to=as_level(to, "polynomial(to=)"),
        start=as_optional_level(start, "polynomial(start=)"),
        k=as_number(k, "polynomial(k=)", above=0.0),
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


def rex(duration: Length | None = None, *, to: Level = 0.0, start: Level | None = None) -> Schedule:
    """Slow at first, then steep: L + (v - L) (1 - p) / (1 - p / 2). Continued past its end it stays at L.

    Source: Chen, Wolfe and Kyrillidis, arXiv:2107.04197 ("reflected exponential").

    >>> round(rex().over(100)(50), 12)
    0.666666666667
    """
    ends = as_level(to, "rex(to=)"), as_optional_level(start, "rex(start=)")
    return Rex(as_optional_duration(duration, "rex()"), to=ends[0], start=ends[1])


def tanh(
    duration: Length | None = None,
    *,
    lower: float = -7.0,
    upper: float = 3.0,
    to: Level = 0.0,
    start: Level | None = None,
) -> Schedule:
    """A flat start, a fall, a flat end: L + (v - L) (1 - tanh(a + (b - a) p)) / 2, a = `lower`, b = `upper`.

    It nears both levels without reaching them: by default it goes from 0.999999 of the fall to 0.0025 of it.
    Source: Hsueh et al., arXiv:1806.01593; the defaults are timm's.

    >>> round(tanh().over(100)(70), 12)
    0.5
    """
    ends = (
        as_number(lower, "tanh(lower=)", least=-math.inf),
        as_number(upper, "tanh(upper=)", least=-math.inf),
    )
    if ends[0] >= ends[1]:
        raise SpecError(f"tanh(lower={ends[0]:.6g}, upper={ends[1]:.6g}): lower must lie below upper")
    return Tanh(
        as_optional_duration(duration, "tanh()"),
        lower=ends[0],
        upper=ends[1],
        to=as_level(to, "tanh(to=)"),
        start=as_optional_level(start, "tanh(start=)"),
    )


def shifted_exponential(
    duration: Length | None = None, *, ratio: float, to: Level = 0.0, start: Level | None = None
) -> Schedule:
    """An exponential decay that does reach its end: L + (v - L) (r^p - r) / (1 - r), r = `ratio` below 1.

    The smaller the ratio, the steeper the start. Continued past its end it stays at L. Sources: Megatron-LM's
    exponential decay, 2 0.5^p - 1, is `ratio=0.5`; the cooldown "exp" of timm is `ratio=0.1`.

    >>> round(shifted_exponential(ratio=0.25).over(100)(50), 12)
    0.333333333333
    """
    share = as_number(ratio, "shifted_exponential(ratio=)", above=0.0)
    if share >= 1.0:
        raise SpecError(
            f"shifted_exponential(ratio={share:.6g}) does not bend down: give a ratio below 1, or write linear()"
        )
    return ShiftedExponential(
        as_optional_duration(duration, "shifted_exponential()"),
        ratio=share,
        to=as_level(to, "shifted_exponential(to=)"),
        start=as_optional_level(start, "shifted_exponential(start=)"),
    )


def hyperbolic(
    duration: Length | None = None,
    *,
    bound: Length,
    to: Level = 0.0,
    start: Level | None = None,
    kind: Bend = "linear",
) -> Schedule:
    """A hyperbola that hardly changes with the run's length: v + (v - L) (h(i) - h(0)).

    Here h(i) = sqrt((n - i) / U (2 - (n + i) / U)), and U = `bound` is the longest run that one has in mind,
    such as "1000 epochs": that run would end at L (`to`), shorter ones end above it but begin alike. With
    kind="exponential" the logarithm of the factor takes that way: v (v / L)^(h(i) - h(0)), L and v above 0.
    Continued past its end it stays where it ended. Source: Kim, arXiv:2407.15200 (HyperbolicLR and, for the
    second kind, ExpHyperbolicLR).

    >>> round(hyperbolic(bound="250%").over(100)(100), 12)
    0.2
    """
    return Hyperbolic(
        as_optional_duration(duration, "hyperbolic()"),
        bound=as_duration(bound, "hyperbolic(bound=)"),
        to=as_level(to, "hyperbolic(to=)"),
        start=as_optional_level(start, "hyperbolic(start=)"),
        kind=cast("Bend", as_choice(kind, "hyperbolic(kind=)", ("linear", "exponential"))),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Polynomial(Phase):
    name: ClassVar[str] = "polynomial"
    duration: Duration | None
    _: KW_ONLY
    power: float
    to: Level
    start: Level | None = None
    k: float = 1.0

    def _bind(self, block: Block) -> Motion:
        power, k = self.power, self.k
        return falling(
            block, self.start, self.to, lambda m, p: m.clip(1.0 - delayed(m, p, k), 0.0, None) ** power
        )


@dataclass(frozen=True, slots=True, repr=False)
class OneMinusSqrt(Phase):
    name: ClassVar[str] = "one_minus_sqrt"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        return falling(block, self.start, self.to, lambda m, p: 1.0 - m.sqrt(m.clip(p, 0.0, None)))


@dataclass(frozen=True, slots=True, repr=False)
class Rex(Phase):
    name: ClassVar[str] = "rex"
    duration: Duration | None
    _: KW_ONLY
    to: Level
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        def profile(m: Numeric, p: Array) -> Array:
            p = m.clip(p, None, 1.0)
            return (1.0 - p) / (1.0 - 0.5 * p)

        return falling(block, self.start, self.to, profile)


@dataclass(frozen=True, slots=True, repr=False)
class Tanh(Phase):
    name: ClassVar[str] = "tanh"
    duration: Duration | None = None
    _: KW_ONLY
    lower: float = -7.0
    upper: float = 3.0
    to: Level = 0.0
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        a, b = self.lower, self.upper
        left = 0.5 * (1.0 - math.tanh(b))
        return falling(
            block, self.start, self.to, lambda m, p: 0.5 * (1.0 - m.tanh(a * (1.0 - p) + b * p)), left
        )


@dataclass(frozen=True, slots=True, repr=False)
class ShiftedExponential(Phase):
    name: ClassVar[str] = "shifted_exponential"
    duration: Duration | None = None
    _: KW_ONLY
    ratio: float
    to: Level = 0.0
    start: Level | None = None

    def _bind(self, block: Block) -> Motion:
        r = self.ratio
        return falling(block, self.start, self.to, lambda m, p: (r ** m.clip(p, None, 1.0) - r) / (1.0 - r))


@dataclass(frozen=True, slots=True, repr=False)
class Hyperbolic(Phase):
    name: ClassVar[str] = "hyperbolic"
    duration: Duration | None = None
    _: KW_ONLY
    bound: Duration
    to: Level = 0.0
    start: Level | None = None
    kind: Bend = "linear"

    def _bind(self, block: Block) -> Motion:
        v, L, n = block.origin(self.start), block.factor(self.to), block.steps
        if half_up(block.exactly(self.bound)) < n:
            raise SpecError(
                f"{self} lasts {n} steps, longer than its bound, {half_up(block.exactly(self.bound))} steps:"
                " raise the bound"
            )
        U = max(float(n), block.scale(self.bound))
        h0 = math.sqrt(n / U * (2.0 - n / U))

        def h(m: Numeric, i: Array) -> Array:
            x = m.clip(m.real(i), None, n)
            return m.sqrt((n - x) / U * (2.0 - (n + x) / U))

        if self.kind == "linear":
            return Motion(lambda m, i: v + (v - L) * (h(m, i) - h0), v - (v - L) * h0)
        if v <= 0.0 or L <= 0.0:
            raise SpecError(f"{self} goes from {v:.6g} towards {L:.6g}: keep both levels above 0")
        log_ratio = math.log(v) - math.log(L)
        return Motion(lambda m, i: v * m.exp(log_ratio * (h(m, i) - h0)), v * math.exp(-log_ratio * h0))


def falling(block: Block, start: Level | None, to: Level, profile: Profile, left: float = 0.0) -> Motion:
    """The motion along a profile, of which `left` is what is left at the end."""
    v, L, n = block.origin(start), block.factor(to), block.steps
    end = L + (v - L) * left if left else L
    return Motion(lambda m, i: L + (v - L) * profile(m, m.real(i) / n), end)


def delayed(m: Numeric, p: Array, k: float) -> Array:
    """The progress, delayed by a `k` above 1."""
    return p if k == 1.0 else m.clip(p, 0.0, None) ** k
