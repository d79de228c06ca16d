"""Dropout with random numbers of its own, where several runs advance in threads and the process has one generator."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["own_draws"]

# The dimensions of what each takes; of dropout proper, any. Those for features draw one number for each of them.
_TAKES = {"dropout": None, "dropout1d": 3, "dropout2d": 4, "dropout3d": 5}
_GENERATORS = threading.local()
_CHANGING = threading.Lock()
_plain: dict[str, Callable[..., Tensor]] = {}
_within = 0


@contextmanager
def own_draws(state: Tensor) -> Iterator[Generator]:
    """Within, `dropout` and `dropout1d` to `dropout3d` of torch.nn.functional, which torch's layers call, draw from a
    generator of this thread's own, which begins at `state`.

    Masks are those that torch itself would draw if the process's generator stood there. What draws in another way, a
    random transform or dropout in fused attention, still moves that one. Other threads are left as they are.
    """
    generator = Generator()
    generator.set_state(state)
    _enter()
    try:
        _GENERATORS.here = generator
        yield generator
    finally:
        _GENERATORS.here = None
        _leave()


def _enter() -> None:
    """The first thread that is within puts functions in the place of torch's."""
    global _within
    with _CHANGING:
        _within += 1
        if _within == 1:
            for name, dimensions in _TAKES.items():
                _plain[name] = getattr(functional, name)
                setattr(functional, name, _drawn(_plain[name], dimensions))


def _leave() -> None:
    """The last one puts torch's back."""
    global _within
    with _CHANGING:
        _within -= 1
        if _within == 0:
            for name in _TAKES:
                setattr(functional, name, _plain.pop(name))


def _drawn(plain: Callable[..., Tensor], dimensions: int | None) -> Callable[..., Tensor]:
    @functools.wraps(plain)
    def draw(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        generator = getattr(_GENERATORS, "here", None)
        if generator is None or not (training and 0.0 < p < 1.0 and dimensions in (None, input.dim())):
            return plain(input, p, training, inplace)
        if dimensions is None:
            mask = torch.empty_like(input)
        else:
            mask = input.new_empty(*input.shape[:2], *[1] * (dimensions - 2))
        mask.bernoulli_(1.0 - p, generator=generator).div_(1.0 - p)
        return input.mul_(mask) if inplace else input * mask

    return draw
