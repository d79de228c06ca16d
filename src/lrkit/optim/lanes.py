"""What is written where: a lane for each hyperparameter of each group, fed by curves read ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lrkit.errors import SpecError
from lrkit.optim.groups import Target
from lrkit.optim.history import Course
from lrkit.schedule import Curve

__all__ = ["Ahead", "Feed", "Lane", "course_of"]


class Ahead:
    """A curve with its factors for the steps from `start` on at hand."""

    __slots__ = ("curve", "factors", "start")

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.start = 0
        self.factors = np.empty(0)

    def read(self, start: int, stop: int) -> None:
        """Make the factors of the steps `start`, ..., `stop - 1` the ones at hand."""
        factors = self._compute(start, stop)
        self.start, self.factors = start, factors  # together: a Ctrl-C above leaves what was at hand

    def at(self, step: int) -> float:
        """The factor of one step: the same number as `curve(step)`."""
        place = step - self.start
        factors = self.factors[place:] if 0 <= place < len(self.factors) else self._compute(step, step + 1)
        return float(factors[0])

    def _compute(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        end = self.curve.steps
        if self.curve.ending != "error" or stop <= end:
            return self.curve.chunk(start, stop)
        # Groups must hold something between the last update and the one that will be refused: the last value.
        steps = np.minimum(np.arange(start, stop), end - 1)
        values: npt.NDArray[np.float64] = self.curve.chunk(int(steps[0]), end)[steps - steps[0]]
        return values


class Lane:
    """One hyperparameter of one group: `scaled * factor`, at least `floor`; `values` are read ahead.

    `scaled` is the base value times the controllers' `gain`.
    """

    __slots__ = ("ahead", "base", "floor", "key", "place", "scaled", "target", "values")

    def __init__(
        self, target: Target, place: int, base: float, ahead: Ahead, floor: float | None, gain: float
    ) -> None:
        self.target = target
        self.key = target.key
        self.place = place
        self.base = base
        self.scaled = base * gain
        self.ahead = ahead
        self.floor = floor
        self.values: list[float] = []

    def value(self, step: int) -> float:
        """What update `step` uses."""
        value = self.scaled * self.ahead.at(step)
        return value if self.floor is None or value >= self.floor else self.floor

    def read(self) -> None:
        """Fill `values` from what the curve has at hand."""
        values = self.scaled * self.ahead.factors
        self.values = (values if self.floor is None else np.maximum(values, self.floor)).tolist()


class Feed:
    """The curves of one Scheduler, each resolved once and shared by all lanes that follow it."""

    def __init__(self) -> None:
        self._curves: dict[tuple[Course, float | None], Ahead] = {}

    def ahead(self, course: Course, base: float, where: str) -> Ahead:
        """The curve of `course`: one in all, or one for each base value where levels are absolute.

        A SpecError names `where` the schedule does not fit.
        """
        base_lr = base if course.needs_base_lr else None
        key = (course, base_lr)
        if key not in self._curves:
            try:
                self._curves[key] = Ahead(course.curve(base_lr))
            except SpecError as error:
                raise SpecError(f"{where}: {error}") from error
        return self._curves[key]


def course_of(
    courses: Mapping[Target, Course], target: Target, group: Mapping[str, Any], name: str
) -> Course | None:
    """What `target` follows in one group: its own course (by either name), else that of all, else None."""
    for group_name in (name, group.get("name")):
        own = courses.get(replace(target, group=group_name)) if group_name else None
        if own is not None:
            return own
    return courses.get(target)
