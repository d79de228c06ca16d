"""Searches over rate and weight decay on made-up objectives, and what every method has to keep to on any objective."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from lrkit.search.space import Space
from lrkit.search.trials import Proposal, Result, Settings, Stop
from search.simulated import STEPS, UNTRAINED, Objective

SPACE = Space({"weight_decay": "1e-5..1:log"})


@dataclass(frozen=True)
class Joint:
    """The rate's curve of `Objective`, shifted by the weight decay, plus a bowl over log10 weight decay.

    Too much weight decay costs twice what too little does, and the best rate moves by `tilt` decades per decade.
    """

    rate: Objective
    decay: float
    width: float
    tilt: float
    space: Space = SPACE

    @classmethod
    def drawn(cls, number: int, **changes) -> Joint:
        draw = np.random.default_rng([number, 7])
        return cls(
            Objective.drawn(number, **changes),
            decay=draw.uniform(-3.5, -1.0),
            width=draw.uniform(0.02, 0.05),
            tilt=draw.uniform(-0.2, 0.2),
        )

    def mean(self, x: float, values, steps: int = STEPS) -> float:
        away = [math.log10(value) - self.decay for name, value in values if name == "weight_decay"]
        shift = sum(self.tilt * a for a in away)
        bowl = sum(self.width * a * a * (2 if a > 0 else 1) for a in away)
        return self.rate.mean(x + shift, steps) + bowl

    def regret(self, lr: float, values) -> float:
        """By what part the loss there exceeds the lowest one, on average."""
        return math.expm1(self.mean(math.log10(lr), values) - self.rate.mean(self.rate.best))

    def outcome(self, settings: Settings, p: Proposal) -> Result:
        mean = self.mean(math.log10(p.lr), p.values, p.stop)
        entropy = [self.rate.number, p.seed, p.stop, round(p.lr * 1e12), *map(ord, str(p.values))]
        noise = self.rate.noise * np.random.default_rng(entropy).standard_normal()
        diverged = mean == math.inf
        loss = math.nan if diverged else min(UNTRAINED, math.exp(mean + noise))
        cost = max(1, p.cost // 4) if diverged else p.cost
        return Result(p.lr, p.seed, p.start + cost, loss, diverged, cost, 0.5, (), p.values)

    def settings(self, budget: float, seed: int = 0) -> Settings:
        middle = self.rate.best + np.random.default_rng([self.rate.number, 2]).uniform(-0.35, 0.55)
        return Settings(
            steps=STEPS,
            budget=int(budget * STEPS),
            low=10.0 ** (middle - 1.2),
            high=10.0 ** (middle + 0.8),
            seed=seed,
            untrained=UNTRAINED,
            space=self.space,
        )


def searched(
    method, objective: Joint, settings: Settings, results=()
) -> tuple[list[Result], Stop, list[int]]:
    """All results in order, why it stopped, and how many trials were asked for at a time."""
    results, sizes = list(results), []
    while not isinstance(proposals := method.next_trials(settings, results), Stop):
        sizes.append(len(proposals))
        results += [objective.outcome(settings, p) for p in proposals]
    return results, proposals, sizes


def check_laws(method, objective: Joint, settings: Settings, order: np.random.Generator) -> list[Result]:
    """Search one trial at a time, in any order, and hold the method to its promises at every step.

    Never over budget; no trial twice; the same whatever the results' order; in the midst of a batch, the rest of it;
    a trial goes on only from where it stands, and its state was to be kept.
    """
    results: list[Result] = []
    batch: set[Proposal] = set()
    kept = frozenset()
    while True:
        asked = method.next_trials(settings, results)
        assert asked == method.next_trials(settings, [results[i] for i in order.permutation(len(results))])
        if isinstance(asked, Stop):
            assert not batch
            return results
        assert asked
        assert len(set(asked)) == len(asked)
        assert sum(r.cost for r in results) + sum(p.cost for p in asked) <= settings.budget
        if batch:
            assert set(asked) == batch
        batch = set(asked)
        kept = method.resumable(settings, results)
        for p in asked:
            settings.space.check(p.values) if settings.space else None
            assert settings.low * 0.99 <= p.lr <= settings.high * 1.01
            before = [r for r in results if r.key == p.key]
            assert not any(r.diverged for r in before)
            assert p.start == max((r.steps for r in before), default=0) < p.stop <= settings.steps
            if p.start:
                assert p.key in kept
        chosen = asked[order.integers(len(asked))]
        batch.remove(chosen)
        results.append(objective.outcome(settings, chosen))
        if batch and not results[-1].diverged and chosen.stop < settings.steps:
            assert chosen.key in method.resumable(settings, results)


def best_result(results, steps: int = STEPS) -> Result:
    """The lowest loss of those trained to the end."""
    return min((r for r in results if r.steps == steps and not r.diverged), key=lambda r: r.objective)


def without_space(objective: Joint) -> Joint:
    return dataclasses.replace(objective, space=Space({}))
