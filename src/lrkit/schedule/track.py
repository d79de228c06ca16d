"""A schedule laid out on a run: blocks of steps, and the formulas that fill them. Knows no shapes.

Positions stay exact fractions on the way down and become whole steps (half up) where a phase meets them, so
that phases tile the run whatever their units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lrkit.duration import Duration, Horizon, half_up
from lrkit.schedule.levels import Level, factor_of
from lrkit.schedule.numeric import NUMPY, RUN, Array, Numeric, Steps, on_host

__all__ = ["Block", "Formula", "Motion", "Piece", "Track", "clipped", "product"]

Formula = Callable[[Numeric, Array], Array]
"""`formula(m, i)`: the factors at the steps `i`, counted from the phase's start, in the namespace `m`."""


@dataclass(frozen=True, slots=True)
class Block:
    """The stretch of a run that a schedule is to fill, with all that it may ask about the run.

    `entry` is the level on which the phase before ended (None at the start of the run), `hundred` the steps
    that 100 % stands for, and `notes` gathers what the user should be told once everything is laid out.
    """

    begin: Fraction
    end: Fraction
    entry: float | None
    horizon: Horizon
    hundred: Fraction
    base_lr: float | None
    notes: list[str] = field(compare=False)

    @property
    def start(self) -> int:
        """The first step."""
        return half_up(self.begin)

    @property
    def stop(self) -> int:
        """The step after the last one."""
        return half_up(self.end)

    @property
    def steps(self) -> int:
        """How many steps there are to fill."""
        return self.stop - self.start

    def exactly(self, duration: Duration) -> Fraction:
        """A duration in steps, not rounded."""
        if duration.unit == "percent":
            return duration.amount * self.hundred / 100
        return self.horizon.steps_of(duration)

    def period(self, duration: Duration, what: str) -> int:
        """A duration that comes again and again: whole steps, and one where it rounds to none."""
        steps = half_up(self.exactly(duration))
        if steps < 1 and self.steps:
            self.notes.append(f"the {duration} of {what} round to no step, so each takes one")
        return max(1, steps)

    def scale(self, duration: Duration) -> float:
        """A duration to divide by, not rounded. In an empty block, of which any share is 0, it is 1."""
        return float(self.exactly(duration)) or 1.0

    def factor(self, level: Level) -> float:
        """A level as a factor of this run's base lr."""
        return factor_of(level, self.base_lr)

    def origin(self, start: Level | None, default: float = 1.0) -> float:
        """Where a phase starts: at `start`, else at the running level, else (first in a run) at `default`."""
        if start is not None:
            return self.factor(start)
        return default if self.entry is None else self.entry

    def within(self, begin: Fraction, end: Fraction, entry: float | None) -> Block:
        """A part of this block."""
        return replace(self, begin=begin, end=end, entry=entry)


@dataclass(frozen=True, slots=True)
class Motion:
    """How a phase moves: its formula, and the level on which it ends (what the step after it would have)."""

    formula: Formula
    end: float

    @classmethod
    def running(cls, formula: Formula, steps: int) -> Motion:
        """The motion of a phase that has no `to`: it ends wherever its formula is after `steps` steps."""
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(formula, float(formula(NUMPY, np.array([steps], dtype=np.int64))[0]))


@dataclass(frozen=True, slots=True)
class Piece:
    """A formula in its place: it holds from `start` until `stop`, and `text` says what it is."""

    start: int
    stop: int
    formula: Formula
    text: str


@dataclass(frozen=True, slots=True)
class Track:
    """Pieces side by side, without gaps, and the level after the last of them."""

    pieces: tuple[Piece, ...]
    end: float

    def at(self, m: Numeric, t: Array) -> Array:
        """The factors at the steps `t` of the run; beyond the first and last piece their formulas go on."""
        if len(self.pieces) == 1:
            (piece,) = self.pieces
            return piece.formula(m, t - piece.start if piece.start else t)
        return self._gathered(m, t) if on_host(m) else self._selected(m, t)

    def at_step(self, t: int) -> float:
        """The factor at one step, through an array of one: the very number that a longer one would hold."""
        piece = self.pieces[max(0, bisect_right(self.pieces, t, key=_start) - 1)]
        return float(piece.formula(NUMPY, np.array([t - piece.start], dtype=np.int64))[0])

    def _gathered(self, m: Numeric, t: Steps) -> npt.NDArray[np.float64]:
        """On the host each formula sees its own steps only."""
        flat = t.reshape(-1)
        order = None if m is RUN or np.all(flat[1:] >= flat[:-1]) else np.argsort(flat, kind="stable")
        steps = flat if order is None else flat[order]
        if not len(steps):
            return np.empty(t.shape, dtype=np.float64)
        begun = (
            bisect_right(self.pieces, steps[0], key=_start),
            bisect_right(self.pieces, steps[-1], key=_start),
        )
        pieces = self.pieces[max(0, begun[0] - 1) : max(1, begun[1])]
        starts = np.array([piece.start for piece in pieces[1:]], dtype=np.int64)
        borders = [0, *np.searchsorted(steps, starts).tolist(), len(steps)]
        values = np.empty(flat.shape, dtype=np.float64)
        for piece, (first, last) in zip(pieces, pairwise(borders), strict=True):
            if first < last:
                mine = slice(first, last) if order is None else order[first:last]
                values[mine] = piece.formula(m, steps[first:last] - piece.start)
        return values.reshape(t.shape)

    def _selected(self, m: Numeric, t: Array) -> Array:
        """On a device every formula sees all steps: to pick some is to wait for how many there are."""
        first, *others = self.pieces
        values = first.formula(m, t - first.start)
        for piece in others:
            values = m.where(t >= piece.start, piece.formula(m, t - piece.start), values)
        return values


def _start(piece: Piece) -> int:
    return piece.start


def product(tracks: Sequence[Track], start: int) -> Formula:
    """The formula of several tracks at once, all of which begin at the step `start` of the run."""

    def formula(m: Numeric, i: Array) -> Array:
        first, *others = tracks
        values = first.at(m, i + start)
        for track in others:
            values = values * track.at(m, i + start)
        return values

    return formula


def clipped(formula: Formula, low: float | None, high: float | None) -> Formula:
    """A formula kept within the bounds that are given."""
    return lambda m, i: m.clip(formula(m, i), low, high)
