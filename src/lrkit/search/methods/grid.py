"""grid: rates at equal factors, under every combination of the other values, each trained to full length.

As fine as the budget allows. It begins with every fourth rate, then every second, then the rest: stopped at any time,
what there is covers the bracket, and rates above one that diverged under the same values are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrkit.errors import StudyError
from lrkit.search.methods.batches import cost_of_others, rest_of_batch, told_at_end
from lrkit.search.methods.design import outwards, rate_range
from lrkit.search.space import Parameter
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey, Values

__all__ = ["GRID"]

FINEST = 0.1
"""Decades between rates: nearer ones differ by noise alone."""
COARSEST = 0.4
"""Decades between rates that are worth more than further values of other parameters."""
FEWEST_RATES = 3
NUMBERS = (5, 4, 3, 2)
"""Of how many numbers the grid of a range is, as far as the budget allows."""
STRIDE, FIRST_BATCH = 4, 4
"""Every how-manieth rate comes first, if the first batch has so many trials."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """See the module."""

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """See `Method`. Raises StudyError for a budget that holds no grid."""
        plan = _plan(settings, results)
        answer = rest_of_batch(settings, results, lambda done: _next_batch(settings, plan, done))
        return told_at_end(settings, results, answer)

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """None: every trial is trained in one piece."""
        del settings, results
        return frozenset()


GRID = _Grid()


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rates, ascending, and the other values with which each is combined."""

    rates: tuple[float, ...]
    combinations: tuple[Values, ...]

    def keys(self, seed: int) -> frozenset[TrialKey]:
        return frozenset((lr, seed, values) for lr in self.rates for values in self.combinations)

    def __str__(self) -> str:
        apart = math.log10(self.rates[-1] / self.rates[0]) / (len(self.rates) - 1)
        others = (
            f" x {len(self.combinations)} combinations of other values" if self.combinations != ((),) else ""
        )
        return f"{len(self.rates)} rates, {apart:.2g} decades apart{others}"


def _plan(settings: Settings, results: Sequence[Result]) -> _Plan:
    """The first that the budget holds beside what trials outside of it have cost: while it is trained, it stays so."""
    for rates, numbers in _sizes(settings):
        if rates * _count(settings, numbers) * settings.steps > settings.budget:
            continue
        plan = _Plan(rate_range(settings).grid(rates), tuple(_combinations(settings, numbers)))
        keys = plan.keys(settings.seed)
        if len(keys) * settings.steps + cost_of_others(results, keys) <= settings.budget:
            return plan
    least = FEWEST_RATES * _count(settings, NUMBERS[-1])
    raise StudyError(
        f"the smallest grid here has {least} trials of {settings.steps} updates ({FEWEST_RATES} rates under "
        f"{least // FEWEST_RATES} combinations of other values), and the budget is {settings.budget} updates: "
        "raise budget=, search fewer parameters or options, or take method='bayes'"
    )


def _sizes(settings: Settings) -> Iterator[tuple[int, int]]:
    """How many rates, and how many numbers of each range: the wished-for first."""
    decades = math.log10(settings.high / settings.low)
    finest = max(FEWEST_RATES, math.floor(decades / FINEST + 1e-9) + 1)
    usual = min(finest, max(FEWEST_RATES, math.ceil(decades / COARSEST - 1e-9) + 1))
    for numbers in NUMBERS:
        yield from ((rates, numbers) for rates in range(finest, usual - 1, -1))
    yield from ((rates, NUMBERS[-1]) for rates in range(usual - 1, FEWEST_RATES - 1, -1))


def _parameters(settings: Settings) -> Mapping[str, Parameter]:
    return {} if settings.space is None else settings.space


def _count(settings: Settings, numbers: int) -> int:
    return math.prod(len(parameter.grid(numbers)) for parameter in _parameters(settings).values())


def _combinations(settings: Settings, numbers: int) -> Iterator[Values]:
    parameters = _parameters(settings)
    for chosen in itertools.product(*(parameter.grid(numbers) for parameter in parameters.values())):
        yield tuple(zip(parameters, chosen, strict=True))


def _next_batch(settings: Settings, plan: _Plan, done: tuple[Result, ...]) -> tuple[Proposal, ...] | Stop:
    tried = {(result.lr, result.values) for result in done}
    burst: dict[Values, float] = {}
    for result in done:
        if result.diverged:
            burst[result.values] = min(result.lr, burst.get(result.values, math.inf))
    stride = STRIDE
    while stride > 1 and -(-len(plan.rates) // stride) * len(plan.combinations) < FIRST_BATCH:
        stride //= 2
    while stride >= 1:
        chosen = set(plan.rates[::stride])
        batch = tuple(
            Proposal(lr, settings.seed, 0, settings.steps, values)
            for values in plan.combinations
            for lr in outwards(plan.rates)
            if lr in chosen and (lr, values) not in tried and lr < burst.get(values, math.inf)
        )
        if batch:
            return batch
        stride //= 2
    return Stop(f"the grid is done: {plan}")
