"""Scheduler: binds schedules to an optimizer, and is torch's LRScheduler to everyone who asks for one.

It counts and writes through a `Hand`; here are the door, the face that peers know, and the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrkit.duration import Horizon
from lrkit.errors import SpecError, StateError, did_you_mean
from lrkit.optim.groups import Target, group_names
from lrkit.optim.hand import Hand
from lrkit.optim.lanes import Lane
from lrkit.optim.registry import enlist, innermost, withdraw
from lrkit.optim.state import State, Terms
from lrkit.schedule import Schedule
from lrkit.spec import parse

if TYPE_CHECKING:
    from lrkit.plan import Plan

__all__ = ["Clock", "Scheduler"]

Clock = Literal["updates", "calls"]

_LR = Target("lr")


class Scheduler(LRScheduler):
    """Writes `base * factor(t)` into the optimizer's groups before update `t`, for `t` = 0, 1, 2, ...

    `schedule` is a Schedule or its text, for the lr; or a mapping from hyperparameters to either: `"lr"`,
    `"momentum"`, `"weight_decay"`, `"betas[0]"`, any number that a group holds, in every group, or
    `"lr@head"` in the one named "head". What is not named is never written. `horizon` is the length of
    the run in updates.

    *Base values.* A schedule multiplies the value that the group holds when the Scheduler is built; if
    the group has an `initial_lr` (`initial_momentum`, ...) a scheduler was there before it, perhaps in
    the checkpoint that was loaded, and that value is the base, as with torch's schedulers. `close()` ends
    a Scheduler and takes it away again. A group added later starts from the value that it comes with.
    Absolute levels become factors group by group.

    *Clock.* "updates" counts the optimizer's updates by itself: `step()` changes nothing and may be
    called once, twice, per process or never, and neither micro-batches nor steps that a GradScaler skips
    count. It goes on as long as the optimizer lives, whether or not the Scheduler is kept. "calls" counts
    calls of `step()`, for replayed CUDA graphs (Python hooks do not run there), for hosts that set
    `last_epoch` and inside torch's SequentialLR.

    `floor` is an lr (not a factor) below which no group's lr is set, applied last. `step` is the number
    of updates already done. After the end the last value holds, with one warning, unless the schedule
    says `.after(...)`.

    Raises SpecError when a schedule, a hyperparameter, a floor or a level does not fit, HorizonError when
    a duration cannot be converted.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = Scheduler(optimizer, "linear(to=0)", 4)
    >>> for _ in range(2):
    ...     optimizer.step()
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule | str | Mapping[str, Schedule | str],
        horizon: Horizon | int,
        *,
        clock: Clock = "updates",
        floor: float | None = None,
        step: int = 0,
    ) -> None:
        # LRScheduler.__init__ is not called: it wraps optimizer.step and takes a step (as for
        # ReduceLROnPlateau).
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"a Scheduler takes an Optimizer, not a {type(optimizer).__name__}")
        if clock not in ("updates", "calls"):
            raise SpecError(f"clock={clock!r}{did_you_mean(str(clock), ('updates', 'calls'))}")
        self._clock: Clock = clock
        self._closed = False
        self.optimizer = optimizer
        schedules = _schedules(schedule)
        _check_groups(schedules, optimizer)
        self._hand = Hand(
            schedules,
            horizon if isinstance(horizon, Horizon) else Horizon(horizon),
            floor=_floor(floor, schedules),
            step=_count(step),
        )
        self._hand.bind(optimizer)
        enlist(self._hand, optimizer, counting=clock == "updates")
        self._hand.write(optimizer)
        self._step_count = step + 1

    @classmethod
    def from_plan(
        cls,
        plan: Plan,
        optimizer: Optimizer,
        *,
        horizon: Horizon | None = None,
        unmatched: Literal["error", "keep"] = "error",
    ) -> Scheduler:
        """The Scheduler that a plan asks for; the plan's lrs overwrite `lr` and `initial_lr` of the groups.

        A group gets the lr (and schedule) that the plan has under its `name`; the optimizer's only group,
        or its only one without a name, gets the plan's main lr. Groups without a match on either side are
        a PlanError, unless `unmatched="keep"` leaves those groups their own lrs. `horizon` is the run at
        hand: where it is not the plan's, it is a PlanError too.
        """
        from lrkit.optim.binding import bind_plan  # it makes a Scheduler itself

        return bind_plan(cls, plan, optimizer, horizon=horizon, unmatched=unmatched)

    @property
    def done(self) -> int:
        """How many updates are done: the step that the next one is."""
        return self._hand.step

    @property
    def horizon(self) -> Horizon:
        """The length of the run."""
        return self._hand.horizon

    @property
    def clock(self) -> Clock:
        """What counts: the optimizer's updates, or calls of `step()`."""
        return self._clock

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedule of each hyperparameter."""
        return {str(target): schedule for target, schedule in self._hand.schedules.items()}

    def step(self, epoch: object = None) -> None:
        """With clock="calls": one more update is done. With clock="updates": nothing, call it or not.

        The argument that some hosts pass (an epoch, a metric, a batch size) is taken and not read.
        """
        self._step_count += 1
        if self._clock == "calls":
            self._hand.advance(self.optimizer)

    def get_last_lr(self) -> list[float]:  # type: ignore[override]  # plain floats, a narrower promise than torch's
        """The lr of the next update for each group, as plain floats (no device is waited for)."""
        lrs = {lane.place: lane.value(max(0, self.done)) for lane in self._lanes() if lane.target == _LR}
        groups = self.optimizer.param_groups
        return [lrs[place] if place in lrs else _LR.read(group) for place, group in enumerate(groups)]

    def lrs(self) -> dict[str, float]:
        """The lr of the next update by group name; a group without a `name` is "group 0", "group 1", ..."""
        return dict(zip(group_names(self.optimizer.param_groups), self.get_last_lr(), strict=True))

    def get_lr(self) -> list[float]:  # type: ignore[override]  # as get_last_lr
        """The same, for hosts that write the lr themselves (ignite): right for any `last_epoch`."""
        return self.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Plain versioned data: the schedule, updates done, base values. Loads with `weights_only=True`."""
        hand = self._hand
        return State(hand.step, {target: tuple(row) for target, row in hand.bases.items()}).to_dict(
            self._terms()
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Stand where the state was saved: its step, its base values, and their lrs at once.

        It may come before or after the optimizer's own state, and for groups that are added only later.
        Raises StateError for the state of another schedule, horizon, clock or floor, naming the
        difference; nothing is changed then.
        """
        state = State.from_dict(state_dict, self._terms())
        hand, before = self._hand, self._hand.bases
        hand.bases = {target: list(state.bases.get(target, row)) for target, row in before.items()}
        try:
            hand.bind(self.optimizer)
        except SpecError as error:
            hand.bases = before
            raise StateError(f"this state does not fit the optimizer: {error}") from error
        hand.move(state.step)
        hand.write(self.optimizer)
        self._step_count = state.step + 1

    def close(self) -> None:
        """End it: the optimizer keeps the values it has, and they are the base of the next Scheduler."""
        if self._closed:
            return
        for lane in self._lanes():
            self.optimizer.param_groups[lane.place].pop(lane.target.memo, None)
        withdraw(self._hand, self.optimizer)
        self._closed = True

    # What peers read and write.

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]  # derived; torch has a plain attribute
        """The base lr of each group."""
        bases = {lane.place: lane.base for lane in self._lanes() if lane.target == _LR}
        groups = self.optimizer.param_groups
        return [bases[place] if place in bases else _LR.read(group) for place, group in enumerate(groups)]

    @property
    def _last_lr(self) -> list[float | Tensor]:
        return [*self.get_last_lr()]

    @_last_lr.setter
    def _last_lr(self, lrs: object) -> None:
        """Torchtitan sets it after loading; it always follows from the step."""

    @property
    def last_epoch(self) -> int:
        """The number of updates done, under torch's name for it.

        With clock="calls" it may be set, and the next `get_lr()` or `step()` goes from there. With
        clock="updates" a host's own counting by one is of no effect, and any other value is a StateError.
        """
        return self._hand.step

    @last_epoch.setter
    def last_epoch(self, step: int) -> None:
        if self._clock == "calls":
            self._hand.move(step)
        elif abs(step - self._hand.step) > 1:
            raise StateError(
                f"last_epoch = {step} while {self._hand.step} updates are done: one that counts updates"
                f" is moved by load_state_dict() or built with step={step}; clock='calls' counts by hand"
            )

    def _initial_step(self) -> None:
        """Start again as torch's SequentialLR asks of its members."""
        self._for_sequences()
        self._step_count = 0
        self.step()

    def _update_lr(self, epoch: int | None = None) -> None:
        """Be at update `epoch`, or at the next one, as torch's SequentialLR asks of its members."""
        self._for_sequences()
        self._hand.move(self._hand.step + 1 if epoch is None else epoch)
        self._hand.write(self.optimizer)

    def _for_sequences(self) -> None:
        if self._clock == "updates":
            raise StateError(
                "a Scheduler inside torch's SequentialLR is stepped by it: build it with clock='calls',"
                " or join the schedules with >> in one Scheduler"
            )

    def _lanes(self) -> list[Lane]:
        """What is written, with the groups that were added since the last update."""
        if not self._closed:
            self._hand.take_in(self.optimizer)
        return self._hand.lanes

    def _terms(self) -> Terms:
        return Terms(self._hand.schedules, self._hand.horizon, self._clock, self._hand.floor)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy gets hooks of its own on its copy of the optimizer, which loses them when it is copied or
        # pickled.
        settings = (self.schedules, self.horizon, self._clock, self._hand.floor)
        return _again, (self.optimizer, *settings, self.state_dict())

    def __repr__(self) -> str:
        shown = "; ".join(
            str(schedule) if target == _LR else f"{target}: {schedule}"
            for target, schedule in self._hand.schedules.items()
        )
        lrs = ", ".join(f"{lr:.6g}" for lr in self.get_last_lr())
        kind = type(innermost(self.optimizer)).__name__
        return f"<Scheduler {shown} on {kind}: {self.done} of {self.horizon.steps} updates done, lr {lrs}>"


def _schedules(given: Schedule | str | Mapping[str, Schedule | str]) -> dict[Target, Schedule]:
    table = given if isinstance(given, Mapping) else {"lr": given}
    if not table:
        raise SpecError("a Scheduler of no schedule: give one, or a mapping such as {'lr': 'cosine(to=0)'}")
    return {Target.parse(key): _schedule(key, schedule) for key, schedule in table.items()}


def _schedule(key: str, given: object) -> Schedule:
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        return parse(given)
    raise SpecError(f"the schedule of {key!r} is a {type(given).__name__}: give a Schedule or its text")


def _check_groups(schedules: Mapping[Target, Schedule], optimizer: Optimizer) -> None:
    groups = optimizer.param_groups
    names = {*group_names(groups), *(str(group["name"]) for group in groups if group.get("name"))}
    for target in schedules:
        if target.group is not None and target.group not in names:
            raise SpecError(f"{str(target)!r}: no group has that name{did_you_mean(target.group, names)}")


def _floor(floor: object, schedules: Mapping[Target, Schedule]) -> float | None:
    if floor is None:
        return None
    if not isinstance(floor, Real) or isinstance(floor, bool) or not 0 <= float(floor) < math.inf:
        raise SpecError(f"floor={floor!r}: it is an lr, a finite number from 0")
    if all(target.key != "lr" for target in schedules):
        raise SpecError(f"floor={floor!r} is for the lr, which has no schedule here")
    return float(floor)


def _count(step: object) -> int:
    if not isinstance(step, Integral) or isinstance(step, bool) or step < 0:
        raise SpecError(f"step={step!r}: it is the number of updates done, a whole number from 0")
    return int(step)


def _again(
    optimizer: Optimizer,
    schedules: dict[str, Schedule],
    horizon: Horizon,
    clock: Clock,
    floor: float | None,
    state: dict[str, Any],
) -> Scheduler:
    scheduler = Scheduler(optimizer, schedules, horizon, clock=clock, floor=floor)
    scheduler.load_state_dict(state)
    return scheduler
