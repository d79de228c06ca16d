"""What a search deals in: settings, proposals and results, as plain values. Who makes them is not here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lrkit.search.space import Space

__all__ = [
    "Proposal",
    "Result",
    "Settings",
    "Stop",
    "StopCause",
    "Trial",
    "TrialKey",
    "Value",
    "Values",
    "round_rate",
]

Direction = Literal["min", "max"]
TrialStatus = Literal["finished", "stopped", "diverged"]
StopCause = Literal["method", "budget", "time"]
Value = float | int | str
Values = tuple[tuple[str, Value], ...]
"""Hyperparameters other than the lr, by name and sorted; empty where the lr alone is searched."""
TrialKey = tuple[float, int, Values]
"""What makes a trial: its lr, its seed, and its other values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides, together with the results so far, what a search does next.

    `steps` is the length T of a full trial and `budget` what all trials together may cost, both in updates;
    `low` and `high` bound the rates: at first, or for good where `closed`. `untrained` is the objective before
    any training (inf where it is not known): what ends worse than it is hopeless. No trial is judged before
    `earliest` updates: while the rate still warms up, too high ones look good. `space` holds what is searched
    beside the lr.
    """

    steps: int
    budget: int
    low: float
    high: float
    seed: int = 0
    direction: Direction = "min"
    untrained: float = math.inf
    earliest: int = 0
    space: Space | None = None
    closed: bool = False

    def allows(self, lr: float) -> bool:
        """Whether the rate may be tried: any may where the ends are not closed."""
        return not self.closed or round_rate(self.low) <= lr <= round_rate(self.high)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Train the rate `lr` under `seed` from update `start` (0: afresh) up to, not including, update `stop`.

    alone: the only one that a method asks for at once: where trials go in pairs, it has all threads.
    """

    lr: float
    seed: int
    start: int
    stop: int
    values: Values = ()
    alone: bool = field(default=False, compare=False)

    @property
    def key(self) -> TrialKey:
        """The trial that this is a stretch of."""
        return self.lr, self.seed, self.values

    @property
    def cost(self) -> int:
        """Updates that it takes at most; a diverging trial takes fewer."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing further is worth its updates, or none are left: `reason` says it in words for the user, `cause` says what
    ended the search.
    """

    reason: str
    cause: StopCause = "method"


@dataclass(frozen=True, slots=True)
class Result:
    """A trial measured after `steps` updates; `cost` and `seconds` are what this stretch of it took.

    `objective` is nan where the trial `diverged` (a loss that is not finite). `losses` are the training losses of
    this stretch where it has just been trained, from update `begun` on; a study gives results back without them.
    `parts` are shares of the validation data, each with what it adds to the objective, where that is a mean over them.
    """

    lr: float
    seed: int
    steps: int
    objective: float
    diverged: bool
    cost: int
    seconds: float
    metrics: tuple[tuple[str, float], ...] = ()
    values: Values = ()
    parts: tuple[tuple[float, float], ...] = ()
    losses: tuple[float, ...] = field(default=(), compare=False, repr=False)
    begun: int = field(default=0, compare=False, repr=False)

    @property
    def key(self) -> TrialKey:
        """The trial that this is a stretch of."""
        return self.lr, self.seed, self.values


@dataclass(frozen=True, slots=True)
class Trial:
    """A rate under one seed, as far as it got: "finished" at full length, "stopped" before, or "diverged"."""

    lr: float
    seed: int
    steps: int
    objective: float
    status: TrialStatus
    metrics: tuple[tuple[str, float], ...] = ()
    values: Values = ()


def round_rate(lr: float) -> float:
    """`lr` to three significant digits (0.2 % at most): further ones would be invented, and could differ
    between machines.

    >>> round_rate(0.0031622776)
    0.00316
    """
    return float(f"{lr:.3g}")
