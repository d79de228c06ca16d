"""What all classes of the drop-in share: torch's face, a memory of their own, and the rates in the groups.

A class here inherits torch's class of the same name: its constructor (with its checks, errors and warnings), its
fields and its state. What is overridden is how rates are computed and written. What torch does not have lies in
slots, not in `__dict__`, so that a state has torch's keys and goes both ways.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

from torch import Tensor, full_like
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrkit.errors import SpecError, did_you_mean
from lrkit.lr_scheduler.lead import Group, Lead

__all__ = [
    "After",
    "Defects",
    "Group",
    "Rate",
    "Twin",
    "Watched",
    "as_after",
    "as_defects",
    "like",
    "put",
    "same_in",
    "version_of",
]

Rate = float | Tensor

After = Literal["stock", "hold"]
"""What comes after the planned end: torch's own numbers, or the last value."""

Defects = Literal["stock", "mended"]
"""Where torch's own numbers are defective: those numbers, or right ones."""

# The lrs that constructors and loaded states have written, by optimizer. A state that is loaded next may replace
# them, but not what came from elsewhere, such as the optimizer's own checkpoint.
_PROVISIONAL: WeakKeyDictionary[Optimizer, list[Rate]] = WeakKeyDictionary()


class Watched:
    """A parameter that torch keeps in `__dict__`. Setting it makes the scheduler forget what it read ahead."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(
        self, scheduler: Twin | None, owner: type
    ) -> Any:  # whatever torch's class keeps under this name
        if scheduler is None:
            return self
        try:
            return scheduler.__dict__[self._name]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}") from None

    def __set__(self, scheduler: Twin, value: object) -> None:
        fields = scheduler.__dict__
        same = self._name in fields and fields[self._name] == value
        fields[self._name] = value
        if not same:
            scheduler._forget()

    def __delete__(self, scheduler: Twin) -> None:
        del scheduler.__dict__[self._name]
        scheduler._forget()


class Twin(LRScheduler):
    """One of torch's classes with other arithmetic.

    `_now` is what was last written: a list, one rate for each group, or one float where all groups hold that
    very object. A rate that a group keeps in a tensor is in it as a plain number.
    """

    __slots__ = ("_lead", "_now", "after", "defects")

    after: After
    defects: Defects
    _lead: (
        Lead | None
    )  # what is read ahead, in the classes that go on from what they find; `_now` is in it then
    _now: float | list[float]

    _lean = True
    """Whether rates may come from what was read ahead: not in a subclass that computes its own."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        users = [part for part in cls.__mro__ if part.__module__.partition(".")[0] not in ("lrkit", "torch")]
        cls._lean = not any({"get_lr", "_update_lr", "_initial_step"} & vars(part).keys() for part in users)

    def __new__(cls, *arguments: object, **options: object) -> Self:
        """An instance whose fields lie in a dictionary of its own.

        That is what CPython reads quickest once anybody has asked an instance for its `__dict__`, as `Watched` does.
        """
        del arguments, options
        made = super().__new__(cls)
        made.__dict__ = {}
        made._lead, made._now = None, []
        return made

    @property
    def _last_lr(self) -> list[Rate]:
        groups, now = self.optimizer.param_groups, self._rates()
        return [like(group["lr"], rate) for group, rate in zip(groups, now, strict=False)] + now[
            len(groups) :
        ]

    @_last_lr.setter
    def _last_lr(self, rates: Sequence[Rate]) -> None:
        self._halt()
        self._now = [float(rate) for rate in rates]

    def state_dict(self) -> dict[str, Any]:
        """torch's state: all fields but the optimizer."""
        return {**super().state_dict(), "_last_lr": self._last_lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where the state was saved, and write its lrs, which torch leaves undone.

        An lr that came from elsewhere since this scheduler was built, as from the optimizer's own checkpoint, is
        left as it is. The state may be one of torch's own class; it is not changed.
        """
        ours = self._wrote_all()
        state = dict(state_dict)
        rates = state.pop("_last_lr", None)
        self._adopt(state)
        if rates is not None:
            self._last_lr = rates
        written = rates is not None and ours and len(rates) == len(self.optimizer.param_groups)
        if written:
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                put(group, rate)
            self._settle_in()
        self._forget()
        if written:
            self._write_rest()

    def _write_rest(self) -> None:
        """Write what goes with the lrs of a state."""

    def _adopt(self, state: dict[str, Any]) -> None:
        """Take the fields of a state, which are torch's."""
        super().load_state_dict(state)

    def _halt(self) -> None:
        """Stand where what was read ahead has led to, without it."""
        if self._lead is not None:
            self._now, self._lead = self._lead.now, None

    def _forget(self) -> None:
        """Drop what was read ahead."""
        self._halt()

    def _initial_step(self) -> None:
        if self.defects == "mended" and self.last_epoch >= 0:
            self.last_epoch -= 1  # so many updates are done; torch would stand one further
        super()._initial_step()
        self._settle_in()

    def _settle_in(self) -> None:
        """Mark the lrs in the groups as ones that a state may replace."""
        # Copies of tensors: one that is edited in place is another lr, though the same object.
        rates = [group["lr"] for group in self.optimizer.param_groups]
        _PROVISIONAL[self.optimizer] = [
            rate.detach().clone() if isinstance(rate, Tensor) else rate for rate in rates
        ]

    def _wrote_all(self) -> bool:
        """Whether the groups hold what this scheduler wrote last, or what a constructor or a state wrote."""
        groups = self.optimizer.param_groups
        return any(
            len(written) == len(groups)
            and all(_holds(g, rate) for g, rate in zip(groups, written, strict=True))
            for written in (self._rates(), _PROVISIONAL.get(self.optimizer, []))
        )

    def _rates(self) -> list[float]:
        """What was last written, group by group."""
        now = self._now if self._lead is None else self._lead.now
        return list(now) if isinstance(now, list) else [now] * len(self.optimizer.param_groups)

    def _remember(self) -> None:
        """Take what the groups hold for what was written; one object for all where the numbers are equal."""
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        if rates and all(type(rate) is float for rate in rates) and rates.count(rates[0]) == len(rates):
            self._now = rates[0]
            for group in groups:
                group["lr"] = rates[0]
        else:
            self._now = [float(rate) if isinstance(rate, Tensor) else rate for rate in rates]

    def _update_lr(self, epoch: Any = None) -> None:
        super()._update_lr(epoch)
        self._remember()

    def _step_with_care(self, epoch: Any = None) -> None:
        """A step with torch's own checks and warnings, which point at whoever called `step`."""
        hasty = self._step_count == 1 and not (
            hasattr(self.optimizer.step, "_wrapped_by_lr_sched")
            and getattr(self.optimizer, "_opt_called", False)
        )
        if not hasty and epoch is None:
            self._step_count += 1
            self._update_lr()
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            LRScheduler.step(self, epoch)
        for warning in caught:
            warnings.warn(warning.message, stacklevel=_outside())


def like(lr: Rate, rate: float) -> Rate:
    """A rate as a new object of the kind that a group holds: a plain number, or a tensor."""
    return full_like(lr, rate, requires_grad=False) if isinstance(lr, Tensor) else rate


def put(group: Group, rate: Rate) -> None:
    """Write a group's lr: a tensor keeps being the same object, as captured graphs go on reading it."""
    lr = group["lr"]
    if isinstance(lr, Tensor):
        lr.fill_(rate.reshape(()) if isinstance(rate, Tensor) else rate)
    else:
        group["lr"] = rate


def _outside() -> int:
    """The stack level, for a warning, of the first caller that is not in this room."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lrkit.lr_scheduler"):
        level, frame = level + 1, frame.f_back
    return level


def as_after(after: object) -> After:
    """`after` as it may be."""
    if after == "stock" or after == "hold":
        return after
    raise SpecError(f"after={after!r}{did_you_mean(str(after), ('stock', 'hold'))}")


def as_defects(defects: object) -> Defects:
    """`defects` as it may be."""
    if defects == "stock" or defects == "mended":
        return defects
    raise SpecError(f"defects={defects!r}{did_you_mean(str(defects), ('stock', 'mended'))}")


def _holds(group: Group, rate: Rate) -> bool:
    lr = group["lr"]
    if lr is rate:
        return True
    if isinstance(lr, Tensor) or isinstance(rate, Tensor):
        return math.isclose(float(lr), float(rate), rel_tol=1e-6)
    return bool(lr == rate)


def version_of(lr: Rate) -> tuple[int, int] | None:
    """What tells, without reading it, whether a tensor was written since."""
    return (id(lr), lr._version) if isinstance(lr, Tensor) else None


def same_in(rate: float, other: float, lr: Rate) -> bool:
    """Whether the same number, as far as the group's own precision goes."""
    return rate == (float(like(lr, other)) if isinstance(lr, Tensor) else other)
