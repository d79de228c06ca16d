"""Trainer: what trains the trials of a task, in this process, one by one or as populations."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from lrkit.optim.rng import RngState
from lrkit.plan import Plan
from lrkit.search.methods import Method
from lrkit.search.setting import apply_values
from lrkit.search.states import States
from lrkit.search.study import Study
from lrkit.search.trials import Proposal, Result, Settings, Stop, Values
from lrkit.training import SILENT, Measurement, MemberPlan, Population, Reporter, Route, Run, StepInfo, Task
from lrkit.training.fused_updates import fuse_updates
from lrkit.training.population.route import RouteName
from lrkit.training.seeding import unshared

__all__ = ["SharedGraphs", "Trainer", "routed"]


class SharedGraphs:
    """The latest population of a search: the next one with its values takes over what was traced or compiled for it."""

    def __init__(self) -> None:
        self._latest: tuple[Values, Population] | None = None

    def of(self, values: Values, route: Route | None) -> Population | None:
        """The population to take them from; None where it had other values, or is trained by another route."""
        if self._latest is None or self._latest[0] != values or self._latest[1].route != route:
            return None
        return self._latest[1]

    def keep(self, values: Values, population: Population) -> None:
        """Offer those of `population` from now on, and let go of the ones before."""
        self._latest = values, population


UNMEASURED = Measurement({})


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trials of `task` under `plan`, whose lr is theirs. `seed` is that of the first trials and of the task's split.

    A replicate (another seed) holds out another part of the data too: the answer is for the task, not for one choice
    of samples. route: how trials that begin and end together are trained; None and "loop" train one after the other.
    graphs: what its populations share, with those of whatever `replace` makes of it; they stay in this process.
    fused: whether updates of plain runs are fused where they can be (see `fuse_updates`); a run by hand has the same
    last bits without it alone.
    """

    task: Task
    plan: Plan
    seed: int
    device: str | None = None
    reporter: Reporter = SILENT
    route: Route | None = None
    graphs: SharedGraphs = field(default_factory=SharedGraphs, repr=False, compare=False)
    fused: bool = False

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """Train the proposals, those that go side by side as one population. See `Executor`."""
        known = {p: states.load(p.key) if p.start else None for p in proposals}
        for _, same in groupby(proposals, key=lambda p: _company(p, known[p])):
            group = tuple(same)
            if len(group) == 1 or self.route is None or self.route.name == "loop":
                for proposal in group:
                    if time.monotonic() >= deadline:
                        return
                    yield self._alone(proposal, known[proposal], states)
            elif time.monotonic() < deadline:
                yield from self._together(group, known, states)

    def close(self) -> None:
        """Nothing runs when `run` does not."""

    def setting(self, seed: int, values: Values) -> tuple[Task, Plan]:
        """The task and the plan of the trials with these values under this seed, but for their lr."""
        task = dataclasses.replace(self.task, seed=self.task.seed + seed - self.seed)
        return apply_values(task, self.plan, values)

    def population(
        self,
        proposals: Sequence[Proposal],
        *,
        expected_steps: int | None = None,
        plain_seconds: float | None = None,
    ) -> Population:
        """The population of proposals that are alike but for their lrs; see `Population` for the rest."""
        first = proposals[0]
        task, plan = self.setting(first.seed, first.values)
        members = [MemberPlan(plan.with_lr(p.lr), p.seed) for p in proposals]
        like = self.graphs.of(first.values, self.route)
        if like is not None:
            return Population(task, members, device=self.device, like=like)
        population = Population(
            task,
            members,
            device=self.device,
            route=self.route,
            expected_steps=expected_steps,
            plain_seconds=plain_seconds,
        )
        self.graphs.keep(first.values, population)
        return population

    def begun(self, proposal: Proposal, known: Mapping[str, Any] | None = None) -> Run:
        """The Run of a proposal where its state is known to stand, or before its first update; factories of the task
        that seed leave no trace.
        """
        with unshared():
            outer = RngState.capture()
            try:
                task, plan = self.setting(proposal.seed, proposal.values)
                plan = plan.with_lr(proposal.lr)
                run = Run(task, plan, seed=proposal.seed, data="search", device=self.device)
            finally:
                outer.restore()
        if self.fused:
            fuse_updates(run.optimizer)
        if known is not None:
            run.load_state_dict(known)
        return run

    def advance(
        self, run: Run, stop: int, *, on_step: Callable[[StepInfo], None], in_thread: bool = False
    ) -> None:
        """Train up to `stop` steps of the search. See `Run.advance` for `in_thread`."""
        run.advance(self._updates(stop, run.plan), on_step=on_step, in_thread=in_thread)

    def measured(
        self, proposal: Proposal, run: Run, *, seconds: float
    ) -> tuple[Result, dict[str, Any] | None]:
        """What came of a proposal whose Run is at its end, after so many seconds and what measuring takes, and the
        state to go on from, None where it does not.
        """
        started = time.perf_counter()
        found = UNMEASURED if run.diverged else run.measure("validation")
        seconds += time.perf_counter() - started
        result = self._result(proposal, run.plan, run.losses, found, seconds=seconds)
        return result, run.state_dict() if self._goes_on(result) else None

    def _alone(self, proposal: Proposal, known: dict[str, Any] | None, states: States) -> Result:
        started = time.perf_counter()
        run = self.begun(proposal, known)
        self.advance(run, proposal.stop, on_step=self._on_step)
        result, state = self.measured(proposal, run, seconds=time.perf_counter() - started)
        if state is not None:
            states.save(proposal.key, state)
        return result

    def _together(
        self, proposals: Sequence[Proposal], known: Mapping[Proposal, dict[str, Any] | None], states: States
    ) -> Generator[Result]:
        started = time.perf_counter()
        population = self.population(proposals)
        saved = {i: state for i, p in enumerate(proposals) if (state := known[p]) is not None}
        if saved:
            population.load_members(saved)

        def on_step(step: int, losses: Mapping[int, float]) -> None:
            best = min(losses, key=lambda i: (not math.isfinite(losses[i]), losses[i]))
            self.reporter.advance(len(losses), loss=losses[best], lr=proposals[best].lr)

        plan = population.members[0].plan
        population.advance(self._updates(proposals[0].stop, plan), on_step=on_step)
        scores = population.measure("validation") if population.alive else {}
        seconds = (time.perf_counter() - started) / len(proposals)
        for i, proposal in enumerate(proposals):
            result = self._result(
                proposal, plan, population.losses[i], scores.get(i, UNMEASURED), seconds=seconds
            )
            if self._goes_on(result):
                states.save(proposal.key, population.member_state(i))
            yield result

    def _updates(self, steps: int, plan: Plan) -> int:
        """What `steps` of the search are in updates of `plan`, which another batch size makes more or fewer."""
        return max(1, round(steps * plan.horizon.steps / self.plan.horizon.steps))

    def _result(
        self,
        proposal: Proposal,
        plan: Plan,
        losses: Sequence[float],
        found: Measurement,
        *,
        seconds: float,
    ) -> Result:
        """What a stretch of training came to; `losses` are the whole trial's, and nothing is `found` if it diverged."""
        key = self.task.objective_key
        objective = found.values.get(key, math.nan)
        diverged = not math.isfinite(objective)
        begun, wanted = (
            self._updates(proposal.start, plan) if proposal.start else 0,
            self._updates(proposal.stop, plan),
        )
        # A trial that burst, in steps of the search; it may do so without an update of its own.
        burst = max(math.ceil(len(losses) * proposal.stop / wanted), proposal.start + 1)
        reached = proposal.stop if len(losses) == wanted else burst
        return Result(
            lr=proposal.lr,
            seed=proposal.seed,
            steps=reached,
            objective=math.nan if diverged else objective,
            diverged=diverged,
            cost=max(0, reached - proposal.start),
            seconds=seconds,
            metrics=tuple(found.values.items()),
            values=proposal.values,
            parts=() if diverged else found.parts.get(key, ()),
            losses=tuple(losses[begun:]),
            begun=begun,
        )

    def _goes_on(self, result: Result) -> bool:
        return not result.diverged and result.steps < self.plan.horizon.steps

    def _on_step(self, info: StepInfo) -> None:
        self.reporter.advance(1, loss=info.loss, lr=max(info.lr))


def routed(
    trainer: Trainer,
    study: Study,
    method: Method,
    settings: Settings,
    *,
    plain_seconds: float | None = None,
) -> tuple[Trainer, RouteName]:
    """`trainer` with the route that serves its batches best, and its name: timed before the first of them, and kept for
    good.

    plain_seconds: what an update takes in plain runs, where those are trained several at a time.
    """

    def choose() -> dict[str, Any]:
        first = method.next_trials(settings, ())
        together = (
            ()
            if isinstance(first, Stop)
            else [p for p in first if _company(p, None) == _company(first[0], None)]
        )
        if len(together) < 2:
            return Route(name="loop", reason="trials begin one at a time").to_dict()
        population = trainer.population(together, expected_steps=settings.budget, plain_seconds=plain_seconds)
        return population.route.to_dict()

    route = Route.from_dict(study.once("route", choose))
    return dataclasses.replace(trainer, route=route), route.name


def _company(proposal: Proposal, known: dict[str, Any] | None) -> tuple[object, ...]:
    """What proposals must share to be trained in one population.

    Where they stand is in their states: one that was lost begins at 0, and one that was saved just before its search
    was killed, with no result yet, stands at its end already.
    """
    return proposal.seed, proposal.values, proposal.stop, 0 if known is None else len(known["losses"])
