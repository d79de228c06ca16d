"""Whole schedules one after the other, each for its stretch and no longer. Within one spec that is `>>`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

from lrkit import schedule as s
from lrkit.convert.arguments import as_steps
from lrkit.convert.pieces import sequence
from lrkit.duration import brief
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_sequence

__all__ = ["join"]


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Schedule k from the boundary before it on, its own steps counted from there. The last one is not cut.

    >>> from lrkit.schedule import cosine, linear
    >>> str(join([linear(to=0), cosine(10)], [4]))
    'linear(to=0) * hold(4) >> cosine(10, to=0)'
    """
    parts = as_sequence(schedules)
    if not parts or not all(isinstance(part, Schedule) for part in parts):
        raise SpecError(f"schedules takes a list of Schedules, not {brief(schedules)}")
    marks = [as_steps(mark, "boundaries") for mark in as_sequence(boundaries) or ()]
    if len(marks) != len(parts) - 1 or marks != sorted(marks):
        raise SpecError(f"{len(parts)} schedules take {len(parts) - 1} boundaries in order, not {marks}")
    stretches = [
        _cut(part, end - begin)
        for part, (begin, end) in zip(schedules, pairwise([0, *marks]), strict=False)
        if end > begin
    ]
    last = schedules[-1]
    return sequence(*stretches, last.body, after=last.ending)


def _cut(schedule: Schedule, steps: int) -> Schedule:
    """The first `steps` steps of a schedule, whatever its own length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say is said when the whole is laid out
        for doubled in range(50):
            try:
                curve = schedule.over(steps << doubled)
            except HorizonError:
                continue
            if not doubled:
                return schedule.body * s.hold(steps)
            return s.table(curve.chunk(0, steps).tolist(), duration=steps)
    raise SpecError(f"{schedule} does not fit into its stretch of {steps} steps, nor any longer one")
