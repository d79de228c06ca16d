"""How a member starts: its tensors, its optimizer's groups and their rates, read from the very Run that it equals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim import Optimizer

from lrkit.optim import Scheduler
from lrkit.schedule import Curve
from lrkit.training.population.unfit import Unfit
from lrkit.training.run import Run

__all__ = ["GroupStart", "MemberStart", "read_start"]

Floats = npt.NDArray[np.float64]

# What an implementation is chosen by, not what it computes.
_MEANINGLESS = {"foreach", "fused", "capturable", "differentiable", "name"}


@dataclass(frozen=True, slots=True, eq=False)
class GroupStart:
    """One parameter group: its parameters' names in the model, its numbers and flags, and the curve of its lr."""

    names: tuple[str, ...]
    numbers: Mapping[str, float]
    flags: Mapping[str, object]
    base_lr: float
    curve: Curve
    floor: float | None

    def lrs(self, start: int, stop: int) -> Floats:
        """The rates of the updates `start`, ..., `stop - 1`: what a Scheduler writes before each of them."""
        values = self.base_lr * np.asarray(self.curve(np.arange(start, stop)), dtype=float)
        return values if self.floor is None else np.maximum(values, self.floor)


@dataclass(frozen=True, slots=True, eq=False)
class MemberStart:
    """A member before its first step: tensors by name, the names that are trainable, and its optimizer's groups."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    groups: tuple[GroupStart, ...]
    optimizer: type[Optimizer]

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the parameters that the optimizer moves, in its order."""
        return tuple(name for group in self.groups for name in group.names)


def read_start(run: Run, *, idle: frozenset[str] = frozenset()) -> MemberStart:
    """How `run`, which has not trained yet, starts.

    idle: parameters that get no gradient although they could: an optimizer leaves them alone, weight decay included.
    Raises Unfit where the optimizer moves what is not the model's, or where more than the lr is scheduled.
    """
    scheduler = run.scheduler
    if {key.partition("@")[0] for key in scheduler.schedules} != {"lr"}:
        raise Unfit("more than the lr is scheduled")
    names = {id(p): name for name, p in run.model.named_parameters()}
    groups = []
    for place, group in enumerate(run.optimizer.param_groups):
        strange = [p for p in group["params"] if id(p) not in names]
        if strange:
            raise Unfit("the optimizer moves tensors that are no parameters of the model")
        chosen = tuple(names[id(p)] for p in group["params"] if p.requires_grad)
        groups.append(_group(run, scheduler, place, tuple(name for name in chosen if name not in idle)))
    return MemberStart(
        parameters={name: p.detach() for name, p in run.model.named_parameters()},
        buffers=dict(run.model.named_buffers()),
        groups=tuple(groups),
        optimizer=type(run.optimizer),
    )


def _group(run: Run, scheduler: Scheduler, place: int, names: tuple[str, ...]) -> GroupStart:
    group = run.optimizer.param_groups[place]
    schedules = scheduler.schedules
    schedule = schedules.get(f"lr@{group.get('name')}", schedules["lr"])
    base = scheduler.base_lrs[place]
    numbers, flags = _hyperparameters(group)
    if type(run.optimizer) is torch.optim.AdamW:
        flags["decoupled_weight_decay"] = True  # older torch does not write it into the group
    return GroupStart(
        names=names,
        numbers=numbers,
        flags=flags,
        base_lr=base,
        curve=schedule.over(run.plan.horizon, base_lr=base if schedule.needs_base_lr else None),
        floor=run.plan.floor,
    )


def _hyperparameters(group: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, object]]:
    """A group's numbers (entries of tuples as "betas[0]") and everything else that an update may depend on."""
    numbers: dict[str, float] = {}
    flags: dict[str, object] = {}
    for key, value in group.items():
        if key in ("params", "param_names", "lr") or key.startswith("initial_lr") or key in _MEANINGLESS:
            continue
        entries = enumerate(value) if isinstance(value, tuple | list) else [(None, value)]
        for index, entry in entries:
            at = key if index is None else f"{key}[{index}]"
            if isinstance(entry, bool) or not isinstance(entry, int | float | Tensor):
                flags[at] = entry
            else:
                numbers[at] = float(entry)
    return numbers, flags
