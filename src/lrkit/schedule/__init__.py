"""What to do: a learning-rate factor as a pure function of the step. Needs numpy alone."""

from __future__ import annotations

from lrkit.schedule.core import Schedule
from lrkit.schedule.curve import Curve
from lrkit.schedule.cycles import cyclic, one_cycle, one_cycle_momentum, restarts
from lrkit.schedule.falls import (
    hyperbolic,
    one_minus_sqrt,
    polynomial,
    rex,
    shifted_exponential,
    tanh,
)
from lrkit.schedule.jumps import milestones, staircase, table
from lrkit.schedule.levels import Absolute, absolute
from lrkit.schedule.opaque import from_function
from lrkit.schedule.recipes import (
    flat_cosine,
    infinite,
    linear_to_zero,
    natural_exponential,
    noam,
    ramp,
    slanted_triangle,
    trapezoid,
    wsd,
)
from lrkit.schedule.running import exponential, inverse_sqrt, inverse_time, power
from lrkit.schedule.shapes import hold, linear, warmup
from lrkit.schedule.waves import cosine, cosine_restarts

__all__ = [
    "Absolute",
    "Curve",
    "Schedule",
    "absolute",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "flat_cosine",
    "from_function",
    "hold",
    "hyperbolic",
    "infinite",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "linear_to_zero",
    "milestones",
    "natural_exponential",
    "noam",
    "one_cycle",
    "one_cycle_momentum",
    "one_minus_sqrt",
    "polynomial",
    "power",
    "ramp",
    "restarts",
    "rex",
    "shifted_exponential",
    "slanted_triangle",
    "staircase",
    "table",
    "tanh",
    "trapezoid",
    "warmup",
    "wsd",
]
