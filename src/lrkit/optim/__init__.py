"""The only room that writes to an optimizer: the Scheduler, and snapshots that undo what a probe did."""

from __future__ import annotations

from lrkit.optim._snapshot import snapshot
from lrkit.optim.registry import schedulers_paused
from lrkit.optim.rng import RngState
from lrkit.optim.scheduler import Scheduler

__all__ = ["RngState", "Scheduler", "schedulers_paused", "snapshot"]
