"""The plainest shapes: warmup, hold and the straight line. For the others see the modules beside this one.

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
    as_level,
    as_optional_duration,
    as_optional_level,
    as_required_duration,
)
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.phase import Phase
from lrkit.schedule.track import Block, Motion

__all__ = ["Length", "hold", "linear", "warmup"]

Length = int | float | str | Duration
"""What the door takes for a duration: whole steps, or text with a unit."""

Kind = Literal["linear", "cosine", "exponential"]


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
                return Motion(lambda m, i: v + (1.0 - v) * (1.0 - m.half_wave(math.pi * q(m, i))), 1.0)
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
