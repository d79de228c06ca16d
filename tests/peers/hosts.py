"""The schedulers of the host tests: lrkit's, and torch's own that say what the lrs are to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torchs

import lrkit
from convert.stepping import stepped
from lrkit import lr_scheduler

__all__ = ["DROP_IN", "EPOCHS", "MAKERS", "PER_EPOCH", "TOTAL", "Make", "expected"]

Make = Callable[[Optimizer], Any]

EPOCHS, PER_EPOCH = 4, 5
TOTAL = EPOCHS * PER_EPOCH
SPEC = "warmup(3) >> cosine(to=0)"


def _classes(module: Any) -> dict[str, Make]:
    """The same schedulers of torch's module, or of the one in its place."""
    return {
        "CosineAnnealingLR": lambda o: module.CosineAnnealingLR(o, TOTAL),
        "ExponentialLR": lambda o: module.ExponentialLR(o, 0.9),
        "LinearLR": lambda o: module.LinearLR(o, total_iters=7),
        "OneCycleLR": lambda o: module.OneCycleLR(o, 0.5, TOTAL, cycle_momentum=False),
        "SequentialLR": lambda o: module.SequentialLR(
            o, [module.LinearLR(o, 0.1, total_iters=3), module.ExponentialLR(o, 0.9)], [3]
        ),
        "StepLR": lambda o: module.StepLR(o, 4),
    }


DROP_IN = _classes(lr_scheduler)

MAKERS: dict[str, Make] = {
    "Scheduler": lambda o: lrkit.Scheduler(o, SPEC, TOTAL),
    "Scheduler, calls": lambda o: lrkit.Scheduler(o, SPEC, TOTAL, clock="calls"),
    **DROP_IN,
}


def expected(name: str, n: int) -> list[float]:
    """The rates of n updates at a base lr of 0.5: torch's own, or by the spec's formula."""
    if name.startswith("Scheduler"):
        return [_warmed_cosine(t) for t in range(n)]
    return stepped(_classes(torchs)[name], n, 0.5)


def _warmed_cosine(t: int) -> float:
    if t < 3:
        return 0.5 * (t + 1) / 4
    return 0.25 * (1.0 + math.cos(math.pi * (t - 3) / (TOTAL - 3)))
