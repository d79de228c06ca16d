"""Momentum, or Adam's first beta, as CyclicLR and OneCycleLR write it."""

from __future__ import annotations

from collections.abc import Sequence

from lrkit.lr_scheduler.twin import Group

__all__ = ["write_momentum"]


def write_momentum(groups: Sequence[Group], momenta: Sequence[float], *, in_betas: bool) -> None:
    """Give each group its momentum, and leave its other betas."""
    if in_betas:
        for group, momentum in zip(groups, momenta, strict=True):
            _, *others = group["betas"]
            group["betas"] = (momentum, *others)
    else:
        for group, momentum in zip(groups, momenta, strict=True):
            group["momentum"] = momentum
