"""SWALR of torch.optim.swa_utils: from the lr that it finds to a constant one, for averaging weights."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim import swa_utils as stock

from lrkit.lr_scheduler.chainable import Chainable, whole
from lrkit.lr_scheduler.twin import Defects, Group, Watched, as_defects
from lrkit.schedule import Schedule, cosine, hold, linear

__all__ = ["SWALR"]


class SWALR(Chainable, stock.SWALR):
    """From the lr that the groups hold to `swa_lr` in `anneal_epochs` steps; it counts by `_step_count`."""

    anneal_epochs, _anneal_strategy = Watched(), Watched()
    _parameters = ("anneal_epochs", "_anneal_strategy")

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float,
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, swa_lr, anneal_epochs, anneal_strategy, last_epoch)

    def _schedule(self) -> Schedule:
        """The share of the lr that was found."""
        if not self.anneal_epochs:
            return hold(level=0.0)
        fall = linear if self._anneal_strategy == "linear" else cosine
        return fall(self.anneal_epochs, to=0.0) >> hold()

    def _low(self, group: Group) -> float:
        return float(group["swa_lr"])

    def _clock(self) -> int | None:
        return whole(self._step_count - 1)

    def _offset(self) -> int:
        return self._step_count - 1 - self.last_epoch

    def _begin(self) -> None:
        super()._begin()
        self._spans = [rate - low for rate, low in zip(self._rates(), self._lows, strict=True)]
        self._known = 0

    def _take(self, place: int, rate: float, u: float) -> None:
        if u > 1e-12:  # at the end torch writes swa_lr, whatever it finds
            super()._take(place, rate, u)
