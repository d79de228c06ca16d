"""Whether members may be trained as a stack: its first steps against those of plain runs, gradients and updates apart.

Apart, because together they could not be told from rounding: a bias before a BatchNorm has a gradient of pure rounding
noise, which Adam blows up to a full step. So gradients are compared at the plain run's own weights, and updates are
computed from the plain run's own gradients.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lrkit.optim.rng import RngState
from lrkit.training.batches import move_to
from lrkit.training.population.block import Block, build_block
from lrkit.training.population.generators import are_equal
from lrkit.training.population.setup import Setup
from lrkit.training.population.unfit import Unfit
from lrkit.training.population.windows import signature, stack_batches
from lrkit.training.run import Run, StepInfo

__all__ = ["STEPS", "Scouted", "check_fit", "scout"]

STEPS = 3  # that are compared
_TIMED = (3, 8)  # the fewest and the most updates of the plain run
_SCOUTED = 1 / 200  # and the share of all training that it may be in between: nobody goes on from it
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True, slots=True)
class Scouted:
    """What a plain run showed: seconds of one step and of making the run, parameters without gradient, whether random
    numbers are drawn."""

    seconds: float
    making: float
    idle: frozenset[str]
    draws: bool


def scout(setup: Setup, index: int, *, expected_steps: int) -> Scouted:
    """Train member `index` plainly for a few of `expected_steps`. Raises Unfit where stacks are out of question."""
    setup.check_plans()
    clock = setup.clock
    started = clock()
    run = setup.run(index)
    seconds: list[float] = []
    generators: list[RngState] = []
    since = clock()
    making = since - started
    fewest, most = _TIMED
    timed = min(max(fewest, round(_SCOUTED * expected_steps)), most, setup.plan.horizon.steps)

    def watch(info: StepInfo) -> None:
        nonlocal since
        seconds.append(clock() - since)
        generators.append(RngState.capture())
        since = clock()

    try:
        run.advance(1, on_step=watch)
        gradients = {name: p.grad for name, p in run.model.named_parameters() if p.requires_grad}
        run.advance(timed, on_step=watch)
    except Exception as error:  # the user's own code: one by one it fails in the same words
        raise Unfit(f"a plain run fails: {_first_line(error)}") from error
    if any(g is not None and g.layout != torch.strided for g in gradients.values()):
        raise Unfit("a gradient is sparse")
    if not seconds:
        raise Unfit("the first loss is not finite")
    return Scouted(
        # The quick ones: the first are slow, other work makes some slower, and in a long run few are either.
        seconds=float(np.quantile(seconds, 0.25)),
        making=making,
        idle=frozenset(name for name, gradient in gradients.items() if gradient is None),
        draws=not all(are_equal(before, after) for before, after in itertools.pairwise(generators)),
    )


def check_fit(
    setup: Setup, indices: Sequence[int], *, idle: frozenset[str], mixed: bool = False, dropout: bool = True
) -> str | None:
    """Compare these members, stacked, with their plain runs over the first steps; gives the batches' signature.

    dropout: whether its layers are at work; without them, models whose masks are drawn in another layout compare, too.
    Raises Unfit, saying what differs, where a stack is something else than runs side by side.
    """
    try:
        return _compared(setup, indices, idle=idle, mixed=mixed, dropout=dropout)
    except Unfit:
        raise
    except Exception as error:  # what vmap cannot do it says in many kinds of errors
        raise Unfit(_first_line(error)) from error


@dataclass(frozen=True, slots=True)
class _PlainStep:
    """One update of a plain run: parameters and buffers before and after it, its loss and its gradients."""

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    loss: float
    gradients: Mapping[str, Tensor | None]


def _plain_steps(run: Run, steps: int) -> list[_PlainStep]:
    """The first updates of `run`, up to the one that diverges."""
    found = []
    for step in range(steps):
        before = _tensors(run)
        run.advance(step + 1)
        if run.diverged:
            break
        gradients = {
            name: None if p.grad is None else p.grad.clone() for name, p in run.model.named_parameters()
        }
        found.append(_PlainStep(before, _tensors(run), run.losses[-1], gradients))
    return found


def _tensors(run: Run) -> dict[str, Tensor]:
    named = (*run.model.named_parameters(), *run.model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in named}


def _compared(
    setup: Setup, indices: Sequence[int], *, idle: frozenset[str], mixed: bool, dropout: bool
) -> str | None:
    # The runs one after the other, and before the stack: their loader may keep a single place.
    wanted = []
    for index in indices:
        run = setup.run(index)
        if not dropout:
            _without_dropout(run.model)
        wanted.append(_plain_steps(run, min(STEPS, setup.plan.horizon.steps)))
    block = build_block(setup.starts(indices, idle=idle), indices, mixed=mixed, build=setup.optimizer)
    kind = setup.starts_made[indices[0]].optimizer.__name__
    model = setup.model()
    if not dropout:
        _without_dropout(model)
    loss = setup.loss(mixed=mixed, model=model)
    lanes = {seed: setup.lane(seed) for seed in dict.fromkeys(setup.members[i].seed for i in indices)}
    tolerance = _tolerance(setup, block)
    served = None
    for step, plain in enumerate(zip(*wanted, strict=False)):
        for row, one in enumerate(plain):
            _copy_from(one.before, block, row)
        with next(iter(lanes.values())).own_rng(), torch.no_grad():
            windows = {
                seed: [move_to(batch, setup.device) for batch in lane.window()]
                for seed, lane in lanes.items()
            }
            window = next(iter(windows.values()))
            served = signature(window) if step == 0 else served
            if mixed:
                rows = [windows[setup.members[i].seed] for i in indices]
                window = [stack_batches(batches) for batches in zip(*rows, strict=True)]
            losses, gradients, buffers = loss.gradients(
                block.trainable, block.constants, block.buffers, window
            )
        for row, one in enumerate(plain):
            _check_idle(one, idle)
            _agree("the loss", losses[row], torch.tensor(one.loss, dtype=torch.float64), tolerance)
            _agree_on_gradients(one, {name: g[row] for name, g in gradients.items()}, tolerance)
            for name, buffer in buffers.items():
                _agree(f"buffer {name}", buffer[row], one.after[name], tolerance)
        _agree_on_update(block, plain, step, kind)
    return served


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, _DROPOUTS):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def _copy_from(tensors: Mapping[str, Tensor], block: Block, row: int) -> None:
    for stacked in (block.trainable, block.buffers):
        for name, tensor in stacked.items():
            tensor[row] = tensors[name]


def _agree_on_gradients(plain: _PlainStep, found: Mapping[str, Tensor], tolerance: float) -> None:
    wanted = {name: _gradient(plain, name) for name in found}
    largest = max((float(g.abs().max()) for g in wanted.values() if g.numel()), default=0.0)
    for name, gradient in wanted.items():
        # Relative to the largest of all: what is far below it may be rounding noise, as of a bias before a BatchNorm.
        _agree(f"the gradient of {name}", found[name], gradient, tolerance, scale=0.1 * largest)


def _agree_on_update(block: Block, plain: Sequence[_PlainStep], step: int, kind: str) -> None:
    gradients = {name: torch.stack([_gradient(one, name) for one in plain]) for name in block.trainable}
    with torch.no_grad():
        block.update.advance(gradients, step, live=block.live)
    for name, tensor in block.trainable.items():
        for row, one in enumerate(plain):
            wanted = one.after[name]
            moved = (wanted - one.before[name]).abs().max()
            rounding = 8 * torch.finfo(wanted.dtype).eps * wanted.abs().max()
            off = (tensor[row] - wanted).abs().max()
            if not bool(off <= 1e-3 * moved + rounding):
                raise Unfit(f"{kind} is not elementwise and linear in lr: its update of {name} differs")


def _check_idle(plain: _PlainStep, idle: frozenset[str]) -> None:
    for name in idle:
        if plain.gradients[name] is not None:
            raise Unfit(f"{name} has a gradient at some steps only")


def _gradient(plain: _PlainStep, name: str) -> Tensor:
    gradient = plain.gradients[name]
    if gradient is None:
        raise Unfit(f"{name} has a gradient at some steps only")
    return gradient


def _agree(what: str, found: Tensor, wanted: Tensor, tolerance: float, *, scale: float = 0.0) -> None:
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    if not wanted.numel():
        return
    largest = max(float(wanted.abs().max()), scale)
    off = float((found - wanted).abs().max())
    if not (off <= tolerance * largest + 1e-12 or (math.isnan(off) and math.isnan(largest))):
        raise Unfit(f"{what} differs from a plain run's by {off:.2g} in {largest:.2g}")


def _tolerance(setup: Setup, block: Block) -> float:
    if setup.plan.training.precision == "bfloat16":
        return 0.1
    return 1e-3 if any(p.dtype == torch.float32 for p in block.trainable.values()) else 1e-9


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]
