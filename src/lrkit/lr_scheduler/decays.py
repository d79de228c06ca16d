"""The chainable classes that are pure functions of the step: steps, lines, powers and cosines."""

from __future__ import annotations

from collections.abc import Iterable

from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock

from lrkit.convert.peers import torch as peer
from lrkit.lr_scheduler.ahead import Ahead
from lrkit.lr_scheduler.chainable import Chainable
from lrkit.lr_scheduler.twin import After, Defects, Group, Twin, Watched, as_after, as_defects
from lrkit.schedule import Schedule, hold

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "StepLR",
]


class StepLR(Chainable, stock.StepLR):
    """Times `gamma` at every `step_size` steps."""

    step_size, gamma = Watched(), Watched()
    _parameters = ("step_size", "gamma")
    _acts_when_built = True

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, step_size, gamma, last_epoch)

    def _schedule(self) -> Schedule:
        return peer.step_lr(self.step_size, self.gamma)


class MultiStepLR(Chainable, stock.MultiStepLR):
    """Times `gamma` at each of the `milestones`."""

    milestones, gamma = Watched(), Watched()
    _parameters = ("milestones", "gamma")
    _acts_when_built = True

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, milestones, gamma, last_epoch)

    def _schedule(self) -> Schedule:
        return peer.multi_step_lr(sorted(self.milestones.elements()), self.gamma)


class ConstantLR(Chainable, stock.ConstantLR):
    """`factor` for `total_iters` steps, then the base lr."""

    factor, total_iters = Watched(), Watched()
    _parameters = ("factor", "total_iters")
    _acts_when_built = True

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, factor, total_iters, last_epoch)

    def _schedule(self) -> Schedule:
        if self.defects == "mended" and self.total_iters == 0:
            return hold(level=1.0)
        return peer.constant_lr(self.factor, self.total_iters)


class LinearLR(Chainable, stock.LinearLR):
    """In a straight line from `start_factor` to `end_factor`, `total_iters` steps long."""

    start_factor, end_factor, total_iters = Watched(), Watched(), Watched()
    _parameters = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, start_factor, end_factor, total_iters, last_epoch)

    def _schedule(self) -> Schedule:
        if self.defects == "mended" and self.total_iters == 0:
            return hold(level=self.end_factor)
        return peer.linear_lr(self.start_factor, self.end_factor, self.total_iters)


class ExponentialLR(Chainable, stock.ExponentialLR):
    """Times `gamma` at every step."""

    gamma = Watched()
    _parameters = ("gamma",)

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, *, defects: Defects = "stock"
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, gamma, last_epoch)

    def _schedule(self) -> Schedule:
        return peer.exponential_lr(self.gamma)


class PolynomialLR(Chainable, stock.PolynomialLR):
    """Down to 0 in `total_iters` steps, as a power of what is left."""

    total_iters, power = Watched(), Watched()
    _parameters = ("total_iters", "power")

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        super().__init__(optimizer, total_iters, power, last_epoch)

    def _schedule(self) -> Schedule:
        return peer.polynomial_lr(self.total_iters, self.power)


class _Floor(Watched):
    """A parameter that is approached: another one counts from where the lrs are."""

    def __set__(self, scheduler: Twin, value: object) -> None:
        before = scheduler.__dict__.get(self._name, value)
        super().__set__(scheduler, value)
        if value != before and isinstance(scheduler, Chainable):
            scheduler._lower()


class CosineAnnealingLR(Chainable, stock.CosineAnnealingLR):
    """Down to `eta_min` in `T_max` steps, and by default up again: `after="hold"` stays there."""

    T_max, eta_min = Watched(), _Floor()
    _parameters = ("T_max", "eta_min")

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        *,
        after: After = "stock",
        defects: Defects = "stock",
    ) -> None:
        self.after, self.defects = as_after(after), as_defects(defects)
        super().__init__(optimizer, T_max, eta_min, last_epoch)

    def _schedule(self) -> Schedule:
        whole = peer.cosine_annealing_lr(self.T_max)
        return whole.after("hold") if self.after == "hold" else whole

    def _low(self, group: Group) -> float:
        return float(self.eta_min)

    def _factor(self, ahead: Ahead, t: int) -> float:
        bottom = t >= self.T_max if self.after == "hold" else t % (2 * self.T_max) == self.T_max
        return 0.0 if bottom else super()._factor(ahead, t)

    def _turning(self, t: int) -> int | None:
        if self.defects == "mended" or self.after == "hold":
            return None
        return int(t + (self.T_max - t) % (2 * self.T_max))

    def _take(self, place: int, rate: float, u: float) -> None:
        if u or self.defects == "mended" or self.after == "hold":
            super()._take(place, rate, u)
            return
        # At the bottom the lr says nothing of the span. Torch's next step adds to it what the untouched wave rises.
        ahead, low = self._factors(), self._low(self.optimizer.param_groups[place])
        self._lows[place] = low
        if place < len(self.base_lrs) and ahead is not None:
            base, rise = float(self.base_lrs[place]), self._factor(ahead, int(self.T_max) + 1)
            self._spans[place] = base - low + (rate - low) / rise
        elif rate != low:
            self._spans[place] = rate - low  # of a group that was added
