"""The main job, from a task to a plan: range test, search, final training on all data, test."""

from lrkit.tuning._tune import Tuning, answer_plan, tune

__all__ = ["Tuning", "answer_plan", "tune"]
