"""A schedule's factors as plain floats, read ahead in chunks, at any step from 0 on without an end."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from lrkit.convert.members import natural_length
from lrkit.schedule import Curve, Schedule

__all__ = ["CHUNK", "Ahead"]

CHUNK = 1024  # steps read ahead: numpy's fixed cost is spread thin, and the tables stay small


class Ahead(dict[int, float]):
    """`ahead[step]` is the factor of one step, `ahead.chunk(start, stop)` those of many: the same numbers.

    A dictionary, because nothing in Python is quicker to ask; what it does not hold it reads when asked.
    """

    __slots__ = ("_curve",)

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what a schedule has to say was never said by the class it stands for
            self._curve: Curve = schedule.over(natural_length(schedule))

    def __missing__(self, step: int) -> float:
        factors = self._curve.chunk(step, step + CHUNK).tolist()
        self.clear()
        self.update(zip(range(step, step + CHUNK), factors, strict=True))
        factor: float = factors[0]
        return factor

    def __reduce__(self) -> tuple[type[Ahead], tuple[Schedule]]:
        return Ahead, (self._curve.schedule,)

    def chunk(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The factors of the steps from `start` to before `stop`."""
        return self._curve.chunk(start, stop)
