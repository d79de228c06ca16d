"""CyclicLR: triangles between two rates, and the momentum against them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock

from lrkit.errors import SpecError
from lrkit.lr_scheduler.ahead import Ahead
from lrkit.lr_scheduler.momentum import between, write_momentum
from lrkit.lr_scheduler.overwriting import Overwriting
from lrkit.lr_scheduler.twin import Defects, Group, Watched, as_defects
from lrkit.schedule import cyclic

__all__ = ["CyclicLR"]


class CyclicLR(Overwriting, stock.CyclicLR):
    """Up to `max_lr` in `step_size_up` steps and back to `base_lr`, again and again."""

    __slots__ = ("_ahead",)

    _ahead: Ahead | None

    total_size, step_ratio, mode, gamma, _scale_fn_custom = (
        Watched(),
        Watched(),
        Watched(),
        Watched(),
        Watched(),
    )

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._forget()
        super().__init__(
            optimizer,
            base_lr,
            max_lr,
            step_size_up,
            step_size_down,
            mode,
            gamma,
            scale_fn,
            scale_mode,
            cycle_momentum,
            base_momentum,
            max_momentum,
            last_epoch,
        )

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        groups, ahead = self.optimizer.param_groups, self._ahead
        last = groups[-1]
        if last is not self._last or epoch is not None or ahead is None or last["lr"].__class__ is not float:
            super().step(epoch)
            return
        bases, peaks, count = self.base_lrs, self.max_lrs, self._count
        base, peak = bases[0], peaks[0]
        if count > 1 and (bases.count(base) != count or peaks.count(peak) != count):
            super().step()
            return
        t = self.last_epoch + 1
        height = ahead[t]
        rate = base + (peak - base) * height
        for group in groups:
            group["lr"] = rate
        if self.cycle_momentum and count == 1 and not self.use_beta1:
            high = self.max_momentums[0]
            last["momentum"] = high + (self.base_momentums[0] - high) * height
        elif self.cycle_momentum:
            momentum = between(self.max_momentums, self.base_momentums, height)
            write_momentum(groups, momentum, in_betas=self.use_beta1)
        self.last_epoch = t
        self._step_count += 1
        self._now = rate

    def _remember(self) -> None:
        super()._remember()
        if any(isinstance(rate, Tensor) for rate in (*self.base_lrs, *self.max_lrs)):
            self._last = None  # what is computed from tensors has to be made plain

    def _rates_at(self, t: int) -> float | list[float] | None:
        ahead = self._ahead
        if ahead is None:
            ahead = self._heights()
        if ahead is None or t < 0:
            return None
        height = ahead[t]
        if self.cycle_momentum:
            groups, highs, lows = self.optimizer.param_groups, self.max_momentums, self.base_momentums
            write_momentum(groups, between(highs, lows, height), in_betas=self.use_beta1)
        return between(self.base_lrs, self.max_lrs, height)

    def _write_rest(self) -> None:
        if self.cycle_momentum and self._rates_at(self.last_epoch) is None:
            self._get_lr_called_within_step = True
            try:
                stock.CyclicLR.get_lr(self)  # writes the momentum
            finally:
                self._get_lr_called_within_step = False

    def _heights(self) -> Ahead | None:
        """How far it is from `base_lr` to `max_lr` at each step; None where only torch's own formula says it."""
        down = self.total_size * (1.0 - self.step_ratio)
        up, down = round(self.total_size - down), round(down)
        whole = float(up + down) == self.total_size and up / self.total_size == self.step_ratio
        if self._scale_fn_custom is not None or not whole:
            return None
        try:
            shape = cyclic(
                up,
                down=down,
                low=0.0,
                cycle_decay=0.5 if self.mode == "triangular2" else 1.0,
                step_decay=self.gamma if self.mode == "exp_range" else 1.0,
            )
        except SpecError:  # a gamma that no schedule takes
            return None
        self._ahead = Ahead(shape.after("continue"))
        return self._ahead

    def _late(self, place: int, group: Group) -> None:
        super()._late(place, group)
        base, peaks = self.base_lrs[place], self.max_lrs
        peaks.append(
            peaks[0] if peaks.count(peaks[0]) == len(peaks) else base * (peaks[0] / self.base_lrs[0])
        )
        if self.cycle_momentum:
            for momenta, key in (
                (self.max_momentums, "max_momentum"),
                (self.base_momentums, "base_momentum"),
            ):
                momenta.append(group.setdefault(key, momenta[0]))

    def _forget(self) -> None:
        super()._forget()
        self._ahead = None
