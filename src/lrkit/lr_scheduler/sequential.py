"""SequentialLR: schedulers one after the other, nested at will, from any step on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock
from torch.optim.lr_scheduler import LRScheduler

from lrkit.lr_scheduler.functions import MultiplicativeLR
from lrkit.lr_scheduler.joint import Joint, asked, stand, undo, write_bases
from lrkit.lr_scheduler.twin import Defects, Rate, Twin, as_defects

__all__ = ["SequentialLR"]


class SequentialLR(Joint, stock.SequentialLR):
    """Members one after the other: number k begins at step `milestones[k - 1]`, from the base lr.

    Any member may itself be a sequence or a chain. `last_epoch=k` stands at step k + 1, as for other classes.
    `defects="mended"` starts the first member from its own base lr, also where a OneCycleLR or CyclicLR behind it
    has rewritten the group's initial lr, and a MultiplicativeLR from the base lr, without its factor of step 0.
    """

    __slots__ = ("_from", "_member", "_until")

    _from: float
    _member: Any
    _until: float

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._forget()
        super().__init__(optimizer, schedulers, milestones, last_epoch)
        if self.defects == "mended":
            self._restart()
        if last_epoch >= 0:
            self._go(last_epoch + (self.defects == "stock"))
        self._settle_in()

    @property
    def _last_lr(self) -> list[Rate]:
        rates: list[Rate] = self._at_work().get_last_lr()
        return rates

    @_last_lr.setter
    def _last_lr(self, rates: Sequence[Rate]) -> None:
        """It is the member's."""

    def step(self) -> None:  # type: ignore[override]  # as torch's, which takes no epoch here
        """One step on, perhaps into the next member."""
        t = self.last_epoch + 1
        if self._from < t < self._until:
            self.last_epoch = t
            self._member.step()
            return
        self.last_epoch = t
        place = bisect_right(self._milestones, t)
        self._member = self._schedulers[place]
        self._from = self._milestones[place - 1] if place else -1
        self._until = self._milestones[place] if place < len(self._milestones) else float("inf")
        if t == self._from:
            self._enter(self._member)
        else:
            self._member.step()

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, also where a host counts by itself (Ignite never calls `step`)."""
        place = bisect_right(self._milestones, self.last_epoch)
        member = self._schedulers[place]
        step = self.last_epoch - (self._milestones[place - 1] if place else 0)
        if member.last_epoch != step:
            stand(member, step)
        return asked(member)

    def _at_work(self) -> Any:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def _write_rest(self) -> None:
        member = self._at_work()
        if isinstance(member, Twin):
            member._write_rest()

    def _rates(self) -> list[float]:
        return [float(rate) for rate in self._last_lr]

    def _initial_step(self) -> None:
        """Begin anew as the first member of a sequence: torch would go on to the second step."""
        self.last_epoch = 0
        self._forget()
        self._schedulers[0]._initial_step()

    def _update_lr(self, epoch: Any = None) -> None:
        """Begin anew, or take a step, as a member of a sequence."""
        if epoch is None:
            self.step()
        else:
            self._go(epoch)

    def _enter(self, member: Any) -> None:
        if isinstance(member, MultiplicativeLR) and self.defects == "mended":
            write_bases(member)
            member.last_epoch = -1
            member._initial_step()
        else:
            member._update_lr(0)

    def _restart(self) -> None:
        """Begin from the first member's own base lrs."""
        first = self._schedulers[0]
        write_bases(first)
        undo(first)
        first._initial_step()

    def _go(self, step: int) -> None:
        """Stand at a step without having taken those before it."""
        self._forget()
        self.last_epoch = step
        place = bisect_right(self._milestones, step)
        stand(self._schedulers[place], step - (self._milestones[place - 1] if place else 0))

    def _forget(self) -> None:
        self._from = self._until = -1
        self._member = None
