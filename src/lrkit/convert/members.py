"""A schedule as a member of a peer's sequence: it begins anew at factor 1, and gives way after so many steps."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

from lrkit.convert.excerpt import Excerpt, excerpt
from lrkit.duration import Duration, half_up
from lrkit.schedule import Schedule
from lrkit.schedule.core import Then, Times
from lrkit.schedule.jumps import Milestones
from lrkit.schedule.phase import Phase

__all__ = ["anew", "head", "natural_length"]


def anew(schedule: Schedule) -> Schedule:
    """The same, starting at factor 1 wherever it stands, not at the running level.

    >>> from lrkit.schedule import cosine
    >>> str(anew(cosine(10)))
    'cosine(10, to=0, start=1)'
    """
    match schedule.body:
        case Then() as sequence:
            first, *others = sequence.items
            return replace(sequence, items=(anew(first), *others)).after(schedule.ending)
        case Times() as product:
            first, *others = product.factors
            return replace(product, factors=(anew(first), *others)).after(schedule.ending)
        case Phase() as phase if _field(phase, "start", "") is None:
            again: Schedule = replace(phase, start=1.0)  # type: ignore[type-var]  # a field of this very phase
            return again.after(schedule.ending)
        case _:
            return schedule


def head(schedule: Schedule, steps: int) -> Schedule:
    """Its first `steps` steps, from factor 1: in its own phases where they end there, else an excerpt."""
    taken: list[Schedule] = []
    left = steps
    body = anew(schedule).body
    for item in body.items if isinstance(body, Then) else (body,):
        if not left:
            break
        length = _steps(item)
        if length is None and isinstance(item, Phase):
            taken.append(_lasting(item, left))
            left = 0
        elif length is not None and length <= left:
            taken.append(item)
            left -= length
        else:
            return excerpt(schedule, natural_length(schedule), duration=steps).body
    if left or not taken:
        return excerpt(schedule, natural_length(schedule), duration=steps).body
    joined = taken[0]
    for item in taken[1:]:
        joined = joined >> item
    return joined


def natural_length(schedule: Schedule) -> int:
    """The fewest steps that it can be laid out over with every phase and milestone in place.

    >>> from lrkit.schedule import hold, linear
    >>> natural_length(linear(5) >> hold())
    6
    """
    body = schedule.body
    if isinstance(body, Then):
        return sum(natural_length(item) for item in body.items)
    if isinstance(body, Times):
        closed = [length for factor in body.factors if (length := _steps(factor)) is not None]
        return closed[0] if closed else max(natural_length(factor) for factor in body.factors)
    length = _steps(body)
    if length is not None:
        return length
    if isinstance(body, Excerpt):
        return max(1, body.steps - body.first)
    marks = body.at if isinstance(body, Milestones) else ()
    return max((half_up(mark.amount) for mark in marks), default=0) + 1


def _steps(item: Schedule) -> int | None:
    """The length of something that counts in steps; None where it takes what is left."""
    if isinstance(item, Times):
        return next((n for factor in item.factors if (n := _steps(factor)) is not None), None)
    if isinstance(item, Then):
        return None if item._is_open else sum(_steps(part) or 0 for part in item.items)
    duration = _field(item, "duration", None)
    return None if duration is None else half_up(Fraction(duration.amount))


def _lasting(phase: Phase, steps: int) -> Schedule:
    """An open phase with a length."""
    lasting: Schedule = replace(phase, duration=Duration.of(steps))  # type: ignore[type-var]  # as above
    return lasting


def _field(schedule: Schedule, name: str, otherwise: Any) -> Any:
    """A field's value; `otherwise` where there is no such field, or it means something of its own."""
    own = isinstance(schedule, Excerpt) or type(schedule).__name__ in ("OneCycle", "Warmup")
    if own and name == "start":
        return otherwise
    names = {f.name for f in fields(schedule)} if isinstance(schedule, Phase) else set()  # type: ignore[arg-type]
    return getattr(schedule, name) if name in names else otherwise
