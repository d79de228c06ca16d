"""lrkit's own search as one would call it: `search_lr(task)`."""

from __future__ import annotations

from lrkit.search import search_lr
from lrkit.training import Task
from rivals.outcome import Outcome


def lrkit_auto(task: Task, seed: int) -> Outcome:
    found = search_lr(task, seed=seed)
    return Outcome(
        lr=found.lr,
        steps=found.member_steps,
        told={
            "interval": list(found.interval),
            "status": found.status,
            "reason": found.reason,
            "route": found.route,
            "drift": found.drift,
        },
    )
