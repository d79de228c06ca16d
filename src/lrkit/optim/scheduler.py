"""Scheduler: binds schedules to an optimizer, and is torch's LRScheduler to everyone who asks for one.

It counts and writes through a `Hand`; here are the door, the face that peers know, and the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrkit.control import Action, Controller
from lrkit.duration import Duration, Horizon
from lrkit.errors import LrkitError, MetricError, SpecError, StateError, did_you_mean
from lrkit.optim.arguments import (
    Given,
    as_factors,
    as_floor,
    as_horizon,
    as_place,
    as_schedules,
    as_step,
    check_groups,
    has_lr,
)
from lrkit.optim.changes import observe, rebase, replacement, revise
from lrkit.optim.feedback import Feedback, Metrics, Missing
from lrkit.optim.groups import Target, group_names
from lrkit.optim.hand import Hand
from lrkit.optim.history import Revision
from lrkit.optim.lanes import Lane
from lrkit.optim.registry import enlist, innermost, withdraw
from lrkit.optim.state import State, Terms
from lrkit.schedule import Schedule
from lrkit.schedule.splice import How, decayed_horizon, rebatched_horizon

if TYPE_CHECKING:
    from lrkit.plan import Plan

__all__ = ["Clock", "Scheduler"]

Clock = Literal["updates", "calls"]

_LR = Target("lr")


class Scheduler(LRScheduler):
    """Writes `base * factor(t)` into the optimizer's groups before update `t`, for `t` = 0, 1, 2, ...

    `schedule` is a Schedule, a Spec or the text of either, for the lr; or a mapping from hyperparameters to
    schedules: `"lr"`, `"momentum"`, `"weight_decay"`, `"betas[0]"`, any number that a group holds, in every group, or
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

    *Control.* `control` lists controllers, or their texts: `[plateau(patience=5)]`. What they make of the
    metrics that `observe` is given multiplies the lr, of all groups that have a schedule for it.

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
        schedule: Given,
        horizon: Horizon | int,
        *,
        control: Iterable[Controller | str] = (),
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
        schedules, with_them = as_schedules(schedule)
        check_groups(schedules, optimizer)
        horizon = as_horizon(horizon)
        feedback = Feedback.by(control, horizon, first=with_them)
        if feedback.controllers and not has_lr(schedules):
            raise SpecError(
                f"{feedback.controllers[0]} multiplies the lr, which has no schedule here: add hold()"
            )
        self._hand = Hand(
            schedules, horizon, floor=as_floor(floor, schedules), step=as_step(step), feedback=feedback
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

    @property
    def control(self) -> tuple[Controller, ...]:
        """The controllers."""
        return self._hand.feedback.controllers

    def step(self, epoch: object = None) -> None:
        """With clock="calls": one more update is done. With clock="updates": nothing, call it or not.

        The whole number that some hosts pass (an epoch, a batch size) is taken and not read. A metric is for
        `observe`: with controllers a float or a tensor here is a MetricError.
        """
        if epoch is not None and not isinstance(epoch, int) and self._hand.feedback.controllers:
            raise MetricError(
                f"step({epoch!r}) tells {self._hand.feedback.controllers[0]} nothing: call observe()"
            )
        self._step_count += 1
        if self._clock == "calls":
            self._hand.advance(self.optimizer)

    def observe(
        self, metric: Metrics, *, step: int | None = None, missing: Missing = "error"
    ) -> tuple[Action, ...]:
        """Tell every controller what was measured; the lrs of the next update follow at once.

        `metric` is a number (a one-element tensor is waited for), or numbers by name where controllers name
        theirs. It may come as often as it is measured; `step` is the number of updates that were done when it
        was, if that is not now. One that is None, or has not the name, is a MetricError unless `missing="skip"`
        leaves those controllers out. Gives what each of them did; without control it is not looked at. Raises
        MetricError, and changes nothing then.
        """
        at = self.done if step is None else as_step(step)
        lrs = self.get_last_lr()
        return observe(self._hand, self.optimizer, metric, step=at, lrs=lrs, missing=missing)

    def extend(self, horizon: Horizon | int, *, how: How, at: int | None = None) -> None:
        """Train longer, or shorter: from step `at` (by default the next) on the run has this horizon.

        `how` says what becomes of the rest of every schedule: "stretch", "hold", "continue" or "again"; see
        `Curve.extend`. Nothing jumps.
        """
        revise(self._hand, self.optimizer, Revision(as_place(at, self.done), how, as_horizon(horizon)))

    def replace(
        self, schedule: Given, *, at: int | None = None, horizon: Horizon | int | None = None
    ) -> None:
        """From step `at` (by default the next) on follow another schedule, over what is left of the run.

        It begins at the level on which the old one is at `at`, and its percent and open phases share what is
        left. A mapping replaces those that it names; the others go on as planned, and if `horizon` makes the
        run longer, past their end as they say (`.after`). What was not scheduled cannot be taken in.
        """
        revision = replacement(self._hand, schedule, as_place(at, self.done), horizon)
        revise(self._hand, self.optimizer, revision)

    def decay_now(
        self,
        duration: int | str | Duration = "10%",
        schedule: Schedule | str = "one_minus_sqrt(to=0)",
        *,
        at: int | None = None,
    ) -> None:
        """Cool down from here: the lr follows `schedule` for `duration`, and then the run ends.

        Percent is a share of the whole run as it then is: after 900 updates "10%" are 100.
        """
        place = as_place(at, self.done)
        self.replace(schedule, at=place, horizon=decayed_horizon(self.horizon, place, Duration.of(duration)))

    def rebatch(self, batch_size: int, *, at: int | None = None) -> None:
        """From step `at` (by default the next) on an update takes `batch_size` samples.

        Every schedule keeps its place in the data: at the same number of samples it has the same factor, and the
        run ends with the same number of them. The horizon must know the batch size so far.
        """
        place = as_place(at, self.done)
        later = rebatched_horizon(self.horizon, place, batch_size)
        revise(self._hand, self.optimizer, Revision(place, "rebatch", later))

    def rescale(self, factor: float | Mapping[str, float]) -> None:
        """Multiply the base lrs, of all groups or by group name; states that are saved from here on have it."""
        factors = as_factors(factor, list(self.lrs()), "rescale()")
        lrs = [None if f is None else b * f for f, b in zip(factors, self.base_lrs, strict=True)]
        rebase(self._hand, self.optimizer, lrs)

    def rebase(self, lr: float | Mapping[str, float]) -> None:
        """Give groups another base lr, whatever a checkpoint said: one for all, or by group name."""
        rebase(self._hand, self.optimizer, as_factors(lr, list(self.lrs()), "rebase()"))

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
        """Plain versioned data: what was planned, what was changed, where it stands. Loads with `weights_only=True`."""
        hand = self._hand
        bases = {target: tuple(row) for target, row in hand.bases.items()}
        return State(hand.step, bases, hand.feedback, hand.history).to_dict(self._terms())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Stand where the state was saved: its step, its base values, and their lrs at once.

        It may come before or after the optimizer's own state, and for groups that are added only later. Changes
        (extend, replace, ...) that were made before it was saved are made here too. Raises StateError for the
        state of another schedule, horizon, control, clock or floor, naming the difference; nothing is changed then.
        """
        hand = self._hand
        state = State.from_dict(state_dict, self._terms(), hand.history)
        bases = {target: list(state.bases.get(target, row)) for target, row in hand.bases.items()}
        try:
            hand.settle(
                self.optimizer, bases=bases, feedback=state.feedback, history=state.history, step=state.step
            )
        except LrkitError as error:
            raise StateError(f"this state does not fit the optimizer: {error}") from error
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
        hand = self._hand
        return Terms(hand.schedules, hand.planned, self._clock, hand.floor, hand.feedback)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy gets hooks of its own on its copy of the optimizer, which loses them when it is copied or
        # pickled.
        hand = self._hand
        settings = (self.schedules, hand.planned, self.control, self._clock, hand.floor, hand.history)
        return _again, (self.optimizer, *settings, self.state_dict())

    def __repr__(self) -> str:
        shown = "; ".join(
            str(schedule) if target == _LR else f"{target}: {schedule}"
            for target, schedule in self._hand.schedules.items()
        )
        shown = " & ".join((shown, *map(str, self.control)))
        lrs = ", ".join(f"{lr:.6g}" for lr in self.get_last_lr())
        kind = type(innermost(self.optimizer)).__name__
        return f"<Scheduler {shown} on {kind}: {self.done} of {self.horizon.steps} updates done, lr {lrs}>"


def _again(
    optimizer: Optimizer,
    schedules: dict[str, Schedule],
    horizon: Horizon,
    control: tuple[Controller, ...],
    clock: Clock,
    floor: float | None,
    history: tuple[Revision, ...],
    state: dict[str, Any],
) -> Scheduler:
    scheduler = Scheduler(optimizer, schedules, horizon, control=control, clock=clock, floor=floor)
    scheduler._hand.history = history
    scheduler.load_state_dict(state)
    return scheduler
