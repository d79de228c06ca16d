"""Dropout with random numbers of its own, where several runs advance in threads and the process has one generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from lrkit.training.seeding import unshared

__all__ = ["OwnDraws", "own_draws"]

_DRAWING = (_DropoutNd, nn.RReLU)


@dataclass(slots=True)
class OwnDraws:
    """The state of torch's CPU generator that the modules draw from and move on."""

    state: Tensor


@contextmanager
def own_draws(model: nn.Module, state: Tensor) -> Iterator[OwnDraws]:
    """Within, torch's dropout modules (and RReLU) in `model` draw as if the CPU's generator stood at `state`.

    The generator itself stays where it is, for other threads too. What draws in another way, `F.dropout` in a module's
    own forward or a random transform, still moves it.
    """
    draws = OwnDraws(state)
    modules = [module for module in model.modules() if isinstance(module, _DRAWING)]
    found = [module.__dict__.get("forward") for module in modules]
    for module in modules:
        setattr(module, "forward", _apart(module.forward, draws))  # noqa: B010  # a method, to type checkers
    try:
        yield draws
    finally:
        for module, forward in zip(modules, found, strict=True):
            del module.forward
            if forward is not None:
                setattr(module, "forward", forward)  # noqa: B010


def _apart(forward: Callable[..., Any], draws: OwnDraws) -> Callable[..., Any]:
    def drawn(*args: Any, **named: Any) -> Any:
        with unshared():
            outer = torch.get_rng_state()
            torch.set_rng_state(draws.state)
            try:
                return forward(*args, **named)
            finally:
                draws.state = torch.get_rng_state()
                torch.set_rng_state(outer)

    return drawn
