"""The loop: members trained one by one as the plain Runs that they are, for what does not stack."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from lrkit.training.measurement import Measurement
from lrkit.training.population.route import Route
from lrkit.training.population.setup import Setup
from lrkit.training.run import Run, StepInfo

__all__ = ["Loop", "OnStep", "Which"]

Which = Literal["validation", "test", "train"]
OnStep = Callable[[int, Mapping[int, float]], None]

# Updates that a member takes before the next has its turn: members stay near each other, and a turn costs little.
_TURN = 128


class Loop:
    """A Run for each member, in turns."""

    def __init__(self, setup: Setup, route: Route) -> None:
        self.route = route
        self._runs = {index: setup.run(index) for index in range(len(setup.members))}
        self.step = 0
        self.losses: list[list[float]] = [run.losses for run in self._runs.values()]
        self.diverged = [False] * len(setup.members)

    @property
    def live(self) -> set[int]:
        """The members that still train."""
        return set(self._runs)

    def advance(self, until: int, *, on_step: OnStep | None, deadline: float) -> None:
        """Train the members that are left up to `until`, or past the deadline by one turn of each."""
        while self.step < until and self.live and time.monotonic() < deadline:
            stop = min(until, self.step + _TURN)
            for index in self._runs:
                self._runs[index].advance(stop, on_step=None if on_step is None else _told_as(index, on_step))
            lost = [index for index, run in self._runs.items() if run.diverged]
            for index in lost:
                self.diverged[index] = True
            if len(lost) < len(self._runs):
                self.step = stop
            else:
                self.step = max(self._runs[index].step for index in lost)
            self.drop(lost)

    def measure(self, which: Which) -> dict[int, Measurement]:
        """What each member that is left scores."""
        return {index: run.measure(which) for index, run in self._runs.items()}

    def drop(self, members: Iterable[int]) -> None:
        """Train these no further; their models are given up."""
        for index in members:
            self._runs.pop(index, None)

    def model(self, index: int) -> nn.Module:
        """A copy of the member's model."""
        return copy.deepcopy(self._runs[index].model)

    def member_state(self, index: int) -> dict[str, Any]:
        """The state of the member's Run, copied."""
        return copy.deepcopy(self._runs[index].state_dict())

    def take(self, runs: Mapping[int, Run], states: Mapping[int, Mapping[str, Any]]) -> None:
        """Go on from these runs, which are every member, at one update."""
        del states  # the runs stand there
        self._runs = dict(runs)
        self.step = next(iter(runs.values())).step
        self.losses = [run.losses for run in runs.values()]

    def state_dict(self) -> dict[str, Any]:
        """The states of the members that are left, and the losses of all."""
        return {
            "step": self.step,
            "runs": {index: run.state_dict() for index, run in self._runs.items()},
            "losses": [torch.tensor(losses, dtype=torch.float64) for losses in self.losses],
            "diverged": list(self.diverged),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.step = state["step"]
        self.losses = [losses.tolist() for losses in state["losses"]]
        self.diverged = list(state["diverged"])
        self._runs = {index: run for index, run in self._runs.items() if index in state["runs"]}
        for index, run in self._runs.items():
            run.load_state_dict(state["runs"][index])
            self.losses[index] = run.losses


def _told_as(index: int, on_step: OnStep) -> Callable[[StepInfo], None]:
    return lambda info: on_step(info.step, {index: info.loss})
