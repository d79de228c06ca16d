"""What CyclicLR and OneCycleLR write: values between two levels, and momentum, which Adam has as its first beta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lrkit.lr_scheduler.twin import Group

__all__ = ["between", "write_momentum"]


def between(ends: list[Any], others: list[Any], share: float) -> float | list[float]:
    """`end + (other - end) * share` for each group, or one float where all are alike. Ends may be tensors."""
    end, other, count = ends[0], others[0], len(ends)
    if count == 1 or (ends.count(end) == count and others.count(other) == count):
        value = end + (other - end) * share
        return value if value.__class__ is float else [float(value)] * count
    return [float(a + (b - a) * share) for a, b in zip(ends, others, strict=True)]


def write_momentum(groups: Sequence[Group], momentum: float | list[float], *, in_betas: bool) -> None:
    """Give each group its momentum, and leave its other betas."""
    if not in_betas and not isinstance(momentum, list):
        for group in groups:
            group["momentum"] = momentum
        return
    each = momentum if isinstance(momentum, list) else [momentum] * len(groups)
    for group, value in zip(groups, each, strict=True):
        if in_betas:
            _, *others = group["betas"]
            group["betas"] = (value, *others)
        else:
            group["momentum"] = value
