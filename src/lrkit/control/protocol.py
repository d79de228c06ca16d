"""What a controller is: a value with two pure functions, `init` and `update`. Knows no optimizer.

Whoever holds the state (a Scheduler, a replay) hands it in with each observation and keeps what comes back, so
that the same observations give the same actions, today and from a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lrkit.duration import Duration, Horizon

__all__ = ["Action", "Controller", "ControllerState", "Observation", "replay"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a controller is told: the updates done, the metric then, and each group's lr for the next update."""

    step: int
    metric: float
    lrs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """What to do from the next update on: multiply each group's lr by its factor. `reason` says why, or is empty."""

    factors: tuple[float, ...]
    reason: str = ""

    @property
    def acts(self) -> bool:
        """Whether it changes anything."""
        return any(factor != 1.0 for factor in self.factors)


class ControllerState(Protocol):
    """What a controller remembers: a frozen value."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data: numbers, texts and None by name."""


class Controller(Protocol):
    """A rule that turns observations into actions.

    A frozen, hashable value, whose `str` is what a spec says. States are its own kind of value, hence `Any`.
    """

    @property
    def metric(self) -> str | None:
        """The name of the metric that it looks at; None: whichever is observed."""

    @property
    def every(self) -> Duration | None:
        """How often it decides; None: at each observation."""

    def over(self, horizon: Horizon) -> Controller:
        """The same with all its durations in steps of this run. Raises HorizonError for a unit that it lacks."""

    def settled(self, *, every: Duration, metric: str) -> Controller:
        """The same with what it leaves open said: how often it decides, and which metric it looks at."""

    def init(self) -> Any:
        """The state before the first observation."""

    def update(self, state: Any, observation: Observation) -> tuple[Any, Action]:
        """The next state, and what to do. Raises MetricError for a metric that it cannot use."""

    def restore(self, data: Mapping[str, Any]) -> Any:
        """The state whose `to_dict` gave `data`. Raises StateError for anything else."""


def replay(controller: Controller, observations: Iterable[Observation]) -> list[Action]:
    """What `controller` does at each of `observations`: those of a log, say, under another patience.

    Its durations must be in steps: give `controller.over(horizon)` where they are not.

    >>> from lrkit.control import plateau
    >>> log = [Observation(step, 1.0, (0.5,)) for step in (100, 200, 300, 400)]
    >>> [action.factors for action in replay(plateau(patience=2), log)]
    [(1.0,), (1.0,), (1.0,), (0.1,)]
    """
    state, actions = controller.init(), []
    for observation in observations:
        state, action = controller.update(state, observation)
        actions.append(action)
    return actions
