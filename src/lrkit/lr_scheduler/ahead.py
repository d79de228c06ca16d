"""A schedule's factors as plain floats, read ahead in chunks, at any step from 0 on without an end."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from lrkit.convert.members import natural_length
from lrkit.schedule import Curve, Schedule

__all__ = ["CHUNK", "SHORT", "Ahead"]

CHUNK = 1024  # steps read ahead: numpy's fixed cost is spread thin, and the tables stay small
SHORT = 32  # at first: whoever asks for one may ask for no more


class Ahead(dict[int, float]):
    """`ahead[step]` is the factor of one step, `ahead.chunk(start, stop)` those of many: the same numbers.

    A dictionary, because nothing in Python is quicker to ask; what it does not hold it reads when asked.
    """

    __slots__ = ("_curve", "_reach", "_stop")

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._reach, self._stop = SHORT, -1
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what a schedule has to say was never said by the class it stands for
            self._curve: Curve = schedule.over(natural_length(schedule))

    def __missing__(self, step: int) -> float:
        self._reach = min(2 * self._reach, CHUNK) if step == self._stop else SHORT
        stop = step + self._reach
        factors = self._curve.chunk(step, stop).tolist()
        if len(self) > CHUNK:
            self.clear()
        self.update(zip(range(step, stop), factors, strict=True))
        self._stop = stop
        factor: float = factors[0]
        return factor

    def __reduce__(self) -> tuple[type[Ahead], tuple[Schedule]]:
        return Ahead, (self._curve.schedule,)

    def chunk(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The factors of the steps from `start` to before `stop`."""
        return self._curve.chunk(start, stop)
