"""The main job, from a task to a plan: range test, search, final training on all data, test; and schedules compared."""

from lrkit.tuning._tune import Tuning, answer_plan, tune
from lrkit.tuning.comparing import (
    ComparedSchedule,
    Comparison,
    ConvexBound,
    Standing,
    compare_schedules,
    convex_bound,
)

__all__ = [
    "ComparedSchedule",
    "Comparison",
    "ConvexBound",
    "Standing",
    "Tuning",
    "answer_plan",
    "compare_schedules",
    "convex_bound",
    "tune",
]
