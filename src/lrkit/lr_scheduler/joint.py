"""What sequences and chains of schedulers share: a state that holds their members', and how members are moved."""

from __future__ import annotations

import warnings
from typing import Any

from lrkit.lr_scheduler.functions import MultiplicativeLR
from lrkit.lr_scheduler.restarts import CosineAnnealingWarmRestarts
from lrkit.lr_scheduler.twin import Rate, Twin, put

__all__ = ["Joint", "asked", "leap", "stand", "undo", "write_bases"]


class Joint(Twin):
    """A scheduler made of others. Its state holds theirs."""

    __slots__ = ()

    _schedulers: Any  # a list of torch's classes, of these, and of whoever else steps

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
        if ours:
            self._write_rest()

    def _write_rest(self) -> None:
        for member in self._schedulers:
            if isinstance(member, Twin):
                member._write_rest()


def asked(member: Any) -> list[Rate]:
    """What a member says, without its warning that this is asked outside `step`."""
    member._get_lr_called_within_step = True
    try:
        rates: list[Rate] = member.get_lr()
    finally:
        member._get_lr_called_within_step = False
    return rates


def write_bases(member: Any) -> None:
    """Give the groups the base lrs of a member, or of its first one."""
    while hasattr(member, "_schedulers"):
        member = member._schedulers[0]
    for group, base in zip(member.optimizer.param_groups, member.base_lrs, strict=False):
        put(group, base)


def undo(member: Any) -> None:
    """Take back to before step 0."""
    for part in getattr(member, "_schedulers", ()):
        undo(part)
    if hasattr(member, "last_epoch"):
        member.last_epoch = -1


def stand(member: Any, step: int) -> None:
    """Bring a member to a step of its own, from the base lrs."""
    if isinstance(member, Joint):
        member._update_lr(step)
    elif isinstance(member, Twin) and not isinstance(member, MultiplicativeLR):
        leap(member, step, anew=step)
    else:
        write_bases(member)
        undo(member)
        member._initial_step()
        leap(member, step)


def leap(member: Any, step: int, *, anew: int | None = None) -> None:
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
