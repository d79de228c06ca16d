"""What a range test sweeps: fresh members of a task, or a person's own model inside a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.errors import TaskError
from lrkit.optim import schedulers_paused, snapshot
from lrkit.range_test.grid import Grid
from lrkit.range_test.rates import GroupRates
from lrkit.range_test.result import Varied
from lrkit.range_test.smoothing import FloatArray
from lrkit.range_test.sweep import Subject, Sweep, run_sweep
from lrkit.training.batches import Batch, BatchStream
from lrkit.training.build import build_member, choose_device
from lrkit.training.data import resolve_loader, search_split
from lrkit.training.precision import Precision, PrecisionName
from lrkit.training.progress import Reporter
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task

__all__ = ["LiveModel", "Source", "TaskMembers"]

# A task's optimizer is built at this rate before the sweep sets its own: only the groups' ratios survive.
_NOMINAL_LR = 1e-3


class Source(Protocol):
    """Where the repeats of a range test come from; `varied` says in what they differ."""

    varied: Varied

    def sweep(self, repeat: int, grid: Grid, *, extensions: int, reporter: Reporter) -> Sweep:
        """Sweep once; everything is afterwards as it was found, also when the user's code raises."""

    def table(self, rates: FloatArray) -> dict[str, FloatArray]:
        """The rates of each group over a sweep through `rates`."""


@dataclass(slots=True)
class TaskMembers:
    """A fresh member of `task` for each repeat: initial weights, batch order and dropout masks drawn anew.

    It trains on what a search trains on: the part held out for validation is never seen.
    """

    task: Task
    seed: int
    group: str | None
    accumulate: int
    precision: PrecisionName
    device: str | None
    varied: Varied = "initial weights and data order"

    def sweep(self, repeat: int, grid: Grid, *, extensions: int, reporter: Reporter) -> Sweep:
        """Sweep the member of this repeat, with the caller's random generators set aside."""
        task, seed = self.task, derive_seed(self.seed, repeat)
        place = choose_device(self.device or task.device)
        with seeded(derive_seed(seed, 1)):
            member = build_member(task, seed=seed, lr=_NOMINAL_LR, device=place)
            subject = Subject(
                name=task.name,
                model=member.model,
                rates=GroupRates(member.optimizer, self.group),
                loss=task.loss,
                stream=BatchStream(search_split(task, seed=seed).train, seed=derive_seed(seed, 2)),
                device=place,
                precision=Precision(self.precision, place),
                accumulate=self.accumulate,
            )
            return run_sweep(subject, grid, extensions=extensions, reporter=reporter)

    def table(self, rates: FloatArray) -> dict[str, FloatArray]:
        """The rates of each group of the task's optimizer."""
        member = build_member(self.task, seed=self.seed, lr=_NOMINAL_LR, device=self.device)
        return GroupRates(member.optimizer, self.group).table(rates)


@dataclass(slots=True)
class LiveModel:
    """A model and optimizer as they stand, put back after each repeat; the batches' order is drawn anew.

    A model in eval mode is swept in train mode; one in train mode keeps the mode of each module, so that
    frozen BatchNorm layers stay frozen. Raises TaskError for things of the wrong kind, or that do not belong
    together.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[[nn.Module, Batch], Tensor]
    train: Iterable[Batch] | Callable[[int], Iterable[Batch]]
    seed: int
    group: str | None
    accumulate: int
    precision: PrecisionName
    scaler: torch.amp.GradScaler | None
    device: str | None
    varied: Varied = "data order"

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TaskError(
                f"model= must be an nn.Module, not {self.model!r:.80}; what builds one is for a Task"
            )
        if not isinstance(self.optimizer, Optimizer):
            raise TaskError(f"optimizer= must be a torch.optim.Optimizer, not {self.optimizer!r:.80}")
        if not callable(self.loss):
            raise TaskError(f"loss= must be callable, (model, batch) -> scalar tensor, not {self.loss!r:.80}")
        own = {id(parameter) for parameter in self.model.parameters()}
        if not any(id(p) in own for group in self.optimizer.param_groups for p in group["params"]):
            raise TaskError(
                "the optimizer holds no parameter of the model: build it from this model's parameters"
            )
        place = self._place()
        if self.device is not None and choose_device(self.device).type != place.type:
            raise TaskError(
                f"device={self.device!r}, but the model is on {place}: move it, then build its optimizer"
            )

    def sweep(self, repeat: int, grid: Grid, *, extensions: int, reporter: Reporter) -> Sweep:
        """Sweep the model inside a snapshot."""
        seed = derive_seed(self.seed, repeat)
        with (
            snapshot(self.model, self.optimizer, **self._beside()),
            schedulers_paused(self.optimizer),
            seeded(derive_seed(seed, 1)),
        ):
            place = self._place()
            precision = Precision(self.precision, place)
            precision.scaler = self.scaler or precision.scaler
            if not self.model.training:
                self.model.train()
            subject = Subject(
                name=type(self.model).__name__,
                model=self.model,
                rates=GroupRates(self.optimizer, self.group),
                loss=self.loss,
                stream=BatchStream(
                    resolve_loader(self.train, seed, which="train"), seed=derive_seed(seed, 2)
                ),
                device=place,
                precision=precision,
                accumulate=self.accumulate,
            )
            return run_sweep(subject, grid, extensions=extensions, reporter=reporter)

    def table(self, rates: FloatArray) -> dict[str, FloatArray]:
        """The rates of each group of the optimizer."""
        return GroupRates(self.optimizer, self.group).table(rates)

    def _beside(self) -> dict[str, Any]:
        loaders = () if callable(self.train) and not hasattr(self.train, "__iter__") else (self.train,)
        return {"scaler": self.scaler, "loaders": loaders}

    def _place(self) -> torch.device:
        return next(self.model.parameters()).device
