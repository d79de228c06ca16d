"""Outcome: what a way to a learning rate answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from lrkit.training import Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One of `lr`, the rate to train at, and `objective`, what a training without such a rate ended at; neither where
    the way had no answer. steps: updates spent on the choice, or on that training. told: more, as plain data.
    """

    lr: float | None = None
    objective: float | None = None
    steps: int = 0
    told: dict[str, Any] = dataclasses.field(default_factory=dict)


Way: TypeAlias = Callable[[Task, int], Outcome]
