"""The stack: members trained in blocks, lane by lane, each lane with the batches and random numbers of its seed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lrkit.errors import TaskError
from lrkit.optim.rng import RngState
from lrkit.training.batches import Batch, move_to
from lrkit.training.measurement import Measurement
from lrkit.training.population.block import Block, build_block, pack
from lrkit.training.population.engine import Engine, Graphs, Way
from lrkit.training.population.lanes import Lane
from lrkit.training.population.loop import OnStep, Which
from lrkit.training.population.route import Route
from lrkit.training.population.scoring import Scoring
from lrkit.training.population.setup import Setup
from lrkit.training.population.start import MemberStart
from lrkit.training.population.travel import lane_state, run_state, take_rows
from lrkit.training.population.windows import stack_batches
from lrkit.training.run import Run

__all__ = ["Stack"]

_LIGHT_STEP = 0.005  # seconds that a stack's step takes for dispatch alone


@dataclass(slots=True, eq=False)
class _Fleet:
    """Blocks that step together: all of one seed, or, where stacks may be mixed, all there are."""

    lanes: dict[int, Lane]
    blocks: list[Block]


class Stack:
    """The members of a population in as few blocks as hold them."""

    def __init__(self, setup: Setup, route: Route, *, graphs: Graphs | None = None) -> None:
        setup.check_plans()
        self._setup, self._route = setup, route
        self._starts: dict[int, MemberStart] = setup.starts(
            range(len(setup.members)), idle=frozenset(route.idle)
        )
        strange = set(route.idle) - self._starts[0].parameters.keys()
        if strange:
            raise TaskError(f"the route is another task's: this one has no parameter {min(strange)!r}")
        loss = setup.loss(mixed=route.mixed)
        way: Way = "eager" if route.name == "loop" else route.name
        self._engine = Engine(loss, way, served=route.served, graphs=graphs)
        self._scoring = Scoring(setup, loss)
        self.step = 0
        self.losses: list[list[float]] = [[] for _ in setup.members]
        self.diverged = [False] * len(setup.members)
        seeds = [setup.seeds] if route.mixed else [(seed,) for seed in setup.seeds]
        self._fleets = [self._fleet(chosen) for chosen in seeds]

    @property
    def route(self) -> Route:
        """The route that was asked for, or what it has become where its graphs turned out to be wrong."""
        if self._engine.way == self._route.name:
            return self._route
        reason = f"{self._route.reason}; its graph differed from an eager step"
        return replace(self._route, name=self._engine.way, reason=reason)

    @property
    def live(self) -> set[int]:
        """The members that still train."""
        return {member for fleet in self._fleets for block in fleet.blocks for member in block.members}

    def advance(self, until: int, *, on_step: OnStep | None, deadline: float) -> None:
        """Train the members that are left up to `until`, or past the deadline by one step."""
        with ExitStack() as stack, torch.no_grad():
            if len(self._fleets) == 1:
                # The first lane's random numbers stand for all: members of several seeds are mixed only where none
                # are drawn.
                stack.enter_context(next(iter(self._fleets[0].lanes.values())).own_rng())
            while self.step < until and self.live and time.monotonic() < deadline:
                losses: dict[int, float] = {}
                for fleet in self._fleets:
                    losses |= self._step_in_its_rng(fleet)
                for member, loss in losses.items():
                    self.losses[member].append(loss)
                    self.diverged[member] = not math.isfinite(loss)
                lost = [member for member in losses if self.diverged[member]]
                if on_step is not None:
                    on_step(self.step, losses)
                if lost:
                    self.drop(lost)
                if self.live:
                    self.step += 1

    def measure(self, which: Which) -> dict[int, Measurement]:
        """What each member that is left scores."""
        found: dict[int, Measurement] = {}
        for fleet in self._fleets:
            lane = next(iter(fleet.lanes.values()))
            for block in fleet.blocks:
                found |= self._scoring.score(block, lane, which, step=self.step)
        return dict(sorted(found.items()))

    def drop(self, members: Iterable[int]) -> None:
        """Train these no further; blocks that are empty enough are packed into fewer."""
        gone = set(members)
        for fleet in self._fleets:
            for block in fleet.blocks:
                block.live = [
                    alive and slot not in gone for slot, alive in zip(block.slots, block.live, strict=True)
                ]
            self._tidy(fleet)

    def model(self, index: int) -> nn.Module:
        """A model with the member's tensors. Raises KeyError for one that has left."""
        _, block, row = self._place(index)
        return self._scoring.filled(block, row)

    def member_state(self, index: int) -> dict[str, Any]:
        """What the member's Run would save. Raises KeyError for one that has left."""
        fleet, block, row = self._place(index)
        lane = fleet.lanes[self._setup.members[index].seed]
        return run_state(self._setup.run(index), block, row, lane, done=self.step, losses=self.losses[index])

    def take(self, runs: Mapping[int, Run], states: Mapping[int, Mapping[str, Any]]) -> None:
        """Go on from these runs and their states, which are every member, at one update.

        Raises Unfit where they cannot be rows of a stack; then this one is of no use any more.
        """
        members = self._setup.members
        for fleet in self._fleets:
            for seed, lane in fleet.lanes.items():
                own = {index: states[index] for index in runs if members[index].seed == seed}
                lane.load_state_dict(lane_state(own, seed=seed, draws=self._route.masks != "none"))
            for block in fleet.blocks:
                take_rows(block, [runs[slot] for slot in block.slots])
        self.step = next(iter(runs.values())).step
        self.losses = [list(runs[index].losses) for index in range(len(members))]

    def state_dict(self) -> dict[str, Any]:
        """Blocks and lanes, as tensors and plain data."""
        return {
            "step": self.step,
            "losses": [torch.tensor(losses, dtype=torch.float64) for losses in self.losses],
            "diverged": list(self.diverged),
            "scores": self._scoring.state_dict(),
            "fleets": [
                {
                    "lanes": [lane.state_dict() for lane in fleet.lanes.values()],
                    "blocks": [block.state_dict() for block in fleet.blocks],
                }
                for fleet in self._fleets
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, in its layout."""
        self.step = state["step"]
        self.losses = [losses.tolist() for losses in state["losses"]]
        self.diverged = list(state["diverged"])
        self._scoring.load_state_dict(state["scores"])
        for fleet, saved in zip(self._fleets, state["fleets"], strict=True):
            for stood in saved["lanes"]:
                fleet.lanes[stood["seed"]].load_state_dict(stood)
            fleet.blocks = [self._block(block["slots"]) for block in saved["blocks"]]
            for block, block_state in zip(fleet.blocks, saved["blocks"], strict=True):
                block.load_state_dict(block_state)

    @property
    def _bears_ballast(self) -> bool:
        """Whether a few rows more cost next to nothing: a step is dispatch, or its graph too dear to make anew."""
        taken = self._route.seconds.get(self._route.name, 0.0) * self._route.size
        return taken < _LIGHT_STEP or self._route.name == "compiled"

    def _place(self, index: int) -> tuple[_Fleet, Block, int]:
        """Where a member stands. Raises KeyError for one that has left."""
        for fleet in self._fleets:
            for block in fleet.blocks:
                for row, (slot, alive) in enumerate(zip(block.slots, block.live, strict=True)):
                    if alive and slot == index:
                        return fleet, block, row
        raise KeyError(index)

    def _fleet(self, seeds: Sequence[int]) -> _Fleet:
        members = [i for i, member in enumerate(self._setup.members) if member.seed in seeds]
        count = math.ceil(len(members) / self._route.size)
        size = math.ceil(len(members) / count)
        if self._bears_ballast:
            size = self._engine.served_size(size)
        blocks = []
        for first in range(0, len(members), size):
            chosen = members[first : first + size]
            block = self._block([*chosen, *[chosen[0]] * (size - len(chosen))])
            block.live = [row < len(chosen) for row in range(size)]
            blocks.append(block)
        return _Fleet({seed: self._setup.lane(seed) for seed in seeds}, blocks)

    def _block(self, slots: Sequence[int]) -> Block:
        return build_block(self._starts, slots, mixed=self._route.mixed, build=self._setup.optimizer)

    def _tidy(self, fleet: _Fleet) -> None:
        """Pack the members that are left into fewer blocks of the same size, or the last block into a smaller one."""
        sources = [(block, row) for block in fleet.blocks for row, alive in enumerate(block.live) if alive]
        if not sources:
            fleet.blocks = []
            return
        size = len(fleet.blocks[0].slots)
        needed = math.ceil(len(sources) / size)
        # A smaller block is a new graph: half a second where it is traced, too much where it is compiled.
        ballast = size // 2 if self._bears_ballast else size - 1
        shrinks = needed == 1 and len(sources) <= ballast and self._route.name != "compiled"
        if needed == len(fleet.blocks) and not shrinks:
            return
        size = len(sources) if shrinks else size
        fleet.blocks = [
            pack(self._starts, sources[first : first + size], size=size, build=self._setup.optimizer)
            for first in range(0, len(sources), size)
        ]

    def _step_in_its_rng(self, fleet: _Fleet) -> dict[int, float]:
        if not fleet.blocks:
            return {}
        if len(self._fleets) == 1:
            return self._step(fleet)
        with next(iter(fleet.lanes.values())).own_rng():
            return self._step(fleet)

    def _step(self, fleet: _Fleet) -> dict[int, float]:
        """One update of every block; the losses of the members that train."""
        windows = {
            seed: [move_to(batch, self._setup.device) for batch in lane.window()]
            for seed, lane in fleet.lanes.items()
        }
        # Every block of a seed draws the same masks.
        generators = RngState.capture() if self._route.masks != "none" and len(fleet.blocks) > 1 else None
        losses: dict[int, float] = {}
        for place, block in enumerate(fleet.blocks):
            if generators is not None and place:
                generators.restore()
            found = self._engine.step(block, self._window(block, windows), self.step)
            losses |= {
                member: loss
                for member, loss, alive in zip(block.slots, found, block.live, strict=True)
                if alive
            }
        return losses

    def _window(self, block: Block, windows: Mapping[int, list[Batch]]) -> list[Batch]:
        if not self._route.mixed:
            return next(iter(windows.values()))
        rows = [windows[self._setup.members[slot].seed] for slot in block.slots]
        return [stack_batches(batches) for batches in zip(*rows, strict=True)]
