"""States that travel: a row of a block as the state of the plain Run that it equals, and plain states as rows.

A state is always that of `Run.state_dict()`, so members come and go between populations of any route and plain runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lrkit.errors import StateError
from lrkit.optim.rng import RngState
from lrkit.training.population.block import Block
from lrkit.training.population.generators import are_equal, same
from lrkit.training.population.lanes import Lane
from lrkit.training.population.unfit import Unfit
from lrkit.training.run import Run

__all__ = ["check_together", "lane_state", "resumed_run", "run_state", "take_rows"]


def run_state(
    run: Run, block: Block, row: int, lane: Lane, *, done: int, losses: Sequence[float]
) -> dict[str, Any]:
    """What `run`, fresh and then given up, would save after `done` updates: the row was trained in its place."""
    tensors = block.tensors_of(row)
    with torch.no_grad():
        for name, own in (*run.model.named_parameters(), *run.model.named_buffers()):
            own.copy_(tensors[name])
    block.update.give(run, row, done=done)
    run.scheduler.load_state_dict({**run.scheduler.state_dict(), "step": done})
    state = run.state_dict()
    shared = lane.state_dict()
    return state | {
        "stream": copy.deepcopy(shared["stream"]),
        "rng": shared["rng"],
        "losses": torch.tensor(losses, dtype=torch.float64),
    }


def resumed_run(run: Run, state: Mapping[str, Any], *, member: int) -> Run:
    """`run`, fresh, standing where `state` was taken. Raises StateError for the state of another run."""
    try:
        run.load_state_dict(state)
    except (StateError, KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        told = str(error) if isinstance(error, StateError) else f"this is no state of a Run: {error!r:.200}"
        raise StateError(f"member {member}: {told}") from error
    if run.diverged:
        raise StateError(f"member {member} diverged at update {run.step}: it cannot go on, leave it out")
    return run


def check_together(runs: Mapping[int, Run]) -> int:
    """The update at which all of `runs` stand. Raises StateError where there is no such one."""
    (first, one), *others = runs.items()
    for member, run in others:
        if run.step != one.step:
            raise StateError(
                f"member {member} stands at update {run.step}, member {first} at {one.step}: the members of one "
                "population stand at the same; put them into two populations, or train the later one up first"
            )
    return one.step


def lane_state(states: Mapping[int, Mapping[str, Any]], *, seed: int, draws: bool) -> dict[str, Any]:
    """Where the batches and random numbers stand that the members of one seed share. Raises Unfit where they do not.

    draws: whether training draws random numbers: where it draws none, it is no matter where they stand.
    """
    (first, one), *others = states.items()
    for member, state in others:
        if not same(state["stream"], one["stream"]):
            raise Unfit(f"members {first} and {member} of seed {seed} stand at different batches")
        if draws and not are_equal(RngState.from_dict(state["rng"]), RngState.from_dict(one["rng"])):
            raise Unfit(f"members {first} and {member} of seed {seed} stand at different random numbers")
    return {"seed": seed, "stream": copy.deepcopy(one["stream"]), "rng": one["rng"]}


def take_rows(block: Block, runs: Sequence[Run]) -> None:
    """Row i of the block becomes what `runs[i]` is. Raises Unfit where a run is more than its row can hold."""
    for run in runs:
        if run.scheduler.state_dict()["history"]:
            raise Unfit("a member's schedule was changed on its way")
    with torch.no_grad():
        for row, run in enumerate(runs):
            tensors = dict([*run.model.named_parameters(), *run.model.named_buffers()])
            for stacked in (block.trainable, block.buffers):
                for name, tensor in stacked.items():
                    tensor[row] = tensors[name]
    block.update.take(runs)
