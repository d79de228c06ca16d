"""How many threads a task is worth: small models are slower with two than with one, much slower on a busy machine."""

from __future__ import annotations

import os

import torch
from torch.utils.flop_counter import FlopCounterMode

from lrkit.training.batches import BatchStream, move_to
from lrkit.training.build import build_member, choose_device
from lrkit.training.data import search_split
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task

__all__ = ["advised_threads", "is_dispatch_bound", "usable_cores"]

# Below this many operations an update is dispatch, not arithmetic: one core does 2e10 to 1e11 of them a second, and
# an update takes 2e-4 to 4e-4 seconds before the first.
_WORTH_SHARING = 3e7


def advised_threads(task: Task) -> int:
    """One thread where an update of `task` has under 3e7 floating-point operations on a CPU, else torch's own count.

    The operations are counted, not timed: the same task gets the same number on every run, and with it the same bits.
    """
    if choose_device(task.device).type != "cpu" or torch.get_num_threads() == 1:
        return torch.get_num_threads()
    return 1 if is_dispatch_bound(task) else torch.get_num_threads()


def is_dispatch_bound(task: Task) -> bool:
    """Whether an update of `task` has under 3e7 operations: asking for them takes longer than they do.

    A compiled model is not, as far as can be told: its operations cannot be counted.
    """
    device = choose_device(task.device)
    member = build_member(task, seed=task.seed, lr=1e-3, device=device)
    batch = move_to(next(BatchStream(search_split(task).train, seed=derive_seed(task.seed, 2))), device)
    counter = FlopCounterMode(display=False)
    try:
        with seeded(derive_seed(task.seed, 1)), counter:
            task.loss(member.model, batch).backward()  # type: ignore[no-untyped-call]  # Tensor.backward
    except RuntimeError:  # a compiled model cannot be counted, and is worth all threads
        return False
    return counter.get_total_flops() < _WORTH_SHARING


def usable_cores() -> int:
    """The cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
