"""One sweep: a model trained for a few updates while the rate rises, and the loss that each rate led to.

What state the model is in before and afterwards is not here (sources.py), nor what the losses mean
(verdict.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lrkit.range_test.grid import Grid
from lrkit.range_test.rates import GroupRates
from lrkit.range_test.smoothing import FloatArray
from lrkit.range_test.stopping import Ending, StopRule
from lrkit.range_test.verdict import ends_open
from lrkit.training.batches import Batch, BatchStream, move_to
from lrkit.training.build import scalar_loss
from lrkit.training.precision import Precision
from lrkit.training.progress import Reporter

__all__ = ["Subject", "Sweep", "run_sweep"]

# A grad-scaler halves its scale at each skipped update: after this many in a row float16 holds no gradient
# any more.
_SKIPS_ALLOWED = 50


@dataclass(frozen=True, slots=True)
class Subject:
    """What is swept: a model with everything that an update of it needs. `name` is for error messages."""

    name: str
    model: nn.Module
    rates: GroupRates
    loss: Callable[[nn.Module, Batch], Tensor]
    stream: BatchStream
    device: torch.device
    precision: Precision
    accumulate: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep measured: `losses[i]` after the update at the grid's rate i, `before` before any update.

    planned: points of the grid when the sweep ended, those that it grew by included.
    steps: updates spent, skipped ones included.
    """

    losses: FloatArray
    before: float
    ending: Ending
    planned: int
    steps: int


def run_sweep(subject: Subject, grid: Grid, *, extensions: int, reporter: Reporter) -> Sweep:
    """Train `subject` through the rates of `grid`, one update at each, until the end or until it diverges.

    The loss of update i + 1's batch is computed after update i and belongs to rate i; one forward pass at the
    end closes the last pair. An update that a grad-scaler skips is no point: its rate is tried again on the
    next batch. Where the loss is lowest at the high end the sweep goes on beyond it, `extensions` times at
    most.

    Raises TaskError for a loss or a loader that cannot be used, and whatever the user's code raises.
    """
    rule = StopRule(grid.steps, points_per_decade=grid.points_per_decade)
    losses: list[float] = []
    before = math.nan
    planned, done, steps, skipped = grid.steps, 0, 0, 0
    updated = False
    while True:
        if done == planned and extensions and ends_open(grid.rates(planned), losses):
            planned, extensions = planned + grid.extension, extensions - 1
        last = done == planned
        loss = _forward(subject, backward=not last)
        ending = _taken(loss, losses, rule, updated=updated)
        if ending is None and skipped > _SKIPS_ALLOWED:
            ending = "not finite"
        if math.isnan(before):
            before = loss
        if ending is not None or last:
            return Sweep(np.array(losses, dtype=np.float64), before, ending or "end", planned, steps)
        rate = grid.rate(done)
        subject.rates.write(rate)
        updated = _step(subject)
        steps += 1
        skipped = 0 if updated else skipped + 1
        done += updated
        reporter.advance(1, loss=loss, lr=rate)


def _taken(loss: float, losses: list[float], rule: StopRule, *, updated: bool) -> Ending | None:
    """Record `loss` as a point if an update led to it; why the sweep ends here, None while it goes on."""
    if not updated:
        return None if math.isfinite(loss) else "not finite"
    ending = rule.ends(loss)
    if ending != "not finite":
        losses.append(loss)
    return ending


def _forward(subject: Subject, *, backward: bool) -> float:
    """The mean loss of one update's micro-batches, their gradients added up if `backward`."""
    subject.rates.optimizer.zero_grad(set_to_none=True)
    window = subject.stream.window(subject.accumulate)
    parts = []
    for batch in window:
        moved = move_to(batch, subject.device)
        with subject.precision.forward():
            loss = scalar_loss(subject.name, subject.loss(subject.model, moved), moved)
        if backward:
            subject.precision.backward(loss if len(window) == 1 else loss / len(window))
        parts.append(loss.detach())
    # The only wait for the device in an update: it comes when the backward pass is already queued.
    return parts[0].item() if len(parts) == 1 else _mean(parts)


def _mean(parts: list[Tensor]) -> float:
    # In float32 at least: a few float16 losses may add up to more than float16 holds.
    wide = [part.reshape(()).to(torch.promote_types(part.dtype, torch.float32)) for part in parts]
    return torch.stack(wide).mean().item()


def _step(subject: Subject) -> bool:
    """Update the parameters; False when the grad-scaler skipped it."""
    scaler = subject.precision.scaler
    before = None if scaler is None else scaler.get_scale()
    subject.precision.step(subject.rates.optimizer)
    # A scaler lowers its scale exactly when it found a gradient that is not finite.
    return scaler is None or before is None or scaler.get_scale() >= before
