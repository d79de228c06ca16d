"""The classes that compute each lr from the base lrs alone: whatever else was written is overwritten at each step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import _warn_get_lr_called_within_step

from lrkit.lr_scheduler.twin import Group, Rate, Twin, like

__all__ = ["Overwriting"]


class Overwriting(Twin):
    """Rates that follow from the base lrs and the step.

    `_last` is the optimizer's last group as a careful step left it, if all lrs were plain numbers: another one, as a
    loaded checkpoint or an added group brings it, asks for care again.
    """

    __slots__ = ("_count", "_last")

    _count: int
    _last: Group | None

    @abstractmethod
    def _rates_at(self, t: int) -> float | list[float] | None:
        """The rates of step `t`, as `Twin._now` has them; None where it is torch's own formula that says."""

    def _late(self, place: int, group: Group) -> None:
        """Take in a group that was added: its base lr is what it came with."""
        del place
        base: Any = group.get("initial_lr", group["lr"])
        self.base_lrs.append(base.clone() if isinstance(base, Tensor) else base)

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        groups = self.optimizer.param_groups
        last = groups[-1]
        if last is not self._last or epoch is not None or last["lr"].__class__ is not float:
            self._step_with_care(epoch)
            return
        t = self.last_epoch + 1
        rates = self._rates_at(t)
        if rates.__class__ is float:
            for group in groups:
                group["lr"] = rates
        elif rates is None:
            self._step_with_care()
            return
        else:
            for group, rate in zip(groups, rates):  # type: ignore[arg-type]  # noqa: B905 - a list, as long as groups
                group["lr"] = rate
        self.last_epoch = t
        self._step_count += 1
        self._now = rates

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`."""
        _warn_get_lr_called_within_step(self)
        self._take_in()
        rates = self._rates_at(self.last_epoch)
        if rates is None:
            return super().get_lr()
        groups = self.optimizer.param_groups
        each = rates if isinstance(rates, list) else [rates] * len(groups)
        return [like(group["lr"], rate) for group, rate in zip(groups, each, strict=True)]

    def _take_in(self) -> None:
        """Give the groups that were added what those at hand have."""
        groups = self.optimizer.param_groups
        for place in range(len(self.base_lrs), len(groups)):
            self._late(place, groups[place])

    def _remember(self) -> None:
        super()._remember()
        groups = self.optimizer.param_groups
        plain = self._lean and self._step_count != 1 and all(type(group["lr"]) is float for group in groups)
        self._last, self._count = groups[-1] if plain else None, len(groups)

    def _forget(self) -> None:
        self._last, self._count = None, -1
