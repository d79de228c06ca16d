"""Which of some schedules ends a training best, each at a peak learning rate that was tuned by the same rules."""

from lrkit.tuning.comparing._compare import compare_schedules
from lrkit.tuning.comparing.bound import ConvexBound, convex_bound
from lrkit.tuning.comparing.result import ComparedSchedule, Comparison
from lrkit.tuning.comparing.standing import Standing

__all__ = ["ComparedSchedule", "Comparison", "ConvexBound", "Standing", "compare_schedules", "convex_bound"]
