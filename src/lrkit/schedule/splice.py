"""Changing one's mind during a run: a curve, and another one that leaves it at some step. Pure, like all curves.

What was done stays as it was: before the step `at` the new curve is the old one. Nothing here jumps unless the
new schedule says so itself: what follows starts at the level on which the old curve is at `at`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from lrkit.duration import Duration, Horizon, brief, half_up, whole_number
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule.levels import as_choice
from lrkit.schedule.numeric import NUMPY, Array, Numeric, on_host
from lrkit.schedule.track import Block, Formula, Piece, Track

if TYPE_CHECKING:
    from lrkit.schedule.core import Schedule
    from lrkit.schedule.curve import Curve

__all__ = ["Change", "How", "changed", "decayed_horizon", "rebatched_horizon"]

How = Literal["stretch", "hold", "continue", "again", "replace", "rebatch"]
"""What happens to the rest of a curve when it is changed; `Change` says what each means."""


@dataclass(frozen=True, slots=True)
class Change:
    """From step `at` on the run has another horizon, and the rest of the curve follows from `how`.

    stretch:  the rest as planned, played slower (or faster) so that it ends with the new horizon;
    hold:     the level of `at` for as many steps as there are more, then the rest as planned;
    continue: the rest as planned to its old end, after it what the schedule says of that (`.after`);
    again:    the schedule anew over what is left, from the level of `at` on: one that begins with a warmup
              warms up again, another one falls from where it is;
    replace:  the same with another `schedule`; its percent and open phases share what is left;
    rebatch:  the rest at the same place in the data though an update takes another number of samples.

    Between the old curve's steps, stretch and rebatch go in straight lines.
    """

    at: int
    how: How
    horizon: Horizon
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        as_choice(self.how, "how=", tuple(_RESTS))
        if (self.schedule is None) == (self.how == "replace"):
            raise SpecError(
                f"how={self.how!r} with schedule={self.schedule!r}: 'replace' takes one, the others none"
            )
        at = whole_number(self.at)
        if at is None or at < 0:
            raise HorizonError(
                f"at={brief(self.at)}: it is the number of updates done, a whole number from 0"
            )
        object.__setattr__(self, "at", at)
        if self.horizon.steps <= at:
            raise HorizonError(
                f"the run would end after {self.horizon.steps} steps and {at} are done: give a longer horizon"
            )


def changed(curve: Curve, change: Change) -> Curve:
    """`curve` as it is before `change.at`, and what follows from the change after it.

    Raises HorizonError when the change does not fit the horizon, SpecError when a level does not fit.
    """
    schedule, notes = change.schedule or curve.schedule, list[str]()
    rest = _RESTS[change.how](curve, change, schedule, notes)
    if notes:
        warnings.warn("; ".join(dict.fromkeys(notes)), stacklevel=3)
    pieces = (*_before(curve, change.at), *rest.pieces)
    ending = schedule.ending if change.how in ("again", "replace") else curve.ending
    return replace(
        curve,
        schedule=schedule,
        horizon=change.horizon,
        track=Track(pieces, rest.end),
        ending=ending,
        origin=(curve, change),
    )


def decayed_horizon(horizon: Horizon, at: int, duration: Duration) -> Horizon:
    """The horizon of a run that ends `duration` after step `at`; percent is a share of that shorter (or longer) run."""
    if duration.unit == "percent":
        if duration.amount >= 100:
            raise HorizonError(f"{duration} of the run for its decay, and {at} updates are done: give less")
        steps = at * duration.amount / (100 - duration.amount)
    else:
        steps = horizon.steps_of(duration)
    return replace(horizon, steps=at + max(1, half_up(Fraction(steps))))


def rebatched_horizon(horizon: Horizon, at: int, batch_size: int) -> Horizon:
    """The horizon of a run whose updates take `batch_size` samples from step `at` on, over the same data in all.

    `steps_per_epoch` and `tokens_per_step` change with it, to the nearest whole number.
    """
    new = whole_number(batch_size)
    if new is None or new < 1:
        raise HorizonError(f"batch_size={brief(batch_size)}: it is a whole number from 1 on")
    if horizon.batch_size is None:
        raise HorizonError(
            f"another batch size, {new}, than which? Give the run's own: Horizon(batch_size=...)"
        )
    ratio = Fraction(new, horizon.batch_size)
    epoch, tokens = horizon.steps_per_epoch, horizon.tokens_per_step
    return Horizon(
        at - ((at - horizon.steps) * ratio.denominator // ratio.numerator),
        batch_size=new,
        steps_per_epoch=None if epoch is None else max(1, half_up(epoch / ratio)),
        tokens_per_step=None if tokens is None else max(1, half_up(tokens * ratio)),
    )


def _stretched(curve: Curve, change: Change, schedule: Schedule, notes: list[str]) -> Track:
    del schedule, notes
    left = curve.steps - change.at
    if left <= 0:
        raise HorizonError(
            f"{change.at} updates are done and the schedule ended after {curve.steps}: there is nothing left to"
            " stretch; choose how='hold', 'continue' or 'again', or replace it"
        )
    return _paced(curve, change, Fraction(left, change.horizon.steps - change.at))


def _rebatched(curve: Curve, change: Change, schedule: Schedule, notes: list[str]) -> Track:
    del schedule, notes
    new, old = change.horizon.batch_size, curve.horizon.batch_size
    if new is None or old is None:
        raise HorizonError("a change of the batch size needs it, before and after: Horizon(batch_size=...)")
    return _paced(curve, change, Fraction(new, old))


def _paced(curve: Curve, change: Change, rate: Fraction) -> Track:
    """The rest of the curve, `rate` of its steps in each new one."""
    at, end = change.at, change.horizon.steps
    if (end - at) * rate.numerator >= 2**62:
        raise HorizonError(f"{end - at} steps at {float(rate):.6g} of the pace are too many to count")
    pieces = []
    for piece in curve.track.pieces:
        first, stop = max(piece.start, at), min(piece.stop, curve.steps)
        if first < stop:
            start = at - ((at - first) * rate.denominator // rate.numerator)
            until = at - ((at - stop) * rate.denominator // rate.numerator)
            if start < min(until, end):
                formula = _between(piece.formula, start - at, at - piece.start, rate)
                pieces.append(Piece(start, min(until, end), formula, piece.text))
    if not pieces:  # past its end: what it holds there
        return _flat(curve, at, end)
    last = pieces[-1]
    if last.stop < end:
        return Track((*pieces, *_flat(curve, last.stop, end, curve.track.end).pieces), curve.track.end)
    return Track(tuple(pieces), curve.track.end)


@dataclass(frozen=True, slots=True)
class _Pace:
    """Where the step `i` of a piece lies in the one it was made from: at `offset + (begin + i) * rate`."""

    begin: int
    offset: int
    rate: Fraction


@dataclass(frozen=True, slots=True)
class _Paced:
    """`formula` at other paces, the outermost first; between the whole steps of each in a straight line.

    All paces are gone through together: as formulas within formulas, each of which needs the next one at two
    steps, a run that was changed n times would take 2^n of them.
    """

    formula: Formula
    paces: tuple[_Pace, ...]

    def __call__(self, m: Numeric, i: Array) -> Array:
        """The factors, as every formula gives them."""
        return self._on_host(i) if on_host(m) else self._on_device(m, i)

    def _on_host(self, i: Array) -> Array:
        """Down to the steps that are needed, each once, and up again."""
        steps, ways = np.asarray(i).reshape(-1), []
        for pace in self.paces:
            top, bottom = pace.rate.numerator, pace.rate.denominator
            position = (steps + pace.begin) * top
            low = position // bottom + pace.offset
            steps = np.unique(low if bottom == 1 else np.concatenate([low, low + 1]))
            ways.append((np.searchsorted(steps, low), position % bottom, bottom))
        values = self.formula(NUMPY, steps)
        for place, part, bottom in reversed(ways):
            values = values[place] if bottom == 1 else _line(values[place], values[place + 1], part / bottom)
        return values.reshape(np.shape(i))

    def _on_device(self, m: Numeric, i: Array) -> Array:
        """The same, without looking at a step: at each pace, what is needed lies at fixed distances from the lowest."""
        lowest, needed, ways = i, {0}, []
        for pace in self.paces:
            top, bottom = pace.rate.numerator, pace.rate.denominator
            first = (lowest + pace.begin) * top
            lowest = first // bottom + pace.offset
            ways.append((first % bottom, pace.rate, needed))
            needed = {step for by in needed for step in _around(by, pace.rate)}
        values = {by: self.formula(m, lowest + by) for by in needed}
        for part, rate, wanted in reversed(ways):
            values = {by: _at_part(m, values, part, by, rate) for by in wanted}
        return values[0]


def _around(by: int, rate: Fraction) -> tuple[int, ...]:
    """The steps that `by` steps at this rate may come to lie between, counted from where the first one lies."""
    least, rest = divmod(by * rate.numerator, rate.denominator)
    if rate.denominator == 1:
        return (least,)
    return (least, least + 1, least + 2) if rest else (least, least + 1)


def _at_part(m: Numeric, values: dict[int, Array], part: Array, by: int, rate: Fraction) -> Array:
    """The value `by` steps after a first one that lies `part` denominators of the rate past a whole step."""
    bottom = rate.denominator
    least, *more = _around(by, rate)
    if not more:
        return values[least]
    part = part + by * rate.numerator % bottom
    low, high = values[least], values[least + 1]
    if len(more) > 1:
        low, high = m.where(part >= bottom, high, low), m.where(part >= bottom, values[least + 2], high)
    return _line(low, high, m.real(part % bottom) / bottom)


def _line(low: Array, high: Array, part: Array) -> Array:
    return low + part * (high - low)


def _between(formula: Formula, begin: int, offset: int, rate: Fraction) -> Formula:
    """`formula` at the step `offset + (begin + i) * rate`, in a straight line between whole steps."""
    if rate == 1:
        return _shifted(formula, begin + offset)
    pace = _Pace(begin, offset, rate)
    if isinstance(formula, _Paced):
        return _Paced(formula.formula, (pace, *formula.paces))
    return _Paced(formula, (pace,))


def _shifted(formula: Formula, by: int) -> Formula:
    """`formula`, so many steps on."""
    if isinstance(formula, _Paced):
        first, *others = formula.paces
        return _Paced(formula.formula, (replace(first, begin=first.begin + by), *others))
    return lambda m, i: formula(m, i + by)


def _held(curve: Curve, change: Change, schedule: Schedule, notes: list[str]) -> Track:
    del schedule, notes
    at, end = change.at, change.horizon.steps
    more = end - max(at, curve.steps)
    if more < 0:
        raise HorizonError(
            f"how='hold' makes a run longer, and {end} steps are fewer than {curve.steps}:"
            " choose how='stretch' or 'continue'"
        )
    rest = [
        Piece(
            max(piece.start, at) + more,
            piece.stop + more,
            _shifted(piece.formula, max(0, at - piece.start)),
            piece.text,
        )
        for piece in curve.track.pieces
        if piece.stop > at
    ]
    return Track((*_flat(curve, at, at + more).pieces, *rest), curve.track.end)


def _continued(curve: Curve, change: Change, schedule: Schedule, notes: list[str]) -> Track:
    del notes
    at, end = change.at, change.horizon.steps
    rest = [
        Piece(
            max(piece.start, at),
            min(piece.stop, end),
            _shifted(piece.formula, max(0, at - piece.start)),
            piece.text,
        )
        for piece in curve.track.pieces
        if piece.stop > at and max(piece.start, at) < end
    ]
    if end <= curve.steps:
        return Track(tuple(rest), curve.track.end if end == curve.steps else float(curve(end)))
    if curve.ending == "error":
        raise HorizonError(
            f"{schedule} ends after {curve.steps} steps and says .after('error'): choose how='stretch', 'hold' or"
            " 'again'"
        )
    begin = max(at, curve.steps)
    text = str(schedule) if curve.ending == "continue" else f"hold({end - begin})"
    return Track((*rest, Piece(begin, end, _tail(curve, begin), text)), float(curve(end)))


def _tail(curve: Curve, begin: int) -> Formula:
    """What the curve itself gives from `begin` on, past its end."""
    return lambda m, i: curve._at(m, i + begin)


def _laid(curve: Curve, change: Change, schedule: Schedule, notes: list[str]) -> Track:
    from lrkit.schedule.core import _lay  # it makes curves, and those lead here

    at, end = Fraction(change.at), Fraction(change.horizon.steps)
    entry = float(curve(change.at)) if change.at else None
    block = Block(at, end, entry, change.horizon, end - at, curve.base_lr, notes)
    return _lay(schedule.body, block)


def _flat(curve: Curve, begin: int, end: int, level: float | None = None) -> Track:
    level = float(curve(begin)) if level is None else level
    if begin >= end:
        return Track((), level)

    def formula(m: Numeric, i: Array) -> Array:
        return m.real(i) * 0.0 + level

    return Track((Piece(begin, end, formula, f"hold({end - begin})"),), level)


def _before(curve: Curve, at: int) -> list[Piece]:
    """What is done: the old curve up to `at`, and past its end what it had there."""
    done = [replace(piece, stop=min(piece.stop, at)) for piece in curve.track.pieces if piece.start < at]
    if at > curve.steps:
        done.append(Piece(curve.steps, at, _tail(curve, curve.steps), "hold()"))
    return done


_Rest = Callable[["Curve", Change, "Schedule", list[str]], Track]

_RESTS: dict[str, _Rest] = {
    "stretch": _stretched,
    "hold": _held,
    "continue": _continued,
    "again": _laid,
    "replace": _laid,
    "rebatch": _rebatched,
}
