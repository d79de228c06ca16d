"""CosineAnnealingWarmRestarts, whose restarts are found in whole numbers, not by a logarithm."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock

from lrkit.lr_scheduler.ahead import Ahead
from lrkit.lr_scheduler.overwriting import Overwriting
from lrkit.lr_scheduler.twin import Defects, Watched, as_defects, put
from lrkit.schedule import cosine

__all__ = ["CosineAnnealingWarmRestarts"]


class CosineAnnealingWarmRestarts(Overwriting, stock.CosineAnnealingWarmRestarts):
    """A half wave down to `eta_min` in `T_0` steps, the next one `T_mult` times as long, and so on."""

    __slots__ = ("_ahead", "_period")

    _ahead: Ahead | None
    _period: float  # T_i, where nothing else is at hand as quickly

    T_i = Watched()

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._forget()
        super().__init__(optimizer, T_0, T_mult, eta_min, last_epoch)

    def step(self, epoch: Any = None) -> None:
        """One step on, or to `epoch`, whole or not; see torch's class."""
        groups = self.optimizer.param_groups
        at, last = self.T_cur + 1, groups[-1]
        if (
            last is not self._last
            or epoch is not None
            or at.__class__ is not int
            or at >= self._period
            or last["lr"].__class__ is not float
        ):
            self._turn(epoch)
            return
        low: Any = self.eta_min
        bases: list[Any] = self.base_lrs
        u = self._ahead[at]  # type: ignore[index]  # read in `_turn`
        base, count = bases[0], self._count
        if count == 1 or (bases[-1] == base and bases.count(base) == count):
            self._now = rate = low + (base - low) * u
            for group in groups:
                group["lr"] = rate
        else:
            rates: list[float] = []
            for group, base in zip(groups, bases):  # noqa: B905 - as long as groups
                group["lr"] = rate = low + (base - low) * u if low else base * u
                rates.append(rate)
            self._now = rates
        self.T_cur = at
        self.last_epoch += 1

    def _turn(self, epoch: Any) -> None:
        """A step that may begin a cycle, as torch takes it (which counts no `_step_count` here)."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            if self.defects == "mended":
                self._place(epoch)
            else:
                self.T_cur += 1
                if self.T_cur >= self.T_i:
                    self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult
        elif epoch < 0:
            stock.CosineAnnealingWarmRestarts.step(self, epoch)  # which says so
        else:
            self._place(epoch)
        self.last_epoch = math.floor(epoch)
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            put(group, rate)
        self._remember()
        self._period = self.T_i

    def _place(self, epoch: Any) -> None:
        """Find the cycle that an epoch lies in, by going through them."""
        begun, period = 0, self.T_0
        if self.T_mult == 1:
            begun = epoch // period * period
        while epoch - begun >= period:
            begun, period = begun + period, period * self.T_mult
        self.T_cur, self.T_i = epoch - begun, period

    def _initial_step(self) -> None:
        self._forget()  # or a sequence that begins anew would go on with what was read ahead
        done = self.last_epoch - (self.defects == "mended")
        if done >= 0:
            self._place(done)  # torch takes `last_epoch` for the place in the first cycle
        super()._initial_step()

    def _rates_at(self, t: int) -> float | list[float]:
        """The rates at `T_cur`: here it is not the step that says where a cycle is."""
        del t
        low, bases, at = self.eta_min, self.base_lrs, self.T_cur
        if at.__class__ is int:
            ahead = self._ahead
            if ahead is None:
                ahead = self._ahead = Ahead(cosine(self.T_i))
            u = ahead[at]
        else:
            u = (1 + math.cos(math.pi * at / self.T_i)) / 2
        base, count = bases[0], len(bases)
        if count == 1 or bases.count(base) == count:
            rate = low + (base - low) * u
            return rate if rate.__class__ is float else [float(rate)] * count
        return [float(low + (each - low) * u) for each in bases]

    def _remember(self) -> None:
        super()._remember()
        if any(isinstance(level, Tensor) for level in (*self.base_lrs, self.eta_min)):
            self._last = None  # what is computed from tensors has to be made plain

    def _forget(self) -> None:
        super()._forget()
        self._ahead = None
