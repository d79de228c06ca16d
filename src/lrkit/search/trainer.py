"""Trainer: what trains the trials of a task, in this process."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from lrkit.plan import Plan
from lrkit.search.states import States
from lrkit.search.trials import Proposal, Result
from lrkit.training import SILENT, Reporter, Run, StepInfo, Task

__all__ = ["Trainer"]


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trials of `task` under `plan`, whose lr is theirs. `seed` is that of the first trials and of the task's split.

    A replicate (another seed) holds out another part of the data too: the answer is for the task, not for one choice
    of samples.
    """

    task: Task
    plan: Plan
    seed: int
    device: str | None = None
    reporter: Reporter = SILENT

    def run(self, proposals: Sequence[Proposal], states: States) -> Generator[Result]:
        """Train the proposals one after the other. See `Executor`."""
        for proposal in proposals:
            yield self._alone(proposal, states)

    def close(self) -> None:
        """Nothing runs when `run` does not."""

    def setting(self, proposal: Proposal) -> tuple[Task, Plan]:
        """The task and the plan of a trial."""
        task = dataclasses.replace(self.task, seed=self.task.seed + proposal.seed - self.seed)
        return task, self.plan.with_lr(proposal.lr)

    def _alone(self, proposal: Proposal, states: States) -> Result:
        started = time.perf_counter()
        task, plan = self.setting(proposal)
        run = Run(task, plan, seed=proposal.seed, data="search", device=self.device)
        known = states.load(proposal.key) if proposal.start else None
        if known is not None:
            run.load_state_dict(known)
        run.advance(proposal.stop, on_step=self._on_step)
        metrics = {} if run.diverged else run.evaluate("validation")
        objective = metrics.get(self.task.objective_key, math.nan)
        diverged = not math.isfinite(objective)
        if not diverged and proposal.stop < plan.horizon.steps:
            states.save(proposal.key, run.state_dict())
        return Result(
            lr=proposal.lr,
            seed=proposal.seed,
            steps=len(run.losses),
            objective=math.nan if diverged else objective,
            diverged=diverged,
            cost=max(0, len(run.losses) - proposal.start),
            seconds=time.perf_counter() - started,
            metrics=tuple(metrics.items()),
            values=proposal.values,
        )

    def _on_step(self, info: StepInfo) -> None:
        self.reporter.advance(1, loss=info.loss, lr=max(info.lr))
