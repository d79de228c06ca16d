"""A block: some members side by side, one stacked tensor for each parameter, buffer and optimizer state.

A block has slots. A member that left is carried along as ballast until its block is packed anew, so that nothing is
traced or compiled for a death; what its slot computes is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrkit.training.population.foreign import ForeignUpdate
from lrkit.training.population.rules import RULES
from lrkit.training.population.start import MemberStart
from lrkit.training.population.updates import RuleUpdate, Tensors, Update

__all__ = ["Block", "build_block", "pack"]

OptimizerBuilder = Callable[[], tuple[nn.Module, Optimizer]]


@dataclass(slots=True, eq=False)
class Block:
    """Members in slots: `slots[i]` is the member of row i, `live[i]` whether it still trains.

    trainable, buffers: stacked tensors by name. constants: parameters that nobody moves, stacked only where `mixed`.
    """

    slots: list[int]
    live: list[bool]
    mixed: bool
    trainable: Tensors
    constants: Tensors
    buffers: Tensors
    update: Update

    @property
    def members(self) -> list[int]:
        """The members that still train."""
        return [member for member, alive in zip(self.slots, self.live, strict=True) if alive]

    def tensors_of(self, row: int) -> Tensors:
        """All parameters and buffers of one row, by name."""
        constants = {n: t[row] if self.mixed else t for n, t in self.constants.items()}
        stacked = {n: t[row] for n, t in (*self.trainable.items(), *self.buffers.items())}
        return {**constants, **stacked}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain data; constants follow from the seed."""
        return {
            "slots": list(self.slots),
            "live": list(self.live),
            "trainable": dict(self.trainable),
            "buffers": dict(self.buffers),
            "update": self.update.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the tensors of a block of the same slots."""
        self.live = list(state["live"])
        for own, saved in ((self.trainable, state["trainable"]), (self.buffers, state["buffers"])):
            for name, tensor in own.items():
                tensor.copy_(saved[name])
        self.update.load_state_dict(state["update"])


def build_block(
    starts: Mapping[int, MemberStart], slots: Sequence[int], *, mixed: bool, build: OptimizerBuilder
) -> Block:
    """A block of members before their first step."""
    chosen = [starts[member] for member in slots]
    trained = set(chosen[0].trained)
    constants = {name: t for name, t in chosen[0].parameters.items() if name not in trained}
    if mixed:
        constants = {name: torch.stack([s.parameters[name] for s in chosen]) for name in constants}
    trainable = {name: torch.stack([s.parameters[name] for s in chosen]) for name in chosen[0].trained}
    return Block(
        slots=list(slots),
        live=[True] * len(slots),
        mixed=mixed,
        trainable=trainable,
        constants=constants,
        buffers={name: torch.stack([s.buffers[name] for s in chosen]) for name in chosen[0].buffers},
        update=_update(chosen, trainable, build),
    )


def pack(
    starts: Mapping[int, MemberStart],
    sources: Sequence[tuple[Block, int]],
    *,
    size: int,
    build: OptimizerBuilder,
) -> Block:
    """A block of `size` slots whose members come from rows of other blocks; what is left over is ballast."""
    rows = [*sources, *[sources[0]] * (size - len(sources))]
    slots = [block.slots[row] for block, row in rows]

    def gathered(part: Callable[[Block], Tensors]) -> Tensors:
        return {
            name: torch.stack([part(block)[name][row] for block, row in rows]) for name in part(rows[0][0])
        }

    trainable = gathered(lambda block: block.trainable)
    mixed = rows[0][0].mixed
    update = _update([starts[slot] for slot in slots], trainable, build)
    update.inherit([(block.update, row) for block, row in rows])
    return Block(
        slots=slots,
        live=[True] * len(sources) + [False] * (size - len(sources)),
        mixed=mixed,
        trainable=trainable,
        constants=gathered(lambda block: block.constants) if mixed else rows[0][0].constants,
        buffers=gathered(lambda block: block.buffers),
        update=update,
    )


def _update(starts: Sequence[MemberStart], trainable: Tensors, build: OptimizerBuilder) -> Update:
    if starts[0].optimizer in RULES:
        return RuleUpdate(starts, trainable)
    return ForeignUpdate(starts, trainable, build)
