"""Measuring all members of a block at once: the figures of `Run.evaluate`, one by one where they cannot be had so.

Whether they can is checked once, on the first block: one member's figures against the plain `evaluate`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrkit.errors import TaskError
from lrkit.training.batches import count_samples, move_to
from lrkit.training.measurement import Measurement, PartialSums, measured
from lrkit.training.metrics import WholeSetMetric, measure
from lrkit.training.population.block import Block
from lrkit.training.population.lanes import Lane
from lrkit.training.population.loop import Which
from lrkit.training.population.setup import Setup
from lrkit.training.population.stacked_loss import StackedLoss
from lrkit.training.precision import Precision
from lrkit.training.seeding import derive_seed, seeded

__all__ = ["Scoring"]

_log = logging.getLogger("lrkit")


class Scoring:
    """Measures blocks; `one by one` once it has turned out that a metric cannot be taken over a stack."""

    def __init__(self, setup: Setup, loss: StackedLoss) -> None:
        self._setup, self._loss = setup, loss
        self._model: nn.Module | None = None
        metrics = setup.task.metrics
        self._stacks: bool | None = (
            False if any(isinstance(metric, WholeSetMetric) for metric in metrics.values()) else None
        )

    def score(self, block: Block, lane: Lane, which: Which, *, step: int) -> dict[int, Measurement]:
        """The figures of every member of the block that still trains."""
        if self._stacks is None:
            self._stacks = self._check(block, lane, which, step)
        if self._stacks:
            return self._together(block, lane, which, step)
        rows = {slot: row for row, slot in enumerate(block.slots) if block.live[row]}
        return {slot: self._alone(block, row, lane, which, step) for slot, row in rows.items()}

    def filled(self, block: Block, row: int) -> nn.Module:
        """A fresh model with the tensors of one row, in train mode."""
        model = self._setup.model().train()
        _fill(model, block.tensors_of(row))
        return model

    def state_dict(self) -> dict[str, Any]:
        """Whether members are measured together, None where that is not known yet."""
        return {"stacks": self._stacks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Measure as it was measured before."""
        self._stacks = state["stacks"]

    def _check(self, block: Block, lane: Lane, which: Which, step: int) -> bool:
        row = block.live.index(True)
        wanted = self._alone(block, row, lane, which, step).values
        try:
            found = self._together(block, lane, which, step)[block.slots[row]].values
        except Exception as error:  # a metric may leave tensors for Python in any way
            lines = str(error).splitlines() or [""]
            reason = f"{type(error).__name__}: {lines[0]:.200}"
        else:
            off = [name for name in wanted if not _alike(found[name], wanted[name])]
            if not off:
                return True
            reason = f"{off[0]} would be {found[off[0]]:.6g} instead of {wanted[off[0]]:.6g}"
        _log.warning("%s: measuring members one by one: %s", self._setup.task.name, reason)
        return False

    def _together(self, block: Block, lane: Lane, which: Which, step: int) -> dict[int, Measurement]:
        task = self._setup.task
        names = ["loss", *task.metrics]
        functions: list[Any] = [task.loss, *task.metrics.values()]
        tensors = {**block.trainable, **block.buffers}
        sums = PartialSums()
        with seeded(derive_seed(lane.seed, 3, step)):
            for batch in lane.loader(which):
                batch = move_to(batch, self._setup.device)
                found = self._loss.measure(tensors, block.constants, functions, batch)
                sums.add(count_samples(batch), found)
        if not sums.samples:
            raise TaskError(f"the {which} loader gave no batch: is its data set empty?")
        shares, parts = sums.shares(), sums.parts()
        return {
            slot: measured(which, names, shares, parts[:, :, row])
            for row, slot in enumerate(block.slots)
            if block.live[row]
        }

    def _alone(self, block: Block, row: int, lane: Lane, which: Which, step: int) -> Measurement:
        task, setup = self._setup.task, self._setup
        if self._model is None:
            self._model = setup.model()
        _fill(self._model, block.tensors_of(row))
        precision = Precision(setup.plan.training.precision, setup.device)
        with seeded(derive_seed(setup.members[block.slots[row]].seed, 3, step)), precision.forward():
            return measure(
                self._model,
                lane.loader(which),
                loss=task.loss,
                metrics=task.metrics,
                device=setup.device,
                which=which,
            )


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, own in (*model.named_parameters(), *model.named_buffers()):
            own.copy_(tensors[name])


def _alike(found: float, wanted: float) -> bool:
    # A sample on the border between two classes may fall to either side by rounding.
    return math.isclose(found, wanted, rel_tol=1e-3, abs_tol=1e-3) or (
        not math.isfinite(found) and not math.isfinite(wanted)
    )
