"""Random numbers that belong to one run: seeds made from seeds, and work that leaves the caller's generators alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lrkit.optim.rng import RngState

__all__ = ["derive_seed", "seed_everything", "seeded", "torch_seeded", "unshared"]


class _Unshared:
    """A lock that a thread may take again, and can ask whether it has."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    @property
    def mine(self) -> bool:
        """Whether this thread has it."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._lock.release()


_UNSHARED = _Unshared()


def derive_seed(*parts: int) -> int:
    """A seed of 63 bits that depends on every part and their order, by numpy's SeedSequence."""
    entropy = [part % 2**64 for part in parts]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_everything(seed: int) -> None:
    """Seed python's, numpy's and every torch generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # the global one: users' transforms draw from it
    _seed_torch(seed)


def unshared() -> _Unshared:
    """Within is one thread of the process at a time: for what threads share, its generators and a task's data.

    A thread that is within may enter again. Held while a batch is read, a run is made, and a whole validation.
    """
    return _UNSHARED


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within, every generator is seeded with `seed`; afterwards each is as it was found."""
    with unshared():
        outer = RngState.capture()
        try:
            seed_everything(seed)
            yield
        finally:
            outer.restore()


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """As `seeded`, for what draws from torch's generator of the CPU alone: a tenth of the time."""
    with unshared():
        outer = torch.default_generator.get_state()
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.default_generator.set_state(outer)


def _seed_torch(seed: int) -> None:
    # torch.manual_seed writes down a traceback for each kind of device that has not been used yet.
    alone = hasattr(torch, "accelerator") and not torch.accelerator.is_available()
    (torch.default_generator if alone else torch).manual_seed(seed)
