"""From a task to one member of it: a model under a seed, on its device, with its optimizer at a learning rate."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.errors import PlanError, TaskError, did_you_mean
from lrkit.plan import GroupPlan, OptimizerPlan
from lrkit.training.batches import Batch
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task, optimizer_class

__all__ = [
    "Member",
    "build_member",
    "build_model",
    "build_optimizer",
    "choose_device",
    "describe_groups",
    "describe_optimizer",
    "planned_optimizer",
    "scalar_loss",
]


@dataclass(frozen=True, slots=True)
class Member:
    """A model in train mode on `device`, and its optimizer."""

    model: nn.Module
    optimizer: Optimizer
    device: torch.device


def choose_device(name: str | None) -> torch.device:
    """The device by name, or the first accelerator there is. Raises TaskError where there is none of that name."""
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TaskError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def build_member(task: Task, *, seed: int, lr: float, device: str | torch.device | None = None) -> Member:
    """A fresh member of `task`, its weights drawn under `seed`; the caller's random generators stay as they are.

    Raises TaskError when a callable of the task gives something else than it should.
    """
    place = device if isinstance(device, torch.device) else choose_device(device or task.device)
    with seeded(derive_seed(seed, 0)):
        model = build_model(task).to(place).train()
        return Member(model, build_optimizer(task.optimizer, model, lr), place)


def build_model(task: Task) -> nn.Module:
    """Call the task's model factory and hold it to its promise."""
    model = task.model()
    if not isinstance(model, nn.Module):
        raise TaskError(f"task {task.name!r}: model() gave a {type(model).__name__}, not an nn.Module")
    return model


def build_optimizer(factory: Any, model: nn.Module, lr: float) -> Optimizer:
    """Call an optimizer factory: a class or a partial of one gets the parameters, any other callable gets the model."""
    cls = optimizer_class(factory)
    if cls is not None:
        return factory(model.parameters(), lr=lr)  # type: ignore[no-any-return]  # a class, or a partial of one
    optimizer = factory(model, lr)
    if not isinstance(optimizer, Optimizer):
        raise TaskError(
            f"optimizer(model, lr) gave a {type(optimizer).__name__}, not a torch.optim.Optimizer"
        )
    return optimizer


def planned_optimizer(task: Task, planned: OptimizerPlan, model: nn.Module) -> Optimizer:
    """The optimizer that a plan names: the task's own ("task"), or one of torch.optim's classes with its options.

    Raises PlanError for a class that torch.optim has not, or options that it does not take.
    """
    if planned.name == "task":
        return build_optimizer(task.optimizer, model, planned.lr)
    classes = torch_optimizers()
    if planned.name not in classes:
        raise PlanError(
            f"[optimizer] name: unknown optimizer {planned.name!r}{did_you_mean(planned.name, ['task', *classes])}"
        )
    try:
        arguments: dict[str, Any] = {"lr": planned.lr, **planned.options}
        return classes[planned.name](model.parameters(), **arguments)
    except (TypeError, ValueError) as error:
        raise PlanError(f"[optimizer] {planned.name} cannot be built with these options: {error}") from error


def torch_optimizers() -> dict[str, type[Optimizer]]:
    """torch.optim's classes by their qualified names: the only names that a plan can bring to life."""
    found = {
        f"torch.optim.{name}": cls
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
    }
    return dict(sorted(found.items()))


def describe_optimizer(task: Task, lr: float) -> OptimizerPlan:
    """How a plan writes the task's optimizer: its class if torch.optim has it and its options are plain, or "task"."""
    cls, factory = optimizer_class(task.optimizer), task.optimizer
    name = f"torch.optim.{cls.__name__}" if cls is not None else ""
    options = dict(factory.keywords) if isinstance(factory, functools.partial) else {}
    bound = isinstance(factory, functools.partial) and (factory.args or "lr" in options)
    if (
        cls is None
        or torch_optimizers().get(name) is not cls
        or bound
        or not all(map(_is_plain, options.values()))
    ):
        return OptimizerPlan(name="task", lr=lr)
    return OptimizerPlan(name=name, lr=lr, options=dict(sorted(options.items())))


def describe_groups(optimizer: Optimizer) -> dict[str, GroupPlan]:
    """The named groups of an optimizer as a plan writes them; empty where there is one group, or one without a name."""
    groups = optimizer.param_groups
    if len(groups) < 2 or not all(isinstance(group.get("name"), str) for group in groups):
        return {}
    return {group["name"]: GroupPlan(lr=float(group["lr"])) for group in groups}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, bool | int | float) for item in value)
    return isinstance(value, bool | int | float | str)


def scalar_loss(task_name: str, value: object, batch: Batch) -> Tensor:
    """`value` if it is what a loss must be. Raises TaskError that says what it is instead."""
    if not isinstance(value, Tensor):
        raise TaskError(
            f"task {task_name!r}: loss(model, batch) gave a {type(value).__name__}, not a scalar tensor"
            f" (batch: {type(batch).__name__})"
        )
    if value.numel() != 1:
        raise TaskError(
            f"task {task_name!r}: loss(model, batch) gave a tensor of shape {tuple(value.shape)}, not a scalar: "
            "reduce it, for example with .mean()"
        )
    if not value.requires_grad:
        raise TaskError(
            f"task {task_name!r}: loss(model, batch) does not depend on a trainable parameter: "
            "is everything frozen, detached, or computed under no_grad?"
        )
    return value
