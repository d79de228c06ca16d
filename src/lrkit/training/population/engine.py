"""The engine: how a block takes one step. Operation by operation, as a traced graph, or as one compiled graph.

*Eager* runs `vmap(grad)` anew at each step, and most of a small model's time goes into its layers of dispatch.
*Traced* records the tensor operations of the gradients once (`make_fx`) and replays them, activations turned round
(`feature_major`). *Compiled* records gradients and update together, and compiles them (TorchInductor).

A graph serves batches of one signature, the full batch; others, such as the short last one of an epoch, go eagerly.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from lrkit.optim.rng import RngState
from lrkit.training.batches import Batch
from lrkit.training.population.block import Block
from lrkit.training.population.feature_major import feature_major
from lrkit.training.population.flat import FlatGraph
from lrkit.training.population.generators import are_equal
from lrkit.training.population.stacked_loss import StackedLoss
from lrkit.training.population.trimmed import trimmed
from lrkit.training.population.updates import Tensors
from lrkit.training.population.windows import signature

__all__ = ["Engine", "Graphs", "Way"]

Way = Literal["eager", "traced", "compiled"]
Graph = Callable[..., Any]


@dataclass(slots=True, eq=False)
class Recorded:
    """A graph for blocks of one size: of gradients, or of a whole step, in which some numbers are baked in.

    taken: steps so far. due: the step before which it is compared with an eager one next.
    """

    size: int
    baked: Any
    graph: Graph
    taken: int = 0
    due: int = 0

    def take(self) -> bool:
        """Count a step; whether it is one to be compared."""
        compared = self.taken == self.due
        if compared:
            self.due += max(1, min(self.taken, _LONGEST_UNCHECKED))
        self.taken += 1
        return compared


Graphs = list[Recorded]

_log = logging.getLogger("lrkit")

_LONGEST_UNCHECKED = 512
_NEAR = 0.02


class Engine:
    """Steps blocks in one `way`; graphs are made when they are first needed, and kept by block size.

    A graph keeps what Python decided while it was recorded. So it is compared with an eager step, on copies, at its
    first steps and then at distances that double; where it differs, the engine goes on eagerly and `way` says so.
    """

    def __init__(
        self, loss: StackedLoss, way: Way, *, served: str | None, graphs: Graphs | None = None
    ) -> None:
        self.way = way
        self._loss, self._served = loss, served
        self.graphs: Graphs = [] if graphs is None else graphs

    def served_size(self, members: int) -> int:
        """The size of a block for so many members: one that a graph is there for, where that is not much too large."""
        # Traced anew in about the time that thrice the rows take; compiling is dearer than any ballast.
        largest = math.inf if self.way == "compiled" else 3 * members
        known = [recorded.size for recorded in self.graphs if members <= recorded.size <= largest]
        return min(known, default=members)

    def step(self, block: Block, window: Sequence[Batch], step: int) -> list[float]:
        """Take update number `step` with every member of `block`; gives the losses, row by row.

        A member whose loss is not finite keeps the parameters that it had.
        """
        window = list(window)
        whole = self.way == "compiled" and block.update.pure
        recorded, coefficients = None, None
        if self.way != "eager" and self._served is not None and signature(window) == self._served:
            coefficients = block.update.coefficients(step) if whole else None
            recorded = self._recorded(block, window, coefficients)
            if recorded.take() and not self._holds(recorded.graph, block, window, coefficients):
                recorded = None
        if recorded is not None and coefficients is not None:
            found, block.buffers = recorded.graph(
                block.trainable, block.constants, block.buffers, block.update.state(), coefficients, window
            )
            return _numbers(found)
        gradients_of = self._loss.gradients if recorded is None else recorded.graph
        found, gradients, block.buffers = gradients_of(
            block.trainable, block.constants, block.buffers, window
        )
        losses = _numbers(found)
        lost = [row for row, loss in enumerate(losses) if not math.isfinite(loss)]
        before = {name: tensor[lost] for name, tensor in block.trainable.items()} if lost else {}
        block.update.advance(gradients, step, live=block.live)
        for name, rows in before.items():
            block.trainable[name][lost] = rows
        return losses

    def _holds(
        self, graph: Graph, block: Block, window: list[Batch], coefficients: list[Tensor] | None
    ) -> bool:
        """Whether the graph does what an eager step does, both on copies."""
        whole = coefficients is not None
        by_hand: Graph = _whole_step(self._loss, block) if whole else self._loss.gradients
        before = RngState.capture()
        found: list[list[Tensor]] = []
        after: list[RngState] = []
        for way in (by_hand, graph):
            trainable, buffers = _copied(block.trainable), _copied(block.buffers)
            state = {name: _copied(tensors) for name, tensors in block.update.state().items()}
            extra = (state, coefficients) if whole else ()
            losses, *rest = way(trainable, block.constants, buffers, *extra, window)
            moved = {name: trainable[name] - t for name, t in block.trainable.items()} if whole else rest[0]
            found.append([losses, torch.cat([moved[name].flatten() for name in block.trainable])])
            after.append(RngState.capture())
            before.restore()
        # Who draws less has drawn for all steps already.
        if are_equal(*after) and all(_near(one, two) for one, two in zip(*found, strict=True)):
            return True
        _log.warning("a %s step differs from an eager one: the population goes on eagerly", self.way)
        self.way = "eager"
        return False

    def _recorded(self, block: Block, window: Sequence[Batch], coefficients: list[Tensor] | None) -> Recorded:
        """The graph for blocks of this size: of gradients, or with `coefficients` of the whole step, compiled."""
        size, baked = len(block.slots), None if coefficients is None else block.update.structure()
        for known in self.graphs:
            if (known.size, known.baked) == (size, baked):
                return known
        # Recording runs the operations for real: on copies, and with the random numbers put back.
        trainable, buffers = _copied(block.trainable), _copied(block.buffers)
        rng = RngState.capture()
        try:
            if coefficients is None:
                given: tuple[Any, ...] = (trainable, block.constants, buffers, list(window))
                graph = FlatGraph(self._loss.gradients, given, rewrite=_rewritten)
            else:
                state = {name: _copied(tensors) for name, tensors in block.update.state().items()}
                given = (trainable, block.constants, buffers, state, coefficients, list(window))
                graph = FlatGraph(_whole_step(self._loss, block), given, rewrite=_rewritten, compiled=True)
        finally:
            rng.restore()
        self.graphs.append(Recorded(size, baked, graph))
        return self.graphs[-1]


def _rewritten(module: GraphModule) -> GraphModule:
    return trimmed(feature_major(module))


def _whole_step(loss: StackedLoss, block: Block) -> Graph:
    """Gradients and update as one function of tensors, which moves parameters and state in place."""
    update = block.update

    def step(
        trainable: Tensors,
        constants: Tensors,
        buffers: Tensors,
        state: dict[str, Tensors],
        coefficients: list[Tensor],
        window: Sequence[Batch],
    ) -> tuple[Tensor, Tensors]:
        losses, gradients, buffers = loss.gradients(trainable, constants, buffers, window)
        before = _copied(trainable)
        update.apply(trainable, gradients, state, coefficients)
        finite = torch.isfinite(losses)
        for name, tensor in trainable.items():
            tensor.copy_(torch.where(finite.view(-1, *[1] * (tensor.ndim - 1)), tensor, before[name]))
        return losses, buffers

    return step


def _near(by_hand: Tensor, by_graph: Tensor) -> bool:
    """Alike as wholes: rounding that Adam has blown up may fill some elements, but not most of the norm."""
    known = torch.isfinite(by_hand) & torch.isfinite(by_graph)
    off, size = (by_hand - by_graph)[known].norm(), by_hand[known].norm()
    same_holes = torch.equal(torch.isfinite(by_hand), torch.isfinite(by_graph))
    return same_holes and bool(off <= _NEAR * size + 1e-6)


def _numbers(losses: Tensor) -> list[float]:
    found: list[float] = losses.tolist()
    return found


def _copied(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}
