"""The rates of an optimizer's groups while they are swept: which move, in which ratio, under what name."""

from __future__ import annotations

import numpy as np
from torch.optim import LBFGS, Optimizer

from lrkit.errors import TaskError, did_you_mean
from lrkit.optim.groups import Target, group_names
from lrkit.range_test.smoothing import FloatArray

__all__ = ["GroupRates"]

_LR = Target("lr")


class GroupRates:
    """The groups of `optimizer` and their base rates; `write` moves them all by one factor, or `group` alone.

    A group is called by its "name", else "group 0", "group 1", ... Its base rate is `initial_lr`, where a
    scheduler has left one, else `lr`: a schedule may stand at 0 just now. The rate that is written is that of
    the swept group, or of the first group with a base rate above 0 when all are swept; the others keep their
    ratio to it.

    Raises TaskError for an unknown group, for nothing to train, for groups that all have rate 0, and for an
    optimizer that needs a closure.
    """

    def __init__(self, optimizer: Optimizer, group: str | None = None) -> None:
        if isinstance(optimizer, LBFGS):
            raise TaskError("LBFGS needs a closure and searches its own step size: sweep another optimizer")
        self.optimizer = optimizer
        self.names = group_names(optimizer.param_groups)
        self.bases = [_LR.base(entry) for entry in optimizer.param_groups]
        swept = range(len(self.names)) if group is None else [self._find(group)]
        if not any(p.requires_grad for i in swept for p in optimizer.param_groups[i]["params"]):
            where = "the optimizer" if group is None else f"group {group!r}"
            raise TaskError(f"{where} holds no parameter with requires_grad: nothing would be trained")
        self._ratios = self._ratios_of(list(swept))

    def write(self, rate: float) -> None:
        """Set every group's rate for the next update; tensors in place: captured graphs keep reading them."""
        for entry, base, ratio in zip(self.optimizer.param_groups, self.bases, self._ratios, strict=True):
            _LR.write(entry, base if ratio is None else rate * ratio)

    def table(self, rates: FloatArray) -> dict[str, FloatArray]:
        """The rates of each group over a sweep through `rates`, by name."""
        return {
            name: np.full(len(rates), base) if ratio is None else rates * ratio
            for name, base, ratio in zip(self.names, self.bases, self._ratios, strict=True)
        }

    def _find(self, group: str) -> int:
        if group not in self.names:
            raise TaskError(f"the optimizer has no group {group!r}{did_you_mean(group, self.names)}")
        return self.names.index(group)

    def _ratios_of(self, swept: list[int]) -> list[float | None]:
        """Each group's rate over the rate that is written, None for a group that stays at its base."""
        if len(swept) == 1:
            return [1.0 if i in swept else None for i in range(len(self.bases))]
        reference = next((base for base in self.bases if base > 0), None)
        if reference is None:
            raise TaskError(
                "every group of the optimizer has lr 0: give them rates that have a ratio, or name one group="
            )
        return [base / reference for base in self.bases]
