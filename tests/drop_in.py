"""What the tests of this room share: optimizers, one setting of each class, and the loop that steps them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer, lr_scheduler, swa_utils

import lrkit.lr_scheduler as twin

stock: Any = SimpleNamespace(
    **{name: getattr(lr_scheduler, name) for name in lr_scheduler.__all__}, SWALR=swa_utils.SWALR
)

Make = Callable[[Any, Optimizer], Any]
"""Builds a scheduler from a module (torch's or ours) and an optimizer."""


def half(step: int) -> float:
    return 0.5 ** (step / 10)


def alternating(step: int) -> float:
    return 0.95 if step % 2 else 1.01


CHAINABLE: dict[str, Make] = {
    "StepLR": lambda m, o: m.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [2, 2, 7, 11], 0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.3, 4),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 0.8, 6),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 17, 2.0),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 12),
    "CosineAnnealingLR, floor": lambda m, o: m.CosineAnnealingLR(o, 12, eta_min=0.01),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, alternating),
}
OVERWRITING: dict[str, Make] = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, half),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.1, 1.0, 3, 4, mode="triangular2"),
    "CyclicLR, exponential": lambda m, o: m.CyclicLR(o, 0.1, 1.0, 3, mode="exp_range", gamma=0.97),
    "CyclicLR, scaled": lambda m, o: m.CyclicLR(o, 0.1, 1.0, 3, scale_fn=half, scale_mode="iterations"),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 1.0, total_steps=60),
    "OneCycleLR, three": lambda m, o: m.OneCycleLR(
        o, 1.0, total_steps=60, three_phase=True, anneal_strategy="linear"
    ),
    "SWALR": lambda m, o: m.SWALR(o, 0.05, anneal_epochs=7),
    "SWALR, linear": lambda m, o: m.SWALR(o, 0.05, anneal_epochs=7, anneal_strategy="linear"),
}
JOINTS: dict[str, Make] = {
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, 1.0, 5), m.CosineAnnealingLR(o, 9), m.ExponentialLR(o, 0.9)], [5, 14]
    ),
    "SequentialLR, overwriting": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 5), m.LambdaLR(o, half), m.CosineAnnealingWarmRestarts(o, 4)], [5, 9]
    ),
    "SequentialLR, multiplicative": lambda m, o: m.SequentialLR(
        o, [m.StepLR(o, 2, 0.5), m.MultiplicativeLR(o, alternating)], [7]
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, 1.0, 5), m.ExponentialLR(o, 0.9)]
    ),
    "ChainedScheduler, floor": lambda m, o: m.ChainedScheduler(
        [m.ConstantLR(o, 0.1, 5), m.CosineAnnealingLR(o, 60, eta_min=0.001)]
    ),
    "ChainedScheduler, nested": lambda m, o: m.ChainedScheduler(
        [m.ChainedScheduler([m.StepLR(o, 3, 0.5), m.ExponentialLR(o, 0.9)]), m.LinearLR(o, 0.1, 1.0, 5)]
    ),
    "ChainedScheduler, sequence": lambda m, o: m.ChainedScheduler(
        [m.SequentialLR(o, [m.ConstantLR(o, 0.5, 4), m.StepLR(o, 3)], [5]), m.ExponentialLR(o, 0.9)]
    ),
}
EVERY = CHAINABLE | OVERWRITING | JOINTS


def _as_if_stepped(optimizer: Any) -> Any:
    """Torch warns of a scheduler that steps first; to step the optimizer takes longer than all that is tested here."""
    optimizer._opt_called = True
    return optimizer


def sgd(*lrs: Any) -> SGD:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs or (0.1,)]
    return _as_if_stepped(SGD(groups, lr=0.1, momentum=0.9))


def adam(*lrs: Any) -> Adam:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs or (0.1,)]
    return _as_if_stepped(Adam(groups, lr=0.1))


def advance(scheduler: Any, steps: int = 1) -> None:
    for _ in range(steps):
        scheduler.step()


def lrs(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def trace(scheduler: Any, steps: int) -> list[list[float]]:
    """The lrs of all groups before each of so many steps."""
    seen = []
    for _ in range(steps):
        seen.append(lrs(scheduler.optimizer))
        advance(scheduler)
    return seen


def both(make: Make, *rates: float) -> tuple[Any, Any]:
    """A stock scheduler and ours, on optimizers of their own."""
    return make(stock, sgd(*rates)), make(twin, sgd(*rates))
