"""Trying a task on one batch before any time is spent on it: each callable is called, and the culprit is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lrkit.errors import LrkitError, TaskError
from lrkit.training.batches import Batch, BatchStream, move_to
from lrkit.training.build import Member, build_member, choose_device, scalar_loss
from lrkit.training.data import resolve_loader, search_split, training_loader
from lrkit.training.metrics import measure
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task

__all__ = ["TaskReport", "check_task"]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What a check saw: parameters, the loss of one batch, batches an epoch, and the optimizer's groups.

    unscaled_groups: groups whose rate stayed the same when the optimizer was built at twice the lr. A schedule still
    multiplies them; a search over lr leaves them alone.
    """

    parameters: int
    loss: float
    batches_per_epoch: int | None
    groups: tuple[str, ...]
    unscaled_groups: tuple[str, ...]


def check_task(task: Task, *, lr: float = 1e-3) -> TaskReport:
    """Build twice, run one forward and backward pass, build the optimizer at `lr` and `2 lr`.

    Raises TaskError that names the callable and what it did: two models that share storage or differ under one seed, a
    loader without batches, a loss that is no scalar or reaches no parameter, an optimizer over another model.
    """
    device = choose_device(task.device)
    first, second = (
        _called(task, "model or optimizer", build_member, task, seed=task.seed, lr=lr, device=device)
        for _ in "ab"
    )
    _distinct_and_equal(task, first.model, second.model)
    doubled = _called(task, "optimizer", build_member, task, seed=task.seed, lr=2 * lr, device=device)
    groups = first.optimizer.param_groups
    names = tuple(str(group.get("name", index)) for index, group in enumerate(groups))
    _covers(task, first.model, groups)
    unscaled = tuple(
        name
        for name, at_lr, at_double in zip(names, groups, doubled.optimizer.param_groups, strict=True)
        if float(at_double["lr"]) != 2 * float(at_lr["lr"])
    )
    if len(unscaled) == len(names):
        raise TaskError(
            f"task {task.name!r}: optimizer(model, lr) does not use lr: the same rates at {lr} and {2 * lr}"
        )
    split = _called(task, "train or validation loader", search_split, task)
    stream = BatchStream(split.train, seed=derive_seed(task.seed, 2))
    batch = move_to(_first_batch(task, stream, "train"), device)
    with seeded(derive_seed(task.seed, 1)):
        loss = scalar_loss(task.name, _called(task, "loss", task.loss, first.model, batch), batch)
        _called(task, "loss (its backward pass)", loss.backward)
    for which, loader in (("validation", split.validation), ("test", task.test)):
        if loader is not None:
            _measured(task, first, loader, which)
    if task.final_train is not None:
        final = _called(task, "final_train loader", training_loader, task, seed=task.seed)
        _first_batch(task, BatchStream(final, seed=0), "final_train")
    return TaskReport(
        parameters=sum(p.numel() for p in first.model.parameters()),
        loss=loss.item(),
        batches_per_epoch=stream.batches_per_epoch,
        groups=names,
        unscaled_groups=unscaled,
    )


def _measured(task: Task, member: Member, loader: Any, which: str) -> None:
    """Loss and metrics on one batch of the loader."""
    made = _called(task, f"{which} loader", resolve_loader, loader, task.seed, which=which)
    with seeded(derive_seed(task.seed, 3)):
        batch = _first_batch(task, BatchStream(made, seed=0), which)
        _called(
            task,
            f"{which} data or a metric",
            measure,
            member.model,
            [batch],
            loss=task.loss,
            metrics=task.metrics,
            device=member.device,
            which=which,
        )


def _first_batch(task: Task, stream: BatchStream, which: str) -> Batch:
    """Raises TaskError that names the loader where it gives none."""

    def first() -> Batch:
        try:
            return next(stream)
        except TaskError as error:
            named = str(error).replace("the loader", f"the {which} loader", 1)
            raise TaskError(f"task {task.name!r}: {named}") from error

    return _called(task, f"{which} loader", first)


def _called(task: Task, what: str, function, /, *args, **options):  # type: ignore[no-untyped-def]  # forwards anything
    """Call the user's code; whatever it raises comes back as a TaskError that says which part of the task it was."""
    try:
        return function(*args, **options)
    except LrkitError:
        raise
    except Exception as error:
        raise TaskError(f"task {task.name!r}: {what} raised {type(error).__name__}: {error}") from error


def _distinct_and_equal(task: Task, first: nn.Module, second: nn.Module) -> None:
    theirs = {p.data_ptr() for p in second.parameters() if p.numel()}
    if first is second or any(p.data_ptr() in theirs for p in first.parameters() if p.numel()):
        raise TaskError(
            f"task {task.name!r}: model() gave the same weights twice: build a fresh model at each call"
        )
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=False)
    for (name, one), (other_name, two) in pairs:
        if name != other_name or not torch.equal(one, two):
            raise TaskError(
                f"task {task.name!r}: two models built under one seed differ at {name!r}: draw the weights from "
                "torch's, numpy's or python's global generators, which lrkit seeds"
            )


def _covers(task: Task, model: nn.Module, groups: list[dict[str, object]]) -> None:
    own = {id(p) for p in model.parameters()}
    strangers = sum(id(p) not in own for group in groups for p in group["params"])  # type: ignore[attr-defined]  # torch's own list
    if strangers:
        raise TaskError(
            f"task {task.name!r}: the optimizer holds {strangers} parameter(s) of another model: use the one given"
        )
