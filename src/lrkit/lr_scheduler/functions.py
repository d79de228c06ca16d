"""LambdaLR and MultiplicativeLR: the user's own functions, called at the step they are for.

A function that several groups share is called once a step, not once for each group.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock
from torch.optim.lr_scheduler import _warn_get_lr_called_within_step

from lrkit.lr_scheduler.overwriting import Overwriting
from lrkit.lr_scheduler.twin import Defects, Group, Rate, as_defects

__all__ = ["LambdaLR", "MultiplicativeLR"]

Function = Callable[[int], float]


class LambdaLR(Overwriting, stock.LambdaLR):
    """The base lr times `lr_lambda(step)`."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | list[Function],
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._forget()
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`."""
        _warn_get_lr_called_within_step(self)
        self._take_in()
        return self._rates_at(self.last_epoch)

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        t, groups, lambdas = self.last_epoch + 1, self.optimizer.param_groups, self.lr_lambdas
        last, function = groups[-1], lambdas[0]
        if (
            last is not self._last
            or epoch is not None
            or last["lr"].__class__ is not float
            or lambdas.count(function) < len(lambdas)
        ):
            super().step(epoch)
            return
        factor, bases, count = function(t), self.base_lrs, self._count
        base = bases[0]
        rate: Any = base * factor  # whatever number the user's function gives
        if rate.__class__ is float and (count == 1 or (bases[-1] == base and bases.count(base) == count)):
            for group in groups:
                group["lr"] = rate
            self._now = rate
        else:
            rates: list[Any] = []
            for group, base in zip(groups, bases):  # noqa: B905 - as long as groups
                group["lr"] = rate = base * factor
                rates.append(rate)
            self._now = rates
        self.last_epoch = t
        self._step_count += 1

    def _rates_at(self, t: int) -> list[Any]:
        return [
            base * factor for base, factor in zip(self.base_lrs, _factors(self.lr_lambdas, t), strict=True)
        ]

    def _late(self, place: int, group: Group) -> None:
        super()._late(place, group)
        _share(self.lr_lambdas)


class MultiplicativeLR(Overwriting, stock.MultiplicativeLR):
    """The lr as it is found, times `lr_lambda(step)`.

    `_known` is the step that the lrs belong to, `_handed` what `get_lr` last gave, and for which step.
    """

    __slots__ = ("_handed", "_known")

    _handed: tuple[int, list[float]]
    _known: int

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | list[Function],
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._forget()
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, whichever step the groups are at: the same however often it is asked."""
        _warn_get_lr_called_within_step(self)
        self._take_in()
        t, groups = self.last_epoch, self.optimizer.param_groups
        handed_at, handed = self._handed
        if handed_at > self._known and handed == [float(group["lr"]) for group in groups]:
            self._known = handed_at
        steps = range(self._known + 1, t + 1) if t >= self._known else (t,)
        factors = [_factors(self.lr_lambdas, step) for step in steps]
        rates = [group["lr"] * prod(row[place] for row in factors) for place, group in enumerate(groups)]
        self._handed = t, [float(rate) for rate in rates]
        return rates

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `Twin.load_state_dict`."""
        super().load_state_dict(state_dict)
        self._known, self._handed = self.last_epoch, (self.last_epoch, [])

    def _update_lr(self, epoch: Any = None) -> None:
        if self._step_count <= 1:
            self._known = self.last_epoch + 1  # what the groups hold is the rate of that step
        if epoch is not None:
            self._known = epoch - 1
        self._handed = self._known, []
        super()._update_lr(epoch)

    def _remember(self) -> None:
        super()._remember()
        self._known, self._handed = self.last_epoch, (self.last_epoch, [])

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        t, groups, lambdas, now = self.last_epoch + 1, self.optimizer.param_groups, self.lr_lambdas, self._now
        last, function = groups[-1], lambdas[0]
        if (
            last is not self._last
            or epoch is not None
            or last["lr"].__class__ is not float
            or self._known != t - 1
            or lambdas.count(function) < len(lambdas)
        ):
            super().step(epoch)
            return
        factor = function(t)
        if now.__class__ is float and factor.__class__ is float:
            rate, others = now * factor, False
            for group in groups:
                if group["lr"] is now:
                    group["lr"] = rate
                else:
                    group["lr"] *= factor
                    others = True
            self._now = [group["lr"] for group in groups] if others else rate
        else:
            rates: list[float] = []
            for group in groups:
                group["lr"] = rate = group["lr"] * factor
                rates.append(rate)
            self._now = rates
        self.last_epoch = self._known = t
        self._step_count += 1

    def _rates_at(self, t: int) -> Any:  # as LambdaLR; here only where the functions are not all the same
        if self._known != t - 1:
            return None
        self._known = t
        pairs = zip(self.optimizer.param_groups, self.lr_lambdas, strict=True)
        return [group["lr"] * f(t) for group, f in pairs]

    def _late(self, place: int, group: Group) -> None:
        super()._late(place, group)
        _share(self.lr_lambdas)


def _factors(lambdas: list[Function], step: int) -> list[Any]:
    """What each function says of a step."""
    if lambdas.count(lambdas[0]) == len(lambdas):
        return [lambdas[0](step)] * len(lambdas)
    return [f(step) for f in lambdas]


def _share(lambdas: list[Function]) -> None:
    """One function more for a group more, if all have the same."""
    if lambdas.count(lambdas[0]) == len(lambdas):
        lambdas.append(lambdas[0])
