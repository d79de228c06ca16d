"""Searches on made-up objectives whose best rate is known: shaped and as noisy as real ones were measured to be.

The mean of log loss against log10 lr is a soft V, its minimum at `best`: near-symmetric close to it, a slope
to the left, a steeper one to the right, then a cliff. Shorter trials have a higher and shifted curve. Every
seed adds a path that is the same for near rates (same weights, same batches) and grows to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lrkit.search.fitting import fit_results
from lrkit.search.methods.auto import AUTO
from lrkit.search.trials import Result, Settings, Stop

STEPS = 900
UNTRAINED = 2.5

_GRID = np.linspace(-6.0, 2.0, 801)
_PATHS = np.linalg.cholesky(np.exp(-np.abs(_GRID[:, None] - _GRID[None, :]) / 0.5) + 1e-9 * np.eye(801))


@dataclass(frozen=True)
class Objective:
    """One made-up task; `number` draws what its seeds do."""

    best: float = -2.0
    left: float = 0.8
    right: float = 1.5
    softness: float = 0.25
    height: float = 0.8
    noise: float = 0.025
    shift: float = 0.05
    cliff: float = 1.3
    number: int = 0

    @classmethod
    def drawn(cls, number: int, *, noise: float | None = None) -> Objective:
        draw = np.random.default_rng([number, 1])
        return cls(
            best=draw.uniform(-3.0, -1.0),
            left=draw.uniform(0.6, 1.1),
            right=draw.uniform(0.8, 2.2),
            softness=draw.uniform(0.15, 0.35),
            height=draw.uniform(0.5, 1.2),
            noise=draw.uniform(0.015, 0.035) if noise is None else noise,
            shift=draw.normal(0.05, 0.08),
            cliff=draw.uniform(0.9, 1.8),
            number=number,
        )

    def mean(self, x: float, steps: int = STEPS) -> float:
        """The log loss after `steps`, over all seeds; inf beyond the cliff."""
        u = math.log(STEPS / steps) / math.log(3.0)
        d = x - self.best - self.shift * u
        if d > self.cliff:
            return math.inf
        return math.log(0.3) + self._shape(d) * (1.0 - 0.1 * u) + 0.25 * u

    def measured(self, lr: float, seed: int, steps: int) -> float:
        """The loss that a trial ends with; nan beyond the cliff."""
        x = math.log10(lr)
        mean = self.mean(x, steps)
        if mean == math.inf:
            return math.nan
        growth = min(30.0, 10.0 ** max(0.0, x - self.best))
        at_end, here = (float(np.interp(x, _GRID, self._path(seed, n))) for n in (STEPS, steps))
        path = at_end if steps == STEPS else 0.6 * at_end + 0.8 * here
        return min(UNTRAINED, math.exp(mean + self.noise * growth * path))

    def regret(self, x: float) -> float:
        """By what part the loss at x exceeds the lowest one, on average."""
        return math.expm1(self.mean(x) - self.mean(self.best))

    def _shape(self, d: float) -> float:
        ratio = self.left / self.right
        lowest = self.softness / (self.left + self.right) * math.log(ratio)
        d += lowest
        arms = np.logaddexp(-self.left * d / self.softness, self.right * d / self.softness)
        return self.height * self.softness * float(arms)

    def _path(self, seed: int, steps: int) -> np.ndarray:
        return _PATHS @ np.random.default_rng([self.number, seed, steps]).standard_normal(801)


def settings_for(objective: Objective, *, budget: float = 7.6, seed: int = 0) -> Settings:
    """The bracket that a range test would have given, and `budget` trainings."""
    middle = objective.best + np.random.default_rng([objective.number, 2]).uniform(-0.35, 0.55)
    return Settings(
        steps=STEPS,
        budget=int(budget * STEPS),
        low=10.0 ** (middle - 1.0),
        high=10.0 ** (middle + 0.6),
        seed=seed,
        untrained=UNTRAINED,
    )


def outcome(objective: Objective, settings: Settings, proposal) -> Result:
    """What a trial comes to; a diverging one ends a quarter of the way."""
    loss = objective.measured(proposal.lr, proposal.seed, proposal.stop)
    diverged = not math.isfinite(loss)
    cost = max(1, proposal.cost // 4) if diverged else proposal.cost
    return Result(proposal.lr, proposal.seed, proposal.start + cost, loss, diverged, cost, 0.5)


def searched(objective: Objective, settings: Settings, *, whole_batches: bool = True):
    """All results of a search, in order, and why it stopped."""
    results: list[Result] = []
    while not isinstance(proposals := AUTO.next_trials(settings, results), Stop):
        for proposal in proposals if whole_batches else proposals[:1]:
            results.append(outcome(objective, settings, proposal))
    return results, proposals


def fitted(objective: Objective, settings: Settings):
    """The fit of a whole search."""
    results, _ = searched(objective, settings)
    return fit_results(settings, results)[1]


def turned_round(results: list[Result]) -> list[Result]:
    """The same trials as if a score were maximised that falls as the loss rises."""
    return [r if r.diverged else replace(r, objective=-math.log(r.objective)) for r in results]
