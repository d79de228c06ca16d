"""The answer: which optimizer, lr, schedule and horizon, and on what evidence; a value, and a TOML file."""

from __future__ import annotations

from lrkit.plan.frozen import FrozenMap
from lrkit.plan.tables import plan_schema
from lrkit.plan.values import Evidence, GroupPlan, OptimizerPlan, Plan, TrainingPlan

__all__ = ["Evidence", "FrozenMap", "GroupPlan", "OptimizerPlan", "Plan", "TrainingPlan", "plan_schema"]
