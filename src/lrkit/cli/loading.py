"""The task that the arguments name, on a device that exists: both are known to be right before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrkit.training import Task

__all__ = ["given_task"]


def given_task(name: str, *, data: Path | None, device: str | None, seed: int | None = None) -> Task:
    """The task called `name`, with `seed` in place of its own.

    Raises TaskError for one that cannot be loaded, and for a device that is not there.
    """
    from lrkit.training import choose_device, load_task

    task = load_task(name, data=data)
    choose_device(task.device if device is None else device)
    return task if seed is None else dataclasses.replace(task, seed=seed)
