"""The classes that go on from the lr they find: what others did to it before, or do in between, stays done.

Where torch multiplies the lr by a ratio at each step, and drifts, these compute it anew from the start of the
schedule: lr(t) = low + span u(t), where u is the schedule's factor (from 1) and low is eta_min, or 0. Only an lr
that somebody else has written moves the span: found at step k, it makes it (lr - low) / u(k), so that schedulers
on one optimizer multiply.
"""

from __future__ import annotations

from abc import abstractmethod
from math import isclose
from operator import index
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import _warn_get_lr_called_within_step

from lrkit.errors import SpecError
from lrkit.lr_scheduler.ahead import SHORT, Ahead
from lrkit.lr_scheduler.lead import lead_from
from lrkit.lr_scheduler.twin import Group, Rate, Twin, like, put, same_in, version_of
from lrkit.schedule import Schedule

__all__ = ["LONG", "MOVED", "Chainable", "whole"]

MOVED = "_lrkit_spans"
"""Where a state keeps the (low, span) of each group, if somebody else has moved them."""

_DRIFT = 1e-6
"""How far, relatively, a saved lr may lie off the formula: torch's own drift, in float32 tensors too."""

LONG = 4096
"""How many steps are read ahead at most: SHORT at first and after others wrote an lr, then twice as many each time."""


class Chainable(Twin):
    """Rates that go on from the lr that is found.

    `_known` is the step that `_now` belongs to. `_handed` is what `get_lr` last gave, and for which step: a host
    that writes that itself has changed nothing. `_quiet` says whether it is worth reading ahead, `_reach` how far.
    """

    __slots__ = ("_ahead", "_handed", "_known", "_lows", "_quiet", "_reach", "_spans", "_versions")

    _ahead: Ahead | None
    _handed: tuple[int, list[float]]
    _known: int
    _lows: list[float]
    _quiet: bool
    _reach: int
    _spans: list[float]
    _versions: list[tuple[int, int] | None]

    _acts_when_built = False
    """Whether, built with last_epoch=k, it does what step k + 1 does to the lr; else it finds that done."""

    _parameters: tuple[str, ...] = ()
    """The fields that say which schedule it is."""

    @abstractmethod
    def _schedule(self) -> Schedule:
        """The factors, from 1 before anything is done."""

    def _low(self, group: Group) -> float:
        """The rate that is approached in a group."""
        del group
        return 0.0

    def _factor(self, ahead: Ahead, t: int) -> float:
        """The factor of a step: 0 where it is 0 but for its rounding."""
        return ahead[max(0, t)]

    def _turning(self, t: int) -> int | None:
        """The first step from `t` on after which it goes on from the base lrs; None if there is none."""
        del t
        return None

    def _clock(self) -> int | None:
        """The step of the schedule; None where it has none, as between two steps."""
        return whole(self.last_epoch)

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        t, lead = self.last_epoch + 1, self._lead
        if lead is not None and epoch is None and lead.write(self.optimizer.param_groups, t):
            self.last_epoch = t
            self._step_count += 1
            return
        self._halt()
        self._step_with_care(epoch)
        self._read_ahead()

    def get_lr(self) -> list[Rate]:
        """The rates at `last_epoch`, whichever step the groups are at: the same however often it is asked."""
        _warn_get_lr_called_within_step(self)
        self._halt()
        ahead, t = self._factors(), self._clock()
        if ahead is None or t is None:
            return super().get_lr()
        self._look(ahead)
        turning = self._turning(self._known)
        if turning is not None and turning < t and self._is_moved():
            self._turn(ahead, turning)
        u = self._factor(ahead, t)
        rates = [low + span * u for low, span in zip(self._lows, self._spans, strict=True)]
        self._handed = t, rates
        return [
            like(group["lr"], rate) for group, rate in zip(self.optimizer.param_groups, rates, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """torch's state, and under one key more what others have done to the lrs, if they have."""
        state = super().state_dict()
        if not self._is_moved():
            return state
        return {**state, MOVED: [*map(list, zip(self._lows, self._spans, strict=True))]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `Twin.load_state_dict`. Mended, the schedule is the one asked for here, not the saved one."""
        state = dict(state_dict)
        moved = state.pop(MOVED, None)
        if self.defects == "mended":
            state = {key: value for key, value in state.items() if key not in self._parameters}
        super().load_state_dict(state)
        self._recall(moved)

    def _recall(self, moved: list[list[float]] | None) -> None:
        """Find the spans that belong to a loaded state."""
        rates, ahead, t = self._rates(), self._factors(), self._clock()
        self._known, self._handed = self.last_epoch, (self.last_epoch, [])
        self._versions = [version_of(group["lr"]) for group in self.optimizer.param_groups]
        spans = self._untouched() if moved is None else moved
        self._lows, self._spans = [low for low, _ in spans], [span for _, span in spans]
        if moved is not None or ahead is None or t is None:
            return
        u = self._factor(ahead, t)
        if self.defects == "mended":
            due = [low + span * u for low, span in zip(self._lows, self._spans, strict=True)]
            if self._wrote_all():
                for group, rate in zip(self.optimizer.param_groups, due, strict=False):
                    put(group, rate)
                self._now = due
                self._settle_in()
            return
        for place, rate in enumerate(rates[: len(self._spans)]):
            if not isclose(rate, self._lows[place] + self._spans[place] * u, rel_tol=_DRIFT, abs_tol=1e-15):
                self._take(place, rate, u)

    def _is_moved(self) -> bool:
        """Whether somebody else has moved the spans."""
        return [*map(list, zip(self._lows, self._spans, strict=True))] != self._untouched()

    def _untouched(self) -> list[list[float]]:
        """(low, span) of each group whose base lr is known, if nobody else has written an lr."""
        pairs = zip(self.optimizer.param_groups, self.base_lrs, strict=False)
        return [[low := self._low(group), float(base) - low] for group, base in pairs]

    def _get_closed_form_lr(self) -> list[Rate]:
        ahead, t = self._factors(), self._clock()
        if ahead is None or t is None:
            closed: list[Rate] = super()._get_closed_form_lr()  # type: ignore[misc]  # torch's class comes next
            return closed
        u = self._factor(ahead, t)
        rates = [low + span * u for low, span in zip(self._lows, self._spans, strict=True)]
        return [
            like(group["lr"], rate) for group, rate in zip(self.optimizer.param_groups, rates, strict=True)
        ]

    def _update_lr(self, epoch: Any = None) -> None:
        if (self.last_epoch == -1 and epoch is None) or self._step_count <= 1:
            self._begin()
        if epoch is not None and hasattr(self, "_get_closed_form_lr"):
            self._start_over()
        super()._update_lr(epoch)

    def _remember(self) -> None:
        super()._remember()
        self._lead = None
        self._known = self._clock() or 0
        if not self._lean:
            self._compare()
        self._handed = self._known, []
        self._versions = [version_of(group["lr"]) for group in self.optimizer.param_groups]

    def _compare(self) -> None:
        """Go on from what a subclass has made of the rates that it was handed."""
        handed_at, handed = self._handed
        ahead, rates = self._factors(), self._rates()
        if handed_at != self._known or len(handed) != len(rates) or ahead is None:
            return
        u = self._factor(ahead, self._known)
        for place, group in enumerate(self.optimizer.param_groups):
            if not same_in(rates[place], handed[place], group["lr"]):
                self._take(place, rates[place], u)

    def _halt(self) -> None:
        if self._lead is not None:
            self._known = self._lead.step + self._offset()
        super()._halt()

    def _forget(self) -> None:
        super()._forget()
        self._ahead = None
        self._quiet, self._reach = False, SHORT

    def _factors(self) -> Ahead | None:
        """What the schedule says, ahead; None for parameters that no schedule takes, which go torch's own way."""
        if self._ahead is None:
            try:
                self._ahead = Ahead(self._schedule())
            except (SpecError, TypeError, ValueError):
                return None
        return self._ahead

    def _begin(self) -> None:
        """Start from the lrs that the groups hold: from before step 0, or from a step in the middle."""
        self._forget()
        groups = self.optimizer.param_groups
        rates = [float(group["lr"]) for group in groups]
        self._lows = [self._low(group) for group in groups]
        self._known = self.last_epoch + (not self._acts_when_built)
        ahead = self._factors()
        if self.last_epoch < 0 or ahead is None:
            self._spans = [rate - low for rate, low in zip(rates, self._lows, strict=True)]
        else:
            self._spans = [span for _, span in self._untouched()]
            u = self._factor(ahead, self._known)
            for place, rate in enumerate(rates if self.defects == "stock" else []):
                self._take(place, rate, u)
        self._now, self._handed = rates, (self._known, [])
        self._versions = [version_of(group["lr"]) for group in groups]

    def _start_over(self) -> None:
        """Forget what others did, as torch does where an epoch is given."""
        groups = self.optimizer.param_groups
        late = [float(group.get("initial_lr", group["lr"])) for group in groups[len(self.base_lrs) :]]
        bases = [float(base) for base in self.base_lrs] + late
        self._lows = [self._low(group) for group in groups]
        self._spans = [base - low for base, low in zip(bases, self._lows, strict=False)]
        self._quiet = False

    def _look(self, ahead: Ahead) -> None:
        """Find what others have done to the lrs since they were last written here."""
        groups, now = self.optimizer.param_groups, self._rates()
        handed_at, handed = self._handed
        if handed_at <= self._known:
            handed = []  # the groups have been stepped since
        self._quiet = True
        if len(groups) < len(self._spans):  # which ones went, nobody knows
            del self._spans[:], self._lows[:]
        if not self._spans:
            self._sit()
            self._quiet = False
            return
        u, moved = self._factor(ahead, self._known), False
        for place, group in enumerate(groups):
            lr = group["lr"]
            if place >= len(self._spans):
                self._spans.append(0.0)
                self._lows.append(self._low(group))
                self._join(place, float(lr), u)
            elif lr is now[place] or self._unchanged(place, lr):
                continue
            else:
                rate = float(lr)
                if handed and same_in(rate, handed[place], lr):
                    moved = True
                    continue
                if same_in(rate, now[place], lr):
                    continue
                self._take(place, rate, u)
            self._quiet = False
        if moved:
            self._known = handed_at
            self._now = handed
        if not self._quiet:
            self._reach = SHORT

    def _sit(self) -> None:
        """Take what the groups hold for the lrs of the step that is known."""
        self._start_over()
        ahead = self._factors()
        if ahead is None:
            return
        u, groups = self._factor(ahead, self._known), self.optimizer.param_groups
        rates = [float(group["lr"]) for group in groups]
        for place, rate in enumerate(rates):
            self._take(place, rate, u)
        self._now, self._handed = rates, (self._known, [])
        self._versions = [version_of(group["lr"]) for group in groups]

    def _take(self, place: int, rate: float, u: float) -> None:
        """Go on from a rate that was found where the factor is `u`."""
        if u:
            self._spans[place] = (rate - self._lows[place]) / u
        else:
            self._lows[place] = rate

    def _turn(self, ahead: Ahead, turning: int) -> None:
        """Forget what others did before a turning, but for what they made of the lr while it was there."""
        now, u = self._rates(), self._factor(ahead, turning)
        groups = self.optimizer.param_groups
        for place, (group, (low, span)) in enumerate(zip(groups, self._untouched(), strict=False)):
            self._lows[place], self._spans[place] = low, span
            if self._known == turning:
                kept = place < len(now) and self._unchanged(place, group["lr"])
                self._take(place, now[place] if kept else float(group["lr"]), u)

    def _lower(self) -> None:
        """Go on from the lrs at hand towards other lows, as the parameters have them now."""
        ahead, rates = self._factors(), self._rates()
        if ahead is None or len(rates) != len(self._spans):
            return  # lapsed: it will be found what there is
        u, groups = self._factor(ahead, self._known), self.optimizer.param_groups
        for place, (group, rate) in enumerate(zip(groups, rates, strict=False)):
            self._lows[place] = self._low(group)
            self._take(place, rate, u)

    def _join(self, place: int, rate: float, u: float) -> None:
        """Take in a group that was added: from its own lr, or (mended) at its own lr times the factor."""
        if self.defects == "stock":
            self._take(place, rate, u)
        else:
            self._spans[place] = rate - self._lows[place]

    def _unchanged(self, place: int, lr: Rate) -> bool:
        """Whether a tensor is as it was, told without waiting for its device."""
        return (
            isinstance(lr, Tensor) and place < len(self._versions) and self._versions[place] == version_of(lr)
        )

    def _offset(self) -> int:
        """How far the schedule's step is ahead of `last_epoch`."""
        return 0

    def _read_ahead(self) -> None:
        """Work out the steps to come, where nobody else seems to write."""
        t, groups = self.last_epoch, self.optimizer.param_groups
        if not (self._lean and self._quiet) or self._step_count < 2 or whole(t) is None:
            return
        ahead = self._factors()
        if ahead is None or any(version is not None for version in self._versions):
            return
        stop, turning = t + 1 + self._reach, self._turning(t)
        if turning is not None and turning < stop and self._is_moved():
            stop = turning + 1
        if stop <= t + 1:
            return
        units = ahead.chunk(t + self._offset(), stop + self._offset())
        self._lead = lead_from(t, groups, self._now, self._lows, self._spans, units)
        self._reach = min(2 * self._reach, LONG)


def whole(step: Any) -> int | None:
    """A step that a schedule knows: a whole number from 0."""
    try:
        return t if (t := index(step)) >= 0 else None
    except TypeError:
        return None
