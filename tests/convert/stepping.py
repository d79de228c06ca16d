"""Real peers that are stepped: an optimizer of one parameter, and the lr that it holds before each update."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Optimizer

__all__ = ["Rates", "sgd", "stepped"]

Rates = Callable[[dict[str, Any], int, int], list[float]]
"""The peer's own rates of updates 0 .. n - 1 for given parameters, in a run of T."""


def sgd(lr: float = 1.0, **more: float) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, **more)


def stepped(make: Callable[[Optimizer], Any], n: int, lr: float = 1.0, **more: float) -> list[float]:
    """The lr before each of n updates, with the scheduler stepped after each; fewer where it then refuses."""
    optimizer = sgd(lr, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(optimizer)
        seen: list[float] = []
        for _ in range(n):
            seen.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            try:
                scheduler.step()
            except (ValueError, ZeroDivisionError):  # OneCycleLR after its last step
                break
    return seen
