"""ChainedScheduler: schedulers all at once, their product read ahead where they multiply."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose, prod
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock
from torch.optim.lr_scheduler import LRScheduler

from lrkit.lr_scheduler.ahead import SHORT
from lrkit.lr_scheduler.chainable import LONG, MOVED, Chainable
from lrkit.lr_scheduler.joint import Joint, asked, leap, undo, write_bases
from lrkit.lr_scheduler.lead import Follow, lead_from
from lrkit.lr_scheduler.twin import Defects, Rate, Twin, as_defects

__all__ = ["ChainedScheduler"]


class ChainedScheduler(Joint, stock.ChainedScheduler):
    """Members all at once, in order: those that go on from the lr they find multiply.

    Where all members do so, and start from 0 and from plain numbers, the product is read ahead. `_spans` is what
    it multiplies in each group: the base lr, unless somebody else has written an lr.
    """

    __slots__ = ("_follow", "_reach", "_spans")

    _follow: Follow | None  # what members have while the chain leads
    _reach: int
    _spans: list[float]

    def __init__(
        self,
        schedulers: Sequence[LRScheduler],
        optimizer: Optimizer | None = None,
        *,
        defects: Defects = "stock",
    ) -> None:
        self.defects = as_defects(defects)
        self._spans = []
        self._forget()
        super().__init__(schedulers, optimizer)

    def step(self) -> None:  # type: ignore[override]  # as torch's
        """One step on."""
        lead, follow, members = self._lead, self._follow, self._schedulers
        if lead is None:
            self._step_members()
            return
        done = lead.step
        for member in members:
            if member._lead is not follow or member.last_epoch != done:
                self._step_members()
                return
        done += 1
        if not lead.write(self.optimizer.param_groups, done):
            self._step_members()
            return
        for member in members:
            member.last_epoch = done
            member._step_count += 1

    def get_lr(self) -> list[Rate]:
        """The rates at the members' `last_epoch`."""
        return asked(self._schedulers[-1])

    def state_dict(self) -> dict[str, Any]:
        """torch's state, with what others have done to the lrs under one key more, if they have."""
        self._part()
        state = super().state_dict()
        moved = bool(self._spans) and self._spans != [float(base) for base in self._schedulers[0].base_lrs]
        return {**state, MOVED: list(self._spans)} if moved else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `Joint.load_state_dict`."""
        state = dict(state_dict)
        spans = state.pop(MOVED, [])
        super().load_state_dict(state)
        self._spans = list(spans)

    def _step_members(self) -> None:
        """Step each member, and see whether their product can be read ahead."""
        for member in self._schedulers:
            if isinstance(member, Twin):
                member._halt()
        self._halt()
        plain = self._is_plain()
        if not plain:
            self._spans = []
        quiet = plain and self._find_spans()
        for member in self._schedulers:
            member.step()
        groups = self.optimizer.param_groups
        if plain and self._spans:
            u = self._factor_at([member.last_epoch for member in self._schedulers])
            for group, span in zip(groups, self._spans, strict=True):
                group["lr"] = span * u  # the members' steps give the same but for their rounding
        self._remember()
        if plain and self._spans:
            for member in self._schedulers:
                member._remember()
                member._sit()  # the next step may be the members' own
        if quiet:
            self._read_ahead()

    def _is_plain(self) -> bool:
        """Whether all members multiply plain numbers."""
        groups = self.optimizer.param_groups
        return all(type(group["lr"]) is float for group in groups) and all(
            isinstance(member, Chainable)
            and member._lean
            and type(member)._clock is Chainable._clock
            and member._factors() is not None
            and member.last_epoch >= 0
            and member._step_count > 1 - (member.last_epoch == 0)
            and not any(member._low(group) for group in groups)
            and member._turning(member._known) != member._known
            for member in self._schedulers
        )

    def _find_spans(self) -> bool:
        """Find what is multiplied, from what the groups hold; whether that was so before."""
        groups, now = self.optimizer.param_groups, self._rates()
        rates = [group["lr"] for group in groups]
        if self._spans and rates == now and len(self._spans) == len(rates):
            return True
        u = self._factor_at([member._known for member in self._schedulers])
        bases = [float(base) for base in self._schedulers[0].base_lrs]
        bases += [float(group.get("initial_lr", group["lr"])) for group in groups[len(bases) :]]
        whole = [
            isclose(rate, base * u, rel_tol=1e-9, abs_tol=1e-300)
            for rate, base in zip(rates, bases, strict=True)
        ]
        fresh = not self._spans
        if u or all(whole):
            self._spans = [b if same else rate / u for rate, b, same in zip(rates, bases, whole, strict=True)]
        else:
            self._spans = []
        return fresh and bool(self._spans)

    def _factor_at(self, steps: list[int]) -> float:
        """The product of the members' factors, each at a step of its own."""
        pairs = zip(self._schedulers, steps, strict=True)
        u: float = prod(member._factor(member._factors(), step) for member, step in pairs)
        return u

    def _read_ahead(self) -> None:
        """Read the product ahead. The members' own spans lapse: they follow from the lrs."""
        members = self._schedulers
        start = members[0].last_epoch + 1
        if any(member.last_epoch != start - 1 for member in members):
            return  # not in step with each other
        turnings = [turning for m in members if (turning := m._turning(start - 1)) is not None]
        count = min([self._reach, *(turning + 1 - start for turning in turnings)])
        if count < 1:
            return
        units = np.ones(count + 1)
        for member in members:
            units = units * member._factors().chunk(start - 1, start + count)
        spans = self._spans
        self._lead = lead_from(
            start - 1, self.optimizer.param_groups, self._now, [0.0] * len(spans), spans, units
        )
        self._follow = Follow(self._lead)
        self._reach = min(2 * self._reach, LONG)
        for member in members:
            member._lead, member._quiet, member._spans, member._lows = self._follow, False, [], []

    def _part(self) -> None:
        """Let the members stand on their own again."""
        for member in self._schedulers if self._lead is not None else ():
            if member._lead is self._follow:
                member._halt()
                member._sit()
        self._halt()

    def _initial_step(self) -> None:
        """Begin anew as the first member of a sequence: torch would do the second step's work as well."""
        for member in self._schedulers:
            member._initial_step()
        self._spans = []
        self._forget()
        self._remember()

    def _update_lr(self, epoch: Any = None) -> None:
        """Begin anew, or take a step, as a member of a sequence."""
        if epoch is None:
            self.step()
            return
        write_bases(self)
        for member in self._schedulers:
            undo(member)
        self._initial_step()
        for member in self._schedulers if epoch else ():
            leap(member, epoch)
        self._remember()

    def _forget(self) -> None:
        super()._forget()
        self._follow, self._reach = None, SHORT
