"""What to do: a learning-rate factor as a pure function of the step. Needs numpy alone."""

from __future__ import annotations

from lrkit.schedule.core import Schedule
from lrkit.schedule.curve import Curve
from lrkit.schedule.cycles import cyclic, one_cycle, one_cycle_momentum, restarts
from lrkit.schedule.jumps import milestones, staircase
from lrkit.schedule.levels import Absolute, absolute
from lrkit.schedule.opaque import from_function
from lrkit.schedule.shapes import (
    cosine,
    exponential,
    hold,
    inverse_sqrt,
    linear,
    one_minus_sqrt,
    polynomial,
    warmup,
)

__all__ = [
    "Absolute",
    "Curve",
    "Schedule",
    "absolute",
    "cosine",
    "cyclic",
    "exponential",
    "from_function",
    "hold",
    "inverse_sqrt",
    "linear",
    "milestones",
    "one_cycle",
    "one_cycle_momentum",
    "one_minus_sqrt",
    "polynomial",
    "restarts",
    "staircase",
    "warmup",
]
