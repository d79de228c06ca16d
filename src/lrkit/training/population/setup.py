"""What a population is made of, before it is known how it will be trained: task, members, device, and their starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.optim import Optimizer

from lrkit.plan import Plan
from lrkit.training.build import build_model, planned_optimizer
from lrkit.training.population.lanes import Lane
from lrkit.training.population.members import MemberPlan
from lrkit.training.population.stacked_loss import StackedLoss
from lrkit.training.population.start import MemberStart, read_start
from lrkit.training.population.unfit import Unfit
from lrkit.training.precision import Precision
from lrkit.training.run import DataPart, Run
from lrkit.training.seeding import seeded
from lrkit.training.task import Task

__all__ = ["Setup"]


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Task, members, data and device; everything else is made from these."""

    task: Task
    members: tuple[MemberPlan, ...]
    data: DataPart
    device: torch.device
    starts_made: dict[int, MemberStart] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan of the first member, for what all members share."""
        return self.members[0].plan

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, each once, in the members' order."""
        return tuple(dict.fromkeys(member.seed for member in self.members))

    @property
    def clock(self) -> Callable[[], float]:
        """What routes are timed by, in seconds: on one thread processor time, which other work does not disturb."""
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time if alone else time.perf_counter

    def run(self, index: int) -> Run:
        """The plain Run that member `index` equals, before its first update."""
        member = self.members[index]
        return Run(self.task, member.plan, seed=member.seed, data=self.data, device=str(self.device))

    def lane(self, seed: int) -> Lane:
        """The batches and random numbers of one seed, from the beginning."""
        return Lane(self.task, seed=seed, data=self.data, accumulate=self.plan.training.accumulate)

    def check_plans(self) -> None:
        """Raises Unfit where the members' plans alone say that they cannot be stacked."""
        if self.plan.training.precision == "float16":
            raise Unfit("float16 needs a loss scale of its own for each member")
        if any(member.plan.control for member in self.members):
            raise Unfit("a feedback controller acts on one run")

    def starts(self, indices: Iterable[int], *, idle: frozenset[str]) -> dict[int, MemberStart]:
        """How these members start; members of one seed share their tensors. Raises Unfit."""
        made = self.starts_made
        first_of_seed = {self.members[index].seed: made[index] for index in reversed(made)}
        for index in indices:
            if index in made:
                continue
            start = read_start(self.run(index), idle=idle)
            twin = first_of_seed.setdefault(self.members[index].seed, start)
            made[index] = replace(start, parameters=twin.parameters, buffers=twin.buffers)
        return made

    def model(self) -> nn.Module:
        """A whole model on the device, its weights of no account; the caller's random numbers stay as they are."""
        with seeded(self.task.seed):
            return build_model(self.task).to(self.device)

    def optimizer(self) -> tuple[nn.Module, Optimizer]:
        """A fresh optimizer, and the model whose parameters it has."""
        model = self.model()
        with seeded(self.task.seed):
            return model, planned_optimizer(self.task, self.plan.optimizer, model)

    def loss(self, *, mixed: bool, model: nn.Module | None = None) -> StackedLoss:
        """The task's loss over stacked members, around `model` or a fresh one, which nobody else may use."""
        training = self.plan.training
        loss = StackedLoss(
            self.task,
            self.model() if model is None else model,
            Precision(training.precision, self.device),
            clip=training.clip_norm,
            mixed=mixed,
        )
        loss.train()
        return loss
