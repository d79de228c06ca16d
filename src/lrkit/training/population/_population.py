"""Population: members of one task trained in lockstep; each ends where its plain Run would, to rounding.

The living thing that a search holds: the route is chosen once, when it is first needed, and everything after that is
the Stack's or the Loop's. How a route is chosen is in `choice`.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from torch import nn

from lrkit.errors import StateError, TaskError, did_you_mean
from lrkit.training.build import choose_device
from lrkit.training.measurement import Measurement
from lrkit.training.population.choice import choose_route, one_by_one
from lrkit.training.population.engine import Graphs
from lrkit.training.population.lanes import check_loaders
from lrkit.training.population.loop import Loop, OnStep, Which
from lrkit.training.population.members import MemberPlan, check_members
from lrkit.training.population.route import Route, RouteName
from lrkit.training.population.setup import Setup
from lrkit.training.population.stack import Stack
from lrkit.training.population.travel import check_together, resumed_run
from lrkit.training.population.unfit import Unfit
from lrkit.training.run import DataPart
from lrkit.training.task import Task

__all__ = ["Population"]

_VERSION = 1


class Population:
    """Members of `task` trained side by side: member i is `Run(task, members[i].plan, seed=members[i].seed)`.

    members: see `cross`, which makes them from a plan, lrs and seeds. They are known by their place from here on.
    data, device: as for a `Run`.
    route: by default the fastest on the first steps, "loop" where members do not stack; a name asks for that route,
        a `Route` is taken as it is: nothing is compared with plain runs, and nothing timed.
    like: a population of the same task (but for its seed), optimizer, training and device, whose route and graphs are
        taken over, so that a search pays for them once.
    expected_steps: member-steps that will be trained in all, where pruning will leave fewer than all to the end;
        a graph is traced or compiled only where that saves more than it costs.
    plain_seconds: what an update of a plain run takes, for who trains several of those at a time; measured without it.

    Raises PlanError where the members cannot be in one lockstep, TaskError where the task's data cannot serve them,
    or for a `route` or `like` that is another task's.
    """

    def __init__(
        self,
        task: Task,
        members: Sequence[MemberPlan],
        *,
        data: DataPart = "search",
        device: str | None = None,
        route: RouteName | Route | None = None,
        like: Population | None = None,
        expected_steps: int | None = None,
        plain_seconds: float | None = None,
    ) -> None:
        self.task, self.members, self.data = task, check_members(members), data
        self._setup = Setup(task, self.members, data, choose_device(device or task.device))
        if not (route is None or isinstance(route, Route) or route in get_args(RouteName)):
            raise TaskError(f"route={route!r}{did_you_mean(str(route), get_args(RouteName))}")
        if like is not None:
            self._check_like(like, route)
        self._wanted, self._like = route, like
        self._expected_steps, self._plain_seconds = expected_steps, plain_seconds
        self._engine: Stack | Loop | None = None
        self._graphs: Graphs = []
        self._torn = False

    @property
    def route(self) -> Route:
        """How the members are trained, and why; settled by the first steps the first time it is asked for."""
        return self._settled().route

    @property
    def step(self) -> int:
        """How many updates the members that are left have done."""
        return 0 if self._engine is None else self._engine.step

    @property
    def alive(self) -> tuple[int, ...]:
        """The members that are left: neither dropped nor diverged."""
        return tuple(range(len(self.members))) if self._engine is None else tuple(sorted(self._engine.live))

    @property
    def losses(self) -> tuple[tuple[float, ...], ...]:
        """The training losses of each member, one for each update; the last of a diverged one is not finite."""
        return tuple(map(tuple, [[]] * len(self.members) if self._engine is None else self._engine.losses))

    @property
    def diverged(self) -> tuple[bool, ...]:
        """Whether each member's loss was not finite at some update; it has left then."""
        return tuple([False] * len(self.members) if self._engine is None else self._engine.diverged)

    def advance(self, until: int, *, on_step: OnStep | None = None, deadline: float = math.inf) -> None:
        """Train the members that are left up to update `until` (exclusive).

        on_step: called with a step and the losses of members at it, for all members once or for each in turn.
        With a `deadline`, in seconds of `time.monotonic`, it stops soon after, every member at the same update.
        If `on_step`, the task's code or Ctrl-C interrupts, members stand at different updates: nothing but a saved
        state can be continued then.
        """
        engine = self._settled()
        self._whole()
        self._torn = True
        with _vmap_hushed():
            engine.advance(until, on_step=on_step, deadline=deadline)
        self._torn = False

    def evaluate(self, which: Which) -> dict[int, dict[str, float]]:
        """The figures of `Run.evaluate` for each member that is left, by its place; nothing is changed by it."""
        return {member: dict(measured.values) for member, measured in self.measure(which).items()}

    def measure(self, which: Which) -> dict[int, Measurement]:
        """What `evaluate` gives, and of which parts of the data it is made."""
        engine = self._settled()
        self._whole()
        with _vmap_hushed():
            return engine.measure(which)

    def drop(self, members: Iterable[int]) -> None:
        """Train these members no further; those that have left already may be among them.

        Raises TaskError for a place that there is not.
        """
        gone = sorted(set(members))
        strange = [member for member in gone if member not in range(len(self.members))]
        if strange:
            raise TaskError(
                f"no member {strange[0]!r} in a population of {len(self.members)}: places count from 0"
            )
        engine = self._settled()
        self._whole()
        engine.drop(gone)

    def model(self, member: int) -> nn.Module:
        """The model of a member that is left. Raises TaskError for one that is not."""
        self._check_left(member)
        self._whole()
        return self._settled().model(member)

    def member_state(self, member: int) -> dict[str, Any]:
        """What `Run.state_dict` of a member that is left would be, in tensors of its own: it goes on as a plain Run.

        `Run(task, members[i].plan, seed=members[i].seed)` loads it, and so does `load_members` of another population.
        Raises TaskError for a member that has left, or a loader that cannot say where it stands.
        """
        self._check_left(member)
        engine = self._settled()
        self._whole()
        return engine.member_state(member)

    def load_members(self, states: Mapping[int, Mapping[str, Any]]) -> None:
        """Go on where `states` were taken: member i's is `states[i]`, from `Run.state_dict` or `member_state`.

        Every member has one, all at the same update. The loop goes on bit for bit as the Runs would, a stack to
        rounding. Raises StateError for the state of another run, and where members stand at different updates; the
        population is as it was then.
        """
        strange = sorted(set(states) ^ set(range(len(self.members))))
        if strange:
            raise StateError(
                f"states of members {sorted(states)} for a population of {len(self.members)}: every member needs one; "
                "make a population of those that go on"
            )
        route = self._settled().route
        runs = {
            index: resumed_run(self._setup.run(index), states[index], member=index)
            for index in range(len(self.members))
        }
        check_together(runs)
        try:
            engine = self._built(route)
            engine.take(runs, states)
        except Unfit as reason:
            engine = self._built(one_by_one(self.task, reason))
            engine.take(runs, states)
        self._engine, self._torn = engine, False

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, route included, as tensors and plain data.

        The tensors are the live ones: save them, or copy them, before the population goes on. Raises TaskError for a
        loader that cannot say where it stands, StateError where an update was interrupted.
        """
        engine = self._settled()
        self._whole()
        return {
            "version": _VERSION,
            "of": self._identity(),
            "route": engine.route.to_dict(),
            "engine": engine.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken, on its route. Raises StateError when it is another population's."""
        if state.get("version") != _VERSION:
            raise StateError(
                f"this population has format {state.get('version')!r}; this lrkit reads format {_VERSION}"
            )
        mine, theirs = self._identity(), dict(state.get("of", {}))
        different = [key for key in mine if mine[key] != theirs.get(key)]
        if different:
            told = ", ".join(f"{key} {theirs.get(key)!r} there, {mine[key]!r} here" for key in different)
            raise StateError(f"this state belongs to another population: {told:.500}")
        self._engine = self._built(Route.from_dict(state["route"]))
        self._engine.load_state_dict(state["engine"])
        self._torn = False

    def _settled(self) -> Stack | Loop:
        if self._engine is None:
            self._engine = self._built(self._chosen())
        return self._engine

    def _chosen(self) -> Route:
        if isinstance(self._wanted, Route):
            return self._wanted
        if self._like is not None:
            route, self._graphs = self._like.route, self._like._graphs
            return route
        steps = len(self.members) * self._setup.plan.horizon.steps
        expected = steps if self._expected_steps is None else self._expected_steps
        with _vmap_hushed():
            return choose_route(
                self._setup,
                wanted=self._wanted,
                expected_steps=expected,
                graphs=self._graphs,
                plain_seconds=self._plain_seconds,
            )

    def _built(self, route: Route) -> Stack | Loop:
        streams = len(self.members) if route.name == "loop" else len(self._setup.seeds)
        check_loaders(self.task, data=self.data, turns=streams)
        if route.name == "loop":
            return Loop(self._setup, route)
        try:
            return Stack(self._setup, route, graphs=self._graphs)
        except Unfit as reason:  # a route that was given, not chosen here
            return self._built(one_by_one(self.task, reason))

    def _check_like(self, like: Population, route: object) -> None:
        if route is not None:
            raise TaskError("give route= or like=, not both: like= takes over the other population's route")
        mine, theirs = self._setup, like._setup
        different = [
            what
            for what, alike in (
                ("task", dataclasses.replace(like.task, seed=self.task.seed) == self.task),
                ("optimizer", mine.plan.optimizer.name == theirs.plan.optimizer.name),
                ("training", mine.plan.training == theirs.plan.training),
                ("device", mine.device == theirs.device),
            )
            if not alike
        ]
        if different:
            raise TaskError(
                f"like= is a population of another {' and '.join(different)}: its graphs do not serve"
            )

    def _check_left(self, member: int) -> None:
        if member not in self.alive:
            raise TaskError(f"member {member!r} has left the population: {len(self.alive)} are left")

    def _whole(self) -> None:
        if self._torn:
            raise StateError(
                "this population was interrupted within an update: load a saved state into it, or start a new one"
            )

    def _identity(self) -> dict[str, Any]:
        """What two populations must share for a state of one to be a state of the other."""
        plan = self._setup.plan
        return {
            "task": self.task.name,
            "split seed": self.task.seed,
            "data": self.data,
            "optimizer": plan.optimizer.name,
            "steps": plan.horizon.steps,
            "training": repr(plan.training),
            "members": [_told(member) for member in self.members],
        }


def _told(member: MemberPlan) -> str:
    plan = member.plan
    parts = [f"lr {plan.lr!r}", f"seed {member.seed}", str(plan.schedule)]
    parts += [repr(dict(plan.optimizer.options)), repr(dict(plan.groups)), f"floor {plan.floor!r}"]
    parts += [f"control {list(plan.control)!r}"]
    return ", ".join(parts)


@contextmanager
def _vmap_hushed() -> Iterator[None]:
    """Without vmap's advice for the authors of operations; what it costs has been timed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
