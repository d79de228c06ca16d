"""SequentialLR and ChainedScheduler: members one after the other, or all at once, nested at will."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from math import isclose, prod
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock
from torch.optim.lr_scheduler import LRScheduler

from lrkit.lr_scheduler.ahead import CHUNK
from lrkit.lr_scheduler.chainable import Chainable
from lrkit.lr_scheduler.functions import MultiplicativeLR
from lrkit.lr_scheduler.restarts import CosineAnnealingWarmRestarts
from lrkit.lr_scheduler.twin import Defects, Rate, Twin, as_defects, put

__all__ = ["ChainedScheduler", "SequentialLR"]

_MOVED = "_lrkit_spans"  # as for the chainable classes


class Joint(Twin):
    """A scheduler made of others. Its state holds theirs."""

    __slots__ = ()

    _schedulers: Any  # a list of torch's classes, of these, and of whoever else steps

    def _at_work(self) -> Any:
        """The member whose rates are the ones in force."""
        return self._schedulers[-1]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where the state was saved: the members first, then the lrs, as in `Twin.load_state_dict`."""
        groups = self.optimizer.param_groups
        ours, held = self._wrote_all(), [_copy(group["lr"]) for group in groups]
        state = dict(state_dict)
        members, rates = state.pop("_schedulers"), state.pop("_last_lr", None)
        for member, saved in zip(self._schedulers, members, strict=True):
            member.load_state_dict(dict(saved))
        self.__dict__.update(state)
        if ours and rates is not None and len(rates) == len(groups):
            held = rates
        for group, rate in zip(groups, held, strict=True):
            put(group, rate)
        if ours:
            self._settle_in()
        if rates is not None:
            self._last_lr = rates
        self._forget()


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
        """The rates at `last_epoch`."""
        return _asked(self._at_work())

    def _at_work(self) -> Any:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

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
            _write_bases(member)
            member.last_epoch = -1
            member._initial_step()
        else:
            member._update_lr(0)

    def _restart(self) -> None:
        """Begin from the first member's own base lrs."""
        first = self._schedulers[0]
        _write_bases(first)
        _undo(first)
        first._initial_step()

    def _go(self, step: int) -> None:
        """Stand at a step without having taken those before it."""
        self._forget()
        self.last_epoch = step
        place = bisect_right(self._milestones, step)
        _stand(self._schedulers[place], step - (self._milestones[place - 1] if place else 0))

    def _forget(self) -> None:
        self._from = self._until = -1
        self._member = None


class ChainedScheduler(Joint, stock.ChainedScheduler):
    """Members all at once, in order: those that go on from the lr they find multiply.

    Where all members do so, and start from 0 and from plain numbers, the product is read ahead. `_spans` is what
    it multiplies in each group: the base lr, unless somebody else has written an lr.
    """

    __slots__ = ("_count", "_rows", "_spans")

    _count: int
    _rows: dict[int, Any]
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
        members, rows = self._schedulers, self._rows
        groups, now = self.optimizer.param_groups, self._now
        row = rows.get(members[0].last_epoch + 1) if rows else None
        if row is None or len(groups) != self._count:
            self._step_members()
            return
        for member in members:
            if member._rows is not rows or member.last_epoch != member._known:
                self._step_members()
                return
        if row.__class__ is float:
            for group in groups:
                if group["lr"] is not now:
                    self._take_back(row)
                    return
                group["lr"] = row
        else:
            for group, rate, held in zip(groups, row, now):  # type: ignore[arg-type]  # noqa: B905 - as long as groups
                if group["lr"] is not held:
                    self._take_back(row)
                    return
                group["lr"] = rate
        for member in members:
            member.last_epoch = member._known = member.last_epoch + 1
            member._step_count += 1
            member._now = row
        self._now = row

    def get_lr(self) -> list[Rate]:
        """The rates at the members' `last_epoch`."""
        return _asked(self._schedulers[-1])

    def state_dict(self) -> dict[str, Any]:
        """torch's state, with what others have done to the lrs under one key more, if they have."""
        self._part()
        state = super().state_dict()
        moved = bool(self._spans) and self._spans != [float(base) for base in self._schedulers[0].base_lrs]
        return {**state, _MOVED: list(self._spans)} if moved else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `Joint.load_state_dict`."""
        state = dict(state_dict)
        spans = state.pop(_MOVED, [])
        super().load_state_dict(state)
        self._spans = list(spans)

    def _step_members(self) -> None:
        """Step each member, and see whether their product can be read ahead."""
        plain = self._is_plain()
        quiet = plain and self._find_spans()
        for member in self._schedulers:
            member.step()
        groups = self.optimizer.param_groups
        if plain and self._spans:
            u = prod(member._factors()[member.last_epoch] for member in self._schedulers)
            for group, span in zip(groups, self._spans, strict=True):
                group["lr"] = span * u  # the members' steps give the same but for their rounding
        self._remember()
        self._count = len(groups)
        self._rows = {}
        if plain and self._spans:
            for member in self._schedulers:
                member._remember()
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
            for member in self._schedulers
        )

    def _find_spans(self) -> bool:
        """Find what is multiplied, from what the groups hold; whether that was so before."""
        groups, now = self.optimizer.param_groups, self._rates()
        rates = [group["lr"] for group in groups]
        if self._spans and rates == now and len(self._spans) == len(rates):
            return True
        u = prod(member._factors()[member._known] for member in self._schedulers)
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

    def _read_ahead(self) -> None:
        """Read the product ahead. The members' own spans lapse: they follow from the lrs."""
        members = self._schedulers
        start = members[0].last_epoch + 1
        alike = self._spans.count(self._spans[0]) == len(self._spans)
        count = CHUNK if alike else max(16, 8 * CHUNK // len(self._spans))
        units = np.ones(count)
        for member in members:
            units = units * member._factors().chunk(member.last_epoch + 1, member.last_epoch + 1 + count)
        rows = (self._spans[0] * units).tolist() if alike else np.outer(units, self._spans).tolist()
        if not alike:
            self._now = self._rates()
        self._rows = dict(zip(range(start, start + count), rows, strict=True))
        for member in members:
            member._rows, member._quiet, member._spans, member._lows = self._rows, False, [], []

    def _part(self) -> None:
        """Let the members stand on their own again."""
        if self._rows:
            for member in self._schedulers:
                if member._rows is self._rows:
                    member._sit()
        self._rows = {}

    def _take_back(self, row: Any) -> None:
        """Somebody else has written an lr: step again, slowly, from what the groups held."""
        groups = self.optimizer.param_groups
        rates = row if isinstance(row, list) else [row] * len(groups)
        for group, rate, held in zip(groups, rates, self._rates(), strict=True):
            if group["lr"] is rate:
                group["lr"] = held
        self._step_members()

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
        _write_bases(self)
        for member in self._schedulers:
            _undo(member)
        self._initial_step()
        for member in self._schedulers if epoch else ():
            _leap(member, epoch)
        self._remember()

    def _forget(self) -> None:
        self._rows, self._count = {}, -1


def _asked(member: Any) -> list[Rate]:
    """What a member says, without its warning that this is asked outside `step`."""
    member._get_lr_called_within_step = True
    try:
        rates: list[Rate] = member.get_lr()
    finally:
        member._get_lr_called_within_step = False
    return rates


def _write_bases(member: Any) -> None:
    """Give the groups the base lrs of a member, or of its first one."""
    while hasattr(member, "_schedulers"):
        member = member._schedulers[0]
    for group, base in zip(member.optimizer.param_groups, member.base_lrs, strict=False):
        put(group, base)


def _undo(member: Any) -> None:
    """Take back to before step 0."""
    for part in getattr(member, "_schedulers", ()):
        _undo(part)
    if hasattr(member, "last_epoch"):
        member.last_epoch = -1


def _stand(member: Any, step: int) -> None:
    """Bring a member to a step of its own, from the base lrs."""
    if isinstance(member, (SequentialLR, ChainedScheduler)):
        member._update_lr(step)
    elif isinstance(member, Twin) and not isinstance(member, MultiplicativeLR):
        _leap(member, step, anew=step)
    else:
        _write_bases(member)
        _undo(member)
        member._initial_step()
        _leap(member, step)


def _leap(member: Any, step: int, *, anew: int | None = None) -> None:
    """Bring a member that is at step 0 to another one: from the lrs that it finds, or (`anew`) from the base lrs."""
    if isinstance(member, CosineAnnealingWarmRestarts):
        member.step(step)
    elif isinstance(member, Twin) and not isinstance(member, Joint):
        member._step_count, member.last_epoch = step + 1, step - 1
        member._update_lr(anew)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a scheduler that steps before its optimizer: here it has to
            for _ in range(step):
                member.step()


def _copy(rate: Rate) -> Rate:
    return rate if isinstance(rate, float) else rate.clone() if hasattr(rate, "clone") else rate
