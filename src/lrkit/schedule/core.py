"""The algebra: a schedule as a value, and the ways to join schedules into another one.

`a >> b` (then), `a * b` (times), `.clip`, `.repeat`, `.skip`, `.after`. The shapes that they join are in `shapes` and
`cycles`. The joints stand in one file with the class whose methods make them: apart, the two would import
each other.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar, cast

from lrkit.duration import Horizon, half_up
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule.curve import Curve, Ending
from lrkit.schedule.levels import (
    Absolute,
    Level,
    as_choice,
    as_count,
    as_number,
    as_optional_level,
    factor_of,
)
from lrkit.schedule.printing import misfit_text, number_text, value_text
from lrkit.schedule.track import Block, Piece, Track, clipped, product

__all__ = ["MAX_PHASES", "Schedule"]

MAX_PHASES = 10_000
"""More phases than anyone writes; it keeps `.repeat(...).repeat(...)` from filling the memory."""


class Schedule(ABC):
    """A learning-rate factor as a function of progress: a frozen, hashable, comparable value.

    `str(schedule)` is the spec that `lrkit.parse` reads, `repr(schedule)` is Python; both come back equal.

    >>> from lrkit.schedule import hold, linear, warmup
    >>> wsd = warmup("2%") >> hold("78%") >> linear(to=0)
    >>> str(wsd)
    'warmup(2%) >> hold(78%) >> linear(to=0)'
    >>> curve = wsd.over(10_000)
    >>> curve(200), curve(9_000)
    (1.0, 0.5)
    """

    __slots__ = ()

    _opaque: ClassVar[bool] = False

    def over(self, horizon: Horizon | int, *, base_lr: float | None = None) -> Curve:
        """Resolve everything to whole steps: the factor as a plain function of the step.

        A bare number is a horizon of so many steps. `base_lr` is needed only where a level is
        `absolute(...)`.

        Raises HorizonError when closed phases overrun the horizon or end before it (it lists them), or when
        the horizon cannot convert a unit; SpecError when a level makes no sense with this base lr. Warns of
        phases that get no step at all (their `to` still is where the next one starts) or can do nothing.
        """
        if not isinstance(horizon, Horizon):
            horizon = Horizon(horizon)
        if base_lr is not None:
            base_lr = as_number(base_lr, "base_lr")
        notes: list[str] = []
        whole = Fraction(horizon.steps)
        track = _lay(self.body, Block(Fraction(0), whole, None, horizon, whole, base_lr, notes))
        if notes:
            first, more = list(dict.fromkeys(notes))[:3], len(set(notes)) - 3
            warnings.warn("; ".join(first) + (f" (and {more} more)" if more > 0 else ""), stacklevel=2)
        return Curve(self, horizon, base_lr, track, self.ending)

    def __rshift__(self, other: Schedule) -> Schedule:
        """First this, then `other`, which starts where this one ends."""
        if not isinstance(other, Schedule):
            return NotImplemented
        if isinstance(self, Ended):
            raise SpecError(f"nothing can follow {self}: write .after({self.then}) at the very end")
        return Then((*_items(self, Then), *_items(other.body, Then))).after(other.ending)

    def __mul__(self, other: Schedule) -> Schedule:
        """Both at once, multiplied: the left operand takes the running level, the others enter at 1."""
        if not isinstance(other, Schedule):
            return NotImplemented
        return Times((*_items(_endless(self, "*"), Times), *_items(_endless(other, "*"), Times)))

    def clip(self, low: Level | None = None, high: Level | None = None) -> Schedule:
        """The same, never below `low` nor above `high` (at least one of them)."""
        low, high = as_optional_level(low, "clip(low=)"), as_optional_level(high, "clip(high=)")
        if low is None and high is None:
            raise SpecError("clip() takes low=, high= or both")
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise SpecError(f"clip(low={number_text(low)}, high={number_text(high)}): low lies above high")
        return Clipped(self.body, low, high).after(self.ending)

    def repeat(self, n: int) -> Schedule:
        """The same `n` times over; every copy restarts at the level on which the first one started.

        Percent and open phases inside refer to one copy: then the copies split what the block gets into whole
        steps, as evenly as can be. Otherwise each copy is as long as its phases.
        """
        return Repeated(_endless(self, ".repeat()"), as_count(n, "repeat()"))

    def after(self, then: Ending) -> Schedule:
        """What comes after the end: "hold" the level (the default), "continue" the formula, or "error"."""
        then = cast("Ending", as_choice(then, "after()", ("hold", "continue", "error")))
        return self.body if then == "hold" else Ended(self.body, then)

    def skip(self, steps: int) -> Schedule:
        """The same, entered so many steps late: what it would do first is not done, and it is as much shorter."""
        from lrkit.schedule.skipping import Skipped

        return self if steps == 0 else Skipped(self.body, as_count(steps, "skip()")).after(self.ending)

    @property
    def body(self) -> Schedule:
        """The schedule without its `.after(...)`."""
        return self.inner if isinstance(self, Ended) else self

    @property
    def ending(self) -> Ending:
        """What comes after the end."""
        return self.then if isinstance(self, Ended) else "hold"

    @property
    def needs_base_lr(self) -> bool:
        """Whether a level is `absolute(...)`, so that `over` must be told the base lr."""
        own = any(isinstance(level, Absolute) for level in self._arguments)
        return own or any(part.needs_base_lr for part in self._parts)

    @property
    def is_opaque(self) -> bool:
        """Whether it holds a Python function, so that no text can stand for it."""
        return self._opaque or any(part.is_opaque for part in self._parts)

    @property
    @abstractmethod
    def _parts(self) -> tuple[Schedule, ...]:
        """The schedules that this one is made of; none for a shape."""

    @property
    def _arguments(self) -> tuple[object, ...]:
        """What else it is made of."""
        return ()

    @property
    def _phase_count(self) -> int:
        """How many phases there are once repeats are written out."""
        return sum(part._phase_count for part in self._parts)

    @property
    def _is_open(self) -> bool:
        """Whether it takes whatever is left, having no length of its own."""
        return any(part._is_open for part in self._parts)

    @property
    def _is_relative(self) -> bool:
        """Whether a phase's length is in percent of the stretch in which it stands."""
        return any(part._is_relative for part in self._parts)

    def _extent(self, block: Block) -> Fraction | None:
        """Its own length in steps, exactly; None when it is open."""
        return None if self._is_open else _total(self._parts, block)

    @abstractmethod
    def _resolve(self, block: Block) -> Track:
        """Its formulas on the whole of `block`."""

    @abstractmethod
    def _written(self, *, python: bool) -> str:
        """Its text: a spec, or Python."""

    def __str__(self) -> str:
        return self._written(python=False)

    def __repr__(self) -> str:
        return self._written(python=True)


@dataclass(frozen=True, slots=True, repr=False)
class Then(Schedule):
    """One after the other: `a >> b`."""

    items: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        opened = [item for item in self.items if item._is_open]
        if len(opened) > 1:
            raise SpecError(
                f"only one phase of a sequence can take what is left, not both {opened[0]} and {opened[1]}:"
                " give one of them a length"
            )
        _check_size(self)

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return self.items

    def _resolve(self, block: Block) -> Track:
        left = block.end - block.begin - _total(self.items, block)
        if self._is_open and left < 0:
            raise _misfit(self, block)
        pieces: list[Piece] = []
        begin, level = block.begin, block.entry
        for item in self.items:
            extent = item._extent(block)
            end = begin + (left if extent is None else extent)
            track = item._resolve(block.within(begin, end, level))
            pieces.extend(track.pieces)
            begin, level = end, track.end
        return Track(tuple(pieces), cast("float", level))

    def _written(self, *, python: bool) -> str:
        return " >> ".join(item._written(python=python) for item in self.items)


@dataclass(frozen=True, slots=True, repr=False)
class Times(Schedule):
    """Several at the same time, multiplied: `a * b`."""

    factors: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        _check_size(self)

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return self.factors

    @property
    def _is_open(self) -> bool:
        return all(factor._is_open for factor in self.factors)

    def _extent(self, block: Block) -> Fraction | None:
        return next((f._extent(block) for f in self.factors if not f._is_open), None)

    def _resolve(self, block: Block) -> Track:
        first, *others = self.factors
        beside = block.within(block.begin, block.end, 1.0)
        tracks = [_lay(first, block), *(_lay(other, beside) for other in others)]
        end = math.prod(track.end for track in tracks)
        if not math.isfinite(end):
            raise SpecError(f"{self} grows beyond what a float holds")
        if not block.steps:
            return Track((), end)
        return Track((Piece(block.start, block.stop, product(tracks, block.start), str(self)),), end)

    def _written(self, *, python: bool) -> str:
        return " * ".join(_bracketed(factor, (Then,), python=python) for factor in self.factors)


@dataclass(frozen=True, slots=True, repr=False)
class Clipped(Schedule):
    """Kept within bounds: `a.clip(low, high)`."""

    inner: Schedule
    low: Level | None
    high: Level | None

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.inner,)

    @property
    def _arguments(self) -> tuple[object, ...]:
        return (self.low, self.high)

    def _resolve(self, block: Block) -> Track:
        low = None if self.low is None else block.factor(self.low)
        # A cap above the base lr is idle, not wrong: other groups may need it.
        high = None if self.high is None else factor_of(self.high, block.base_lr, floor=False)
        if low is not None and high is not None and low > high:
            raise SpecError(f"{self}: with a base lr of {block.base_lr} low lies above high")
        inner = self.inner._resolve(block)
        pieces = (Piece(p.start, p.stop, clipped(p.formula, low, high), p.text) for p in inner.pieces)
        end = inner.end if low is None else max(inner.end, low)
        return Track(tuple(pieces), end if high is None else min(end, high))

    def _written(self, *, python: bool) -> str:
        bounds = (("low", self.low), ("high", self.high))
        given = ", ".join(f"{k}={value_text(v, python=python)}" for k, v in bounds if v is not None)
        return f"{_bracketed(self.inner, (Then, Times), python=python)}.clip({given})"


@dataclass(frozen=True, slots=True, repr=False)
class Repeated(Schedule):
    """Several times over: `a.repeat(n)`."""

    inner: Schedule
    count: int

    def __post_init__(self) -> None:
        _check_size(self)

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.inner,)

    @property
    def _phase_count(self) -> int:
        return self.count * self.inner._phase_count

    @property
    def _is_open(self) -> bool:
        return self.inner._is_open or self.inner._is_relative

    @property
    def _is_relative(self) -> bool:
        return False  # percent inside is of one copy, whatever the stretch around it

    def _extent(self, block: Block) -> Fraction | None:
        one = None if self._is_open else self.inner._extent(block)
        return None if one is None else self.count * one

    def _resolve(self, block: Block) -> Track:
        pieces: list[Piece] = []
        level = math.nan
        for begin, end in pairwise(self._borders(block)):
            copy = Block(begin, end, block.entry, block.horizon, end - begin, block.base_lr, block.notes)
            track = _lay(self.inner, copy)
            pieces.extend(track.pieces)
            level = track.end
        return Track(tuple(pieces), level)

    def _written(self, *, python: bool) -> str:
        return f"{_bracketed(self.inner, (Then, Times), python=python)}.repeat({self.count})"

    def _borders(self, block: Block) -> list[Fraction]:
        one = None if self._is_open else self.inner._extent(block)
        if one is not None:
            return [block.begin + k * one for k in range(self.count + 1)]
        shares = (half_up(Fraction(k * block.steps, self.count)) for k in range(self.count + 1))
        return [Fraction(block.start + share) for share in shares]


@dataclass(frozen=True, slots=True, repr=False)
class Ended(Schedule):
    """With a say about what comes after: `a.after("continue")`. Only ever the outermost part."""

    inner: Schedule
    then: Ending

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.inner,)

    def _resolve(self, block: Block) -> Track:
        return self.inner._resolve(block)

    def _written(self, *, python: bool) -> str:
        then = value_text(self.then, python=python)
        return f"{_bracketed(self.inner, (Then, Times), python=python)}.after({then})"


def _items(schedule: Schedule, kind: type[Then] | type[Times]) -> tuple[Schedule, ...]:
    return schedule._parts if isinstance(schedule, kind) else (schedule,)


def _endless(schedule: Schedule, where: str) -> Schedule:
    if isinstance(schedule, Ended):
        raise SpecError(f"{schedule} cannot stand in {where}: write .after({schedule.then}) at the very end")
    return schedule


def _check_size(schedule: Schedule) -> None:
    if schedule._phase_count > MAX_PHASES:
        raise SpecError(f"a schedule of {schedule._phase_count} phases is too large: at most {MAX_PHASES}")


def _lay(schedule: Schedule, block: Block) -> Track:
    """`schedule` on the whole of `block`: one that has a length of its own must have this one."""
    extent = schedule._extent(block)
    if extent is not None and half_up(block.begin + extent) != block.stop:
        raise _misfit(schedule, block)
    return schedule._resolve(block)


def _total(items: Sequence[Schedule], block: Block) -> Fraction:
    return sum((item._extent(block) or Fraction(0) for item in items), Fraction(0))


def _misfit(schedule: Schedule, block: Block) -> HorizonError:
    items = _items(schedule, Then)
    shown = [(str(item), item._extent(block)) for item in items[:20]]
    return HorizonError(misfit_text(shown, len(items), _total(items, block), block.end - block.begin))


def _bracketed(schedule: Schedule, kinds: tuple[type[Schedule], ...], *, python: bool) -> str:
    text = schedule._written(python=python)
    return f"({text})" if isinstance(schedule, kinds) else text
