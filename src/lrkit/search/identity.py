"""What tells one search or comparison from another: its plan, its settings, what its untrained model measures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from lrkit.errors import StudyError
from lrkit.plan import Plan

__all__ = ["plan_identity", "require_format", "require_settings", "same_measurement"]

_SAME = 1e-4
"""Two measurements of one model agree to this part, whatever the number of threads; other data or code do not."""


def require_format(where: object, there: object, here: int) -> None:
    """Raise StudyError where what is kept there has another format than the one that is read here."""
    if there != here:
        raise StudyError(
            f"{where} has format {there!r}; this lrkit reads format {here}: go on with the version that began it, or "
            "begin anew elsewhere"
        )


def require_settings(
    where: object, there: Mapping[str, Any], here: Mapping[str, Any], *, of: str = "search", choose: str
) -> None:
    """Raise StudyError that names what differs between two settings, plain data as JSON gives it, if anything does.

    `of` is what they are the settings of, `choose` what to choose another of.
    """
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    if names:
        told = ", ".join(
            f"{name} was {there.get(name)!r:.120}, now {here.get(name)!r:.120}" for name in names
        )
        raise StudyError(f"{where} belongs to a {of} with other settings: {told}; choose another {choose}")


def same_measurement(a: float, b: float) -> bool:
    """Whether two losses are one up to the order in which threads add up, or neither is finite."""
    return math.isclose(a, b, rel_tol=_SAME) or not (math.isfinite(a) or math.isfinite(b))


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
