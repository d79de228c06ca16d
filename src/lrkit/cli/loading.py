"""The task that the arguments name, on a device that exists: both are known to be right before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrkit.training import Task

__all__ = ["given_task"]


def given_task(name: str, *, data: Path | None, device: str | None, seed: int | None = None) -> Task:
    """The task called `name`, with `device` and `seed` in place of its own, checked, and torch's threads set for it.

    Raises TaskError for one that cannot be loaded or does not work, and for a device that is not there.
    """
    import torch

    from lrkit.training import advised_threads, choose_device, load_task

    task = load_task(name, data=data)
    choose_device(task.device if device is None else device)
    task = dataclasses.replace(
        task, device=task.device if device is None else device, seed=task.seed if seed is None else seed
    )
    task.check()
    torch.set_num_threads(advised_threads(task))
    return task
