"""halving: many trials to a ninth of the length, some of them to a third, few to the end.

A ladder of rates under each of several choices of the other values. Rungs below a tenth of the length rank rates badly,
so the first one is a ninth, and half is kept there; then a third. Within equal values what is kept is chosen *by
position*, not by rank: the rates around the best one, for its place moves by up to 0.2 decades from rung to rung while
the curve around it keeps its shape; both neighbours of the best always, nothing beyond 0.6 decades of it, nothing that
diverged. Choices of values are ranked by the best of their rates (docs/space.md). What the budget still holds then goes
to other seeds of the trials that reached the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lrkit.errors import StudyError
from lrkit.search.methods.batches import (
    NextBatch,
    batch_at_hand,
    cost_of_others,
    hopeful_merit,
    rest_of_batch,
    told_at_end,
)
from lrkit.search.methods.design import outwards, rate_range, spread_values
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey, Values

__all__ = ["HALVING"]

PARTS = (9, 3)
"""Rungs before the last one, as T/n."""
KEPT_EARLY, KEPT_LATE = 1 / 2, 1 / 3
"""What is kept at rungs below a quarter of the length, and at later ones."""
WINDOW = 0.6
"""Decades from the best rate beyond which no other rate of its values is kept."""
ROUNDING = 0.01
FINEST, USUAL = 0.1, 0.4
"""Decades between rates: at least, and where other values are searched with them."""
FEWEST_RATES, MOST_RATES = 3, 64
FEWEST_CHOICES, ENOUGH_CHOICES, MOST_CHOICES = 2, 4, 256
"""Choices of other values: more than `ENOUGH` only where the rates stand as near as is usual."""
MOST_SEEDS = 4


@dataclass(frozen=True, slots=True)
class _Halving:
    """See the module."""

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """See `Method`. Raises StudyError for a budget that is too small."""
        answer = rest_of_batch(settings, results, _next_batch_of(settings, results))
        return told_at_end(settings, results, answer)

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """The trials of the rung at hand, but for those that it brings to their end."""
        at_hand = batch_at_hand(results, _next_batch_of(settings, results))
        if isinstance(at_hand, Stop):
            return frozenset()
        ending = at_hand.batch[0].stop == settings.steps
        return frozenset(p.key for p in (at_hand.left if ending else at_hand.batch))


HALVING = _Halving()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the first rung trains: every rate, ascending, under each of the choices of other values."""

    rates: tuple[float, ...]
    choices: tuple[Values, ...]
    rungs: tuple[int, ...]

    def keys(self, seed: int) -> frozenset[TrialKey]:
        """Its trials and their replicates."""
        seeds = range(seed, seed + MOST_SEEDS)
        return frozenset((lr, s, values) for lr in self.rates for s in seeds for values in self.choices)

    def cost(self) -> int:
        """The most updates that it can take."""
        rates, choices = len(self.rates), len(self.choices)
        spent = rates * choices * self.rungs[0]
        within = max(FEWEST_RATES, math.floor(2 * (WINDOW + ROUNDING) / self.spacing) + 1)
        for start, stop in pairwise(self.rungs):
            choices, rates = _kept(start, self.rungs[-1], choices, rates)
            rates = min(rates, within)
            spent += choices * rates * (stop - start)
        return spent

    def __str__(self) -> str:
        others = f" under {len(self.choices)} choices of other values" if self.choices != ((),) else ""
        return f"{len(self.rates)} rates, {self.spacing:.2g} decades apart{others}"

    @property
    def spacing(self) -> float:
        """Decades between rates."""
        return math.log10(self.rates[-1] / self.rates[0]) / (len(self.rates) - 1)


def _kept(rung: int, steps: int, choices: int, rates: int) -> tuple[int, int]:
    """How many choices, and how many rates of each, go on from a rung: of the rates alone where one choice is left."""
    part = KEPT_EARLY if rung < steps / 4 else KEPT_LATE
    if choices > 1:
        return math.ceil(choices * part), rates
    return 1, min(rates, max(FEWEST_RATES, math.ceil(rates * part)))


def _plan(settings: Settings, results: Sequence[Result]) -> _Plan:
    """The first that the budget holds beside what trials outside of it have cost: while it is trained, it stays so."""
    rungs = _rungs(settings)
    for rates, choices in _sizes(settings, rungs[0]):
        plan = _Plan(rate_range(settings).grid(rates), choices, rungs)
        if plan.cost() > settings.budget:
            continue
        if plan.cost() + cost_of_others(results, plan.keys(settings.seed)) <= settings.budget:
            return plan
    raise StudyError(
        f"successive halving needs {plan.cost()} updates at least ({rates} rates under {len(choices)} "
        f"choice{'s' if len(choices) > 1 else ''} of other values, rungs after {', '.join(map(str, rungs))}), "
        f"and the budget is {settings.budget}: raise budget="
    )


def _rungs(settings: Settings) -> tuple[int, ...]:
    T = settings.steps
    return tuple(sorted({T, *(min(T, max(-(-T // part), settings.earliest)) for part in PARTS)}))


def _sizes(settings: Settings, rung: int) -> Iterator[tuple[int, tuple[Values, ...]]]:
    """How many rates, under which choices of values: the wished-for first, the smallest last."""
    decades = math.log10(settings.high / settings.low)
    affordable = settings.budget // rung
    if not settings.space:
        most = min(MOST_RATES, affordable, math.floor(decades / FINEST + 1e-9) + 1)
        yield from ((rates, ((),)) for rates in range(max(FEWEST_RATES, most), FEWEST_RATES - 1, -1))
        return
    most = max(FEWEST_CHOICES, min(MOST_CHOICES, affordable // FEWEST_RATES))
    choices = tuple(spread_values(settings.space, most, seed=settings.seed))
    usual = max(FEWEST_RATES, math.ceil(decades / USUAL - 1e-9) + 1)
    enough = min(ENOUGH_CHOICES, len(choices))
    for fewest, most in ((enough, len(choices)), (FEWEST_CHOICES, enough - 1)):
        for rates in range(usual, FEWEST_RATES - 1, -1):
            first = max(fewest, min(most, affordable // rates))
            yield from ((rates, choices[:many]) for many in range(first, fewest - 1, -1))


def _next_batch_of(settings: Settings, results: Sequence[Result]) -> NextBatch:
    plan = _plan(settings, results)
    budget = settings.budget - cost_of_others(results, plan.keys(settings.seed))

    def next_batch(done: tuple[Result, ...]) -> tuple[Proposal, ...] | Stop:
        if not done:
            return tuple(
                Proposal(lr, settings.seed, 0, plan.rungs[0], values)
                for values in plan.choices
                for lr in outwards(plan.rates)
            )
        burst = {result.key for result in done if result.diverged}
        own = [r for r in done if r.seed == settings.seed and r.key not in burst]
        rung = max((result.steps for result in own), default=0)
        standing = [r for r in own if r.steps == rung and hopeful_merit(settings, r) < math.inf]
        if not standing:
            return Stop(
                "no rate does better than the untrained model" if own else "every rate tried diverged"
            )
        if rung < settings.steps:
            stop = next(each for each in plan.rungs if each > rung)
            survivors = _survivors(settings, rung, standing)
            return tuple(Proposal(r.lr, r.seed, rung, stop, r.values) for r in survivors)
        seed = max(result.seed for result in done) + 1
        cost = len(standing) * settings.steps
        if seed == settings.seed + MOST_SEEDS or sum(r.cost for r in done) + cost > budget:
            return Stop(f"halving is done: {plan}")
        return tuple(Proposal(r.lr, seed, 0, settings.steps, r.values) for r in standing)

    return next_batch


def _survivors(settings: Settings, rung: int, alive: Sequence[Result]) -> Iterator[Result]:
    """Those of the first choices that go on, near the best of their choice; the best choice first."""
    ladders: dict[Values, list[Result]] = {}
    for result in sorted(alive, key=lambda r: r.lr):
        ladders.setdefault(result.values, []).append(result)

    def merit(result: Result) -> float:
        return hopeful_merit(settings, result)

    ranked = sorted(ladders.values(), key=lambda ladder: (min(map(merit, ladder)), ladder[0].values))
    choices, _ = _kept(rung, settings.steps, len(ranked), 0)
    for ladder in ranked[:choices]:
        best = min(range(len(ladder)), key=lambda i: (merit(ladder[i]), i))
        _, many = _kept(rung, settings.steps, len(ranked), len(ladder))
        beside = {i for i in (best - 1, best, best + 1) if 0 <= i < len(ladder)}
        away = {i: abs(math.log10(r.lr / ladder[best].lr)) for i, r in enumerate(ladder)}
        near = beside | {i for i, distance in away.items() if distance <= WINDOW + ROUNDING}
        yield from (
            ladder[i] for i in sorted(near, key=lambda i: (i not in beside, away[i], merit(ladder[i])))[:many]
        )
