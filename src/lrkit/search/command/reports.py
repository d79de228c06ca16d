"""What a command tells of a trial: the value of the metric, and how far the training is by then."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lrkit.errors import SpecError

__all__ = ["Clock", "Length", "Report", "Unit"]

Unit = Literal["epochs", "steps"]


@dataclass(frozen=True, slots=True)
class Report:
    """One value of the metric; `epoch` and `step` where the command tells them, as it counts them."""

    value: float
    epoch: float | None = None
    step: float | None = None

    def at(self, unit: Unit) -> float | None:
        """Where the report stands by the command's own count of `unit`; None where it says nothing."""
        place = self.epoch if unit == "epochs" else self.step
        return place if place is not None and math.isfinite(place) else None


@dataclass(frozen=True, slots=True)
class Length:
    """How long a full training is; 1 step where it is not known: then only the end counts, and nothing is pruned."""

    full: int
    unit: Unit
    known: bool = True

    @property
    def counted(self) -> str:
        """What is counted, in words: epochs, steps, or whole runs."""
        return self.unit if self.known else "runs"

    @classmethod
    def of(cls, epochs: int | None, steps: int | None) -> Length:
        """From the two ways to give it. Raises SpecError for both at once, and for numbers that are no length."""
        if epochs is not None and steps is not None:
            raise SpecError("give the length in epochs or in steps, not in both")
        unit: Unit = "steps" if epochs is None else "epochs"
        full = steps if epochs is None else epochs
        if full is not None and (isinstance(full, bool) or not isinstance(full, int) or full < 1):
            raise SpecError(f"{unit}= is a whole number, at least 1, not {full!r}")
        return cls(full or 1, unit, full is not None)


class Clock:
    """Tells from the reports of one trial how much of the training is done, in `unit`; never goes back.

    By the command's own count where its first report has one, and one more where that is 0; else by the number of
    reports: one for each epoch, or step.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit: Unit = unit
        self._shift: float | None = None
        self._reports = 0
        self._place = 0.0

    def place(self, report: Report) -> float:
        """How much is done at the next report."""
        told = report.at(self._unit)
        if self._reports == 0 and told is not None:
            self._shift = 1.0 if told == 0 else 0.0
        self._reports += 1
        if self._shift is None:
            self._place = float(self._reports)
        elif told is not None:
            self._place = max(self._place, told + self._shift)
        return self._place
