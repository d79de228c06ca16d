"""What of a plan tells one search from another: only where it is equal, trials belong to one search or comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrkit.plan import Plan

__all__ = ["plan_identity"]


def plan_identity(plan: Plan) -> dict[str, Any]:
    """All of a plan but its lr, its schedule and its controllers, by the names that messages use, as plain data."""
    return {
        "steps": plan.horizon.steps,
        "batch size": plan.horizon.batch_size,
        "steps per epoch": plan.horizon.steps_per_epoch,
        "optimizer": plan.optimizer.name,
        "options": _listed(plan.optimizer.options),
        "groups": {
            name: [group.lr / plan.lr, str(group.schedule), _listed(group.options)]
            for name, group in plan.groups.items()
        },
        "training": dataclasses.asdict(plan.training),
        "floor": plan.floor,
    }


def _listed(options: Mapping[str, Any]) -> list[list[Any]]:
    return [[name, list(value) if isinstance(value, tuple) else value] for name, value in options.items()]
