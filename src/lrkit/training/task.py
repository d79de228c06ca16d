"""Task: what is trained. Plain callables and loaders; nothing is guessed from their signatures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.errors import TaskError, did_you_mean
from lrkit.training.batches import Batch
from lrkit.training.data import Loader
from lrkit.training.metrics import Metric

__all__ = ["Direction", "OptimizerFactory", "Task", "TaskSource"]

Direction = Literal["min", "max"]
OptimizerFactory = Callable[[nn.Module, float], Optimizer] | type[Optimizer] | functools.partial[Optimizer]

VALIDATION_LOSS = "validation loss"


@dataclass(frozen=True, slots=True, eq=False)
class TaskSource:
    """`load_task(name, data=data)` gives a like task anywhere on this machine; `task` is the one that it gave here."""

    name: str
    data: str | None
    task: Task


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, and by what it is judged.

    model: `() -> nn.Module`, a fresh one at each call, its initial weights drawn from torch's generators.
    loss: `(model, batch) -> scalar tensor`, always; `supervised(criterion)` adapts an `(output, target)` criterion.
    train, validation, test: a DataLoader, another iterable of batches, or a function `(seed) -> DataLoader`. Without
        validation data, `holdout` of the training set is held out (by `seed`) while searching, and the final training
        uses all of it for the same number of updates.
    final_train: what the final training uses instead of `train` (training and validation data merged by the user).
    optimizer: `(model, lr) -> Optimizer`, called when the model is on its device; an optimizer class, or a
        `functools.partial` of one, gets `model.parameters()`.
    metrics: by name, `(model, batch) -> float`, weighted by sample count, or an object with `update(model, batch)`,
        `compute()` and `reset()` for whole-set metrics; `supervised` adapts torchmetrics.
    objective: "validation loss" or a metric's name; a metric needs `direction`, "min" or "max".
    holdout: 0.2 by default; a smaller part ranks rates too noisily on sets of a few thousand samples.
    epochs or steps: how long a training is unless the call says otherwise; one of them at most.
    device: "cpu", "cuda", "cuda:1", "mps"; None takes the first accelerator there is, else the CPU.
    source: set by `load_task`: how another process can load the same task.

    Raises TaskError when an argument is of the wrong kind.
    """

    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    train: Loader | Callable[[int], Loader]
    validation: Loader | Callable[[int], Loader] | None = None
    test: Loader | Callable[[int], Loader] | None = None
    final_train: Loader | Callable[[int], Loader] | None = None
    optimizer: OptimizerFactory = torch.optim.AdamW
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    objective: str = VALIDATION_LOSS
    direction: Direction | None = None
    holdout: float = 0.2
    seed: int = 0
    name: str = "task"
    epochs: int | None = None
    steps: int | None = None
    device: str | None = None
    source: TaskSource | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for which in ("model", "loss", "optimizer"):
            if not callable(getattr(self, which)):
                raise TaskError(
                    f"task {self.name!r}: {which}= must be callable, not {getattr(self, which)!r:.80}"
                )
        if isinstance(self.model, nn.Module):
            raise TaskError(
                f"task {self.name!r}: model= must be a function that builds a fresh model at each call, not a model: "
                "pass `lambda: MyModel(...)`, or use find_lr(model=..., ...) for one that you already have"
            )
        if self.epochs is not None and self.steps is not None:
            raise TaskError(f"task {self.name!r}: give epochs= or steps=, not both")
        for which in ("epochs", "steps"):
            value = getattr(self, which)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise TaskError(
                    f"task {self.name!r}: {which}= must be a whole number of at least 1, not {value!r}"
                )
        if not 0 < self.holdout < 1:
            raise TaskError(
                f"task {self.name!r}: holdout= is a fraction between 0 and 1, not {self.holdout!r}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TaskError(f"task {self.name!r}: seed= must be a whole number, not {self.seed!r}")
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))
        self._check_objective()

    def _check_objective(self) -> None:
        if "loss" in self.metrics:
            raise TaskError(
                f"task {self.name!r}: a metric cannot be called 'loss': that is the task's own loss"
            )
        if self.direction not in (None, "min", "max"):
            raise TaskError(f"task {self.name!r}: direction= is 'min' or 'max', not {self.direction!r}")
        if self.objective == VALIDATION_LOSS:
            if self.direction == "max":
                raise TaskError(
                    f"task {self.name!r}: the validation loss is minimised; direction='max' needs a metric"
                )
            object.__setattr__(self, "direction", "min")
        elif self.objective not in self.metrics:
            known = [VALIDATION_LOSS, *self.metrics]
            raise TaskError(
                f"task {self.name!r}: unknown objective {self.objective!r}{did_you_mean(self.objective, known)}"
            )
        elif self.direction is None:
            raise TaskError(
                f"task {self.name!r}: objective {self.objective!r} is a metric: say direction='max' or direction='min'"
            )

    @property
    def objective_key(self) -> str:
        """The objective as `Run.evaluate("validation")` names it: "validation loss", "validation accuracy"."""
        return self.objective if self.objective == VALIDATION_LOSS else f"validation {self.objective}"

    def check(self, *, lr: float = 1e-3) -> Any:
        """Try every callable on one batch; gives a `TaskReport`, raises TaskError naming the culprit."""
        from lrkit.training.check import check_task

        return check_task(self, lr=lr)


def optimizer_class(factory: OptimizerFactory) -> type[Optimizer] | None:
    """The class behind an optimizer factory, None for a function of the user's."""
    inner = factory.func if isinstance(factory, functools.partial) else factory
    return inner if isinstance(inner, type) and issubclass(inner, Optimizer) else None
