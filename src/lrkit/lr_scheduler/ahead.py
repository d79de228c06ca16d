"""A schedule's factors as plain floats, read ahead in chunks, at any step from 0 on without an end."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from lrkit.convert.members import natural_length
from lrkit.schedule import Curve, Schedule

__all__ = ["CHUNK", "Ahead"]

CHUNK = 1024  # steps read ahead: numpy's fixed cost is spread thin, and the lists stay small


class Ahead:
    """The factors of a schedule: `at(step)` for one, `chunk(start, stop)` for many; the same numbers."""

    __slots__ = ("_curve", "_start", "_values")

    def __init__(self, schedule: Schedule) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what a schedule has to say was never said by the class it stands for
            self._curve: Curve = schedule.over(natural_length(schedule))
        self._start = 0
        self._values: list[float] = []

    def at(self, step: int) -> float:
        """The factor of one step."""
        place = step - self._start
        if not 0 <= place < len(self._values):
            self._start, place = step, 0
            self._values = self._curve.chunk(step, step + CHUNK).tolist()
        return self._values[place]

    def chunk(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The factors of the steps from `start` to before `stop`."""
        return self._curve.chunk(start, stop)
