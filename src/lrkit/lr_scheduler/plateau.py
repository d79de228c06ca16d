"""ReduceLROnPlateau: torch's own decisions, with a threshold that serves negative metrics if it is asked for."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock

from lrkit.lr_scheduler.twin import Defects, Twin, as_defects

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(Twin, stock.ReduceLROnPlateau):
    """Lower the lr when a metric has stopped improving.

    `defects="mended"` measures a relative threshold against the size of the best value, so that a constant
    negative metric is no improvement; torch multiplies the signed value, and never lowers the lr there.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)

    def _is_better(self, a: float, best: float) -> bool:
        if self.defects == "stock" or self.threshold_mode == "abs" or best in (float("inf"), float("-inf")):
            return bool(super()._is_better(a, best))  # type: ignore[no-untyped-call]  # torch's
        margin = abs(best) * self.threshold
        return bool(a < best - margin) if self.mode == "min" else bool(a > best + margin)
