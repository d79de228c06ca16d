"""The hand on one optimizer: it counts updates and writes the values of the next one into every group.

The optimizer holds its Hand through its own hooks, and a Hand holds no optimizer: a schedule goes on when the
Scheduler that began it is forgotten, and nothing refers in a circle. What users see of it is in `scheduler`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import torch
from torch._dynamo.decorators import skip
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError
from lrkit.optim.feedback import Feedback
from lrkit.optim.groups import Group, Target, group_names, remember
from lrkit.optim.history import Course, Revision
from lrkit.optim.lanes import Feed, Lane, course_of
from lrkit.schedule import Schedule

__all__ = ["Hand"]

P = ParamSpec("P")
R = TypeVar("R")

CHUNK = 1024  # steps read ahead: numpy's fixed cost is spread thin, and the lists stay small


def _disabled(function: Callable[P, R]) -> Callable[P, R]:
    """Out of graphs with all that it calls; torch leaves its own decorator untyped."""
    kept_out: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]  # see above
    return kept_out


class Hand:
    """Counts the updates of one optimizer and writes `base * gain * factor(step)` before each of them.

    The state is `step`, the number of updates done; `bases`, each target's base values by group (None where
    nothing is scheduled); `feedback`, whose gains multiply the lrs; and `history`, the changes made since. All
    else follows from these and what was planned: the schedules, the horizon and the floor.
    """

    __slots__ = (  # noqa: SIM905 - a list of these, one a line, says no more
        "__weakref__ _count _factors _feed _handles _known _last _lr _lrs _members _noticed _plain "
        "_plain_until _short _short_until _start _stop _strict _wrote bases counting feedback "
        "floor history lanes planned schedules step warned"
    ).split()

    def __init__(
        self,
        schedules: Mapping[Target, Schedule],
        horizon: Horizon,
        *,
        floor: float | None,
        step: int,
        feedback: Feedback,
    ) -> None:
        self.schedules = dict(schedules)
        self.planned = horizon
        self.floor = floor
        self.step = step
        self.feedback = feedback
        self.history: tuple[Revision, ...] = ()
        self.bases: dict[Target, list[float | None]] = {target.everywhere: [] for target in schedules}
        self.lanes: list[Lane] = []
        self.counting = False  # whether updates count by themselves
        self.warned = False
        self._handles: list[RemovableHandle] = []
        self._feed = Feed()
        self._strict = False  # whether a schedule refuses what is past the end
        self._members: list[object] = []  # each group's list of parameters, to know it by
        self._last: object = None  # the last of them: groups are added behind it
        self._known = 0  # groups bound
        self._count = 0  # the same, or -1 to make the next update look closer
        self._start = self._stop = 0  # the steps that are read ahead
        # The short way, where plain lrs of all groups follow one curve.
        self._short = False
        self._short_until = 0
        self._factors: list[float] = []
        self._lrs: tuple[float, ...] = ()
        self._lr: float | None = None  # the one base lr, when all are equal
        # The plain way, where nothing is a tensor or an entry of a tuple.
        self._plain = False
        self._plain_until = 0
        self._wrote: float | None = (
            None  # the first group's lr as it was written last; None where it is a tensor
        )
        self._noticed = False

    @property
    def horizon(self) -> Horizon:
        """The run as it now is."""
        return self.history[-1].horizon if self.history else self.planned

    def before_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Pre-step hook. Compiled steps take it in as a guard on one integer, cheaper than a graph break."""
        if len(optimizer.param_groups) != self._count:
            self.look_closer(optimizer)

    # `skip` is what torch.compiler.disable(recursive=False) was up to torch 2.4: the frame stays out of
    # graphs at no cost in eager mode, where today's wrapper takes 0.2 us. Whatever this calls is disabled
    # altogether.
    @skip
    def after_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Post-step hook: one more update is done; write the values of the next one."""
        groups = optimizer.param_groups
        if groups and groups[-1]["params"] is not self._last:  # as many groups as before, and others
            self.step += 1
            self.take_in(optimizer)
            return
        wrote = self._wrote
        if wrote is not None and groups[0]["lr"] is not wrote:
            self._notice(groups[0]["lr"])
        step = self.step = self.step + 1
        if step < self._short_until:
            factor, base = self._factors[step - self._start], self._lr
            if base is not None:
                self._wrote = lr = base * factor
                for group in groups:
                    group["lr"] = lr
            else:
                for group, own in zip(groups, self._lrs):  # noqa: B905 - before_update has counted
                    group["lr"] = own * factor
                self._wrote = groups[0]["lr"]
        elif step < self._plain_until:
            place = step - self._start
            for lane in self.lanes:
                groups[lane.place][lane.key] = lane.values[place]
            if wrote is not None:
                self._wrote = groups[0]["lr"]
        else:
            self.write(optimizer)

    @skip
    def after_scaled_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """Post-step hook of fused optimizers: a GradScaler calls them anyway and leaves skipping to them."""
        found_inf: torch.Tensor | None = getattr(optimizer, "found_inf", None)
        # item() waits for the device, as the scaler itself does for all other optimizers.
        if found_inf is None or not found_inf.item():
            self.after_update(optimizer, args, kwargs)

    @_disabled
    def look_closer(self, optimizer: Optimizer) -> None:
        """Take in groups that came or went; HorizonError where the schedule refuses what is past the end."""
        self.take_in(optimizer)
        if self._strict and self.step >= self.horizon.steps:
            raise HorizonError(
                f"update {self.step + 1} of a run planned for {self.horizon.steps}: the schedule says"
                " .after('error'); plan a longer horizon, or leave that away to hold the last value"
            )

    @_disabled
    def take_in(self, optimizer: Optimizer) -> None:
        """Bind again if groups came or went since."""
        groups = optimizer.param_groups
        if len(groups) != self._known or (groups and groups[-1]["params"] is not self._last):
            self.settle(optimizer)

    @_disabled
    def write(self, optimizer: Optimizer) -> None:
        """Write the values of update `step`, whatever the groups hold now."""
        if self.step < 0:  # torch's SequentialLR has taken a member's first step back
            return
        self._read_ahead()
        for lane in self.lanes:
            lane.target.write(optimizer.param_groups[lane.place], lane.value(self.step))
        written = any(lane.place == 0 and lane.key == "lr" for lane in self.lanes)
        lr = optimizer.param_groups[0]["lr"] if written else None
        self._wrote = lr if isinstance(lr, float) else None
        ended = self.step >= self.horizon.steps
        self._count = -1 if ended and self._strict else self._known
        if ended and not self.warned:
            self._warn()

    def advance(self, optimizer: Optimizer) -> None:
        """Count one update by hand (clock="calls")."""
        if len(optimizer.param_groups) != self._count:
            self.look_closer(optimizer)
        self.after_update(optimizer, (), None)

    def move(self, step: int) -> None:
        """Be at `step`, without writing."""
        self.step = step
        self._forget()

    def attach(self, optimizer: Optimizer, *, counting: bool) -> None:
        """Register the hooks; `counting` says whether updates count by themselves, or by `advance`."""
        self.counting = counting
        self._wrote = None  # what was written until now may have been changed while it was detached
        self._handles = [
            optimizer.register_step_pre_hook(self.before_update),
            optimizer.register_load_state_dict_post_hook(self.after_load),
        ]
        if counting:
            skips = getattr(optimizer, "_step_supports_amp_scaling", False)
            hook = self.after_scaled_update if skips else self.after_update
            self._handles.append(optimizer.register_step_post_hook(hook))

    def detach(self) -> None:
        """Remove the hooks: from here on the optimizer is let alone."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def after_load(self, optimizer: Optimizer) -> None:
        """Load hook: a checkpoint brought group dicts with lrs of its own; step and bases stay ours."""
        self.settle(optimizer)

    def bind(self, optimizer: Optimizer) -> None:
        """Settle base values and lanes for the groups as they are now; unchanged if it raises SpecError.

        A known group keeps its base value. A late one has what a loaded state holds for its place, else
        its own `initial_...`, else the value that it came with.
        """
        groups = optimizer.param_groups
        names = group_names(groups)
        members = [group["params"] for group in groups]
        courses = {target: self._course(target) for target in self.schedules}
        # Which ones went can be told from the base values in those that stayed.
        others = self._are_others(groups)
        feedback = self.feedback.at([_place(self._members, m) for m in members]) if others else self.feedback
        bases = {target: [] if others else list(known) for target, known in self.bases.items()}
        lanes: list[Lane] = []
        for target, known in bases.items():
            for place, (group, name) in enumerate(zip(groups, names, strict=True)):
                course = course_of(courses, target, group, name)
                if course is not None:
                    target.check(group, name)
                if place == len(known):
                    known.append(None if course is None else target.base(group))
                base = known[place]
                if course is not None:
                    base = known[place] = target.base(group) if base is None else base
                    lanes.append(self._lane(target, place, name, course, base, feedback.gain(place)))
        self.bases, self.lanes, self.feedback, self._members = bases, lanes, feedback, members
        self._last = members[-1] if members else None
        self._strict = any(lane.ahead.curve.ending == "error" for lane in lanes)
        self._known = self._count = len(groups)
        for lane in lanes:
            groups[lane.place][lane.target.memo] = lane.base
        self._find_ways(groups)

    def _are_others(self, groups: list[Group]) -> bool:
        """Whether a known group went, or stands elsewhere."""
        if len(groups) < self._known:
            return True
        for group, known in zip(groups, self._members):  # noqa: B905 - later ones are only new
            moved = group["params"] is not known and _place(self._members, group["params"]) is not None
            # A list of parameters may be replaced, by FSDP say: the group then still has its base value.
            if moved or (
                group["params"] is not known and not any(target.memo in group for target in self.bases)
            ):
                return True
        return False

    def settle(
        self,
        optimizer: Optimizer,
        *,
        bases: Mapping[Target, list[float | None]] | None = None,
        feedback: Feedback | None = None,
        history: tuple[Revision, ...] | None = None,
        step: int | None = None,
    ) -> None:
        """Take over what is given, bind to it and write: all of it or, when anything is raised, nothing.

        A Ctrl-C counts as well.
        """
        put_back_fields = self.remembered()
        put_back = remember(optimizer.param_groups, self.bases)
        try:
            self.bases = self.bases if bases is None else dict(bases)
            self.feedback = self.feedback if feedback is None else feedback
            self.step = self.step if step is None else step
            if history is not None and history != self.history:
                self.history, self.warned = history, False
            self.bind(optimizer)
            self.write(optimizer)
        except BaseException:
            put_back_fields()
            self._forget()  # lanes may hold what was read since
            put_back()
            raise

    def remembered(self) -> Callable[[], None]:
        """What puts every field back as it is now. Containers are replaced, never changed."""
        before = [(name, getattr(self, name)) for name in _FIELDS]

        def put_back() -> None:
            for name, value in before:
                setattr(self, name, value)

        return put_back

    def _course(self, target: Target) -> Course:
        changes = tuple(revision.change(target) for revision in self.history)
        return Course(self.schedules[target], self.planned, changes)

    def _lane(self, target: Target, place: int, name: str, course: Course, base: float, gain: float) -> Lane:
        is_lr = target.key == "lr"
        floor = self.floor if is_lr else None
        if floor is not None and floor > base:
            raise SpecError(
                f"floor={floor!r} lies above the base lr {base!r} of {name!r}: lower one or raise the other"
            )
        ahead = self._feed.ahead(course, base, f"{target} of {name!r}")
        return Lane(target, place, base, ahead, floor, gain if is_lr else 1.0)

    def _find_ways(self, groups: list[Group]) -> None:
        lanes = self.lanes
        self._forget()
        self._plain = not any(lane.target.in_place(groups[lane.place]) for lane in lanes)
        self._short = (
            self._plain
            and self.floor is None
            and [lane.place for lane in lanes] == list(range(len(groups)))
            and all(lane.key == "lr" for lane in lanes)
            and len({id(lane.ahead) for lane in lanes}) == 1
        )
        self._lrs = tuple(lane.scaled for lane in lanes)
        self._lr = self._lrs[0] if len(set(self._lrs)) == 1 else None

    def _forget(self) -> None:
        self._start = self._stop = self._short_until = self._plain_until = 0

    def _read_ahead(self) -> None:
        if self._start <= self.step < self._stop:
            return
        self._forget()
        start, end = self.step, self.horizon.steps
        # Not across the end of the run, where there is something to say or to refuse.
        reach = 4 * CHUNK if self._short else CHUNK  # one list for all groups, or one for each
        border = end if start < end else end + 1 if start == end else start + reach
        stop = min(start + reach, border)
        for ahead in {id(lane.ahead): lane.ahead for lane in self.lanes}.values():
            ahead.read(start, stop)
        factors: list[float] = []
        if self._short:
            factors = self.lanes[0].ahead.factors.tolist()
        elif self._plain:
            for lane in self.lanes:
                lane.read()
        short, plain = (stop if self._short else 0), (stop if self._plain and not self._short else 0)
        # Together, and only now: after a Ctrl-C above nothing is read ahead.
        self._factors, self._start, self._stop, self._short_until, self._plain_until = (
            factors,
            start,
            stop,
            short,
            plain,
        )

    @_disabled
    def _notice(self, found: object) -> None:
        """Say, once, that somebody else writes the lr: an old scheduler left in the loop goes unseen else."""
        if found != self._wrote and not self._noticed:
            self._noticed = True
            warnings.warn(
                f"the lr was {found} at update {self.step + 1}, where this Scheduler had written {self._wrote}:"
                " something else writes it, such as another scheduler's step(). It is overwritten; rebase() and"
                " rescale() change it",
                stacklevel=2,
            )

    def _warn(self) -> None:
        steps = self.horizon.steps
        if self.step == steps:
            unheard = self.feedback.controllers and self.feedback.observed is None
            if unheard and (self.horizon.steps_per_epoch or 1) < steps:  # not if its first epoch is its last
                warnings.warn(
                    f"{self.feedback.controllers[0]} was given no metric in {steps} updates: call"
                    " scheduler.observe(metric) where it is measured",
                    stacklevel=2,
                )
            return
        self.warned = True
        if any(lane.ahead.curve.ending == "hold" for lane in self.lanes):
            warnings.warn(
                f"planned {steps} updates, now {self.step} are done: the last value holds; extend() the run, or"
                " write .after('continue') or .after('error')",
                stacklevel=2,
            )


_FIELDS = [name for name in Hand.__slots__ if name != "__weakref__"]


def _place(members: list[object], member: object) -> int | None:
    return next((place for place, known in enumerate(members) if known is member), None)
