"""The loop: members trained one by one as the plain Runs that they are, for what does not stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import nn

from lrkit.training.population.setup import Setup
from lrkit.training.run import StepInfo

__all__ = ["Loop", "OnStep", "Which"]

Which = Literal["validation", "test", "train"]
OnStep = Callable[[int, Mapping[int, float]], None]

# Updates that a member takes before the next has its turn: members stay near each other, and a turn costs little.
_TURN = 32


class Loop:
    """A Run for each member, in turns."""

    def __init__(self, setup: Setup) -> None:
        self._runs = {index: setup.run(index) for index in range(len(setup.members))}
        self.step = 0
        self.live = set(self._runs)

    @property
    def losses(self) -> list[list[float]]:
        """The losses of each member so far."""
        return [run.losses for run in self._runs.values()]

    @property
    def diverged(self) -> list[bool]:
        """Whether each member's loss was not finite."""
        return [run.diverged for run in self._runs.values()]

    def advance(self, until: int, *, on_step: OnStep | None, deadline: float) -> None:
        """Train the members that are left up to `until`, or past the deadline by one turn of each."""
        while self.step < until and self.live and time.monotonic() < deadline:
            stop = min(until, self.step + _TURN)
            for index in sorted(self.live):
                self._runs[index].advance(stop, on_step=None if on_step is None else _told_as(index, on_step))
            self.live -= {index for index in self.live if self._runs[index].diverged}
            self.step = stop if self.live else self.step

    def evaluate(self, which: Which) -> dict[int, dict[str, float]]:
        """What each member that is left scores."""
        return {index: self._runs[index].evaluate(which) for index in sorted(self.live)}

    def drop(self, members: Iterable[int]) -> None:
        """Train these no further."""
        self.live -= set(members)

    def model(self, index: int) -> nn.Module:
        """The member's own model."""
        return self._runs[index].model

    def state_dict(self) -> dict[str, Any]:
        """The states of the members that are left, and the losses of all."""
        return {
            "step": self.step,
            "runs": {index: run.state_dict() for index, run in self._runs.items()},
            "live": sorted(self.live),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        for index, run in self._runs.items():
            run.load_state_dict(state["runs"][index])
        self.step, self.live = state["step"], set(state["live"])


def _told_as(index: int, on_step: OnStep) -> Callable[[StepInfo], None]:
    return lambda info: on_step(info.step, {index: info.loss})
