"""Batches: a method says what it would train after finished batches; what is left of the one at hand is found here.

So a batch depends on earlier ones alone, in whatever order and by whomever its trials are trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from lrkit.search.scale import merit
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey

__all__ = [
    "SPENT",
    "AtHand",
    "NextBatch",
    "affordable",
    "batch_at_hand",
    "cost_of_others",
    "hopeful_merit",
    "rest_of_batch",
    "told_at_end",
]

SPENT = Stop("the budget is spent", "budget")
AT_END = 0.1
"""Decades from an end of the range within which the best rate is at that end."""

NextBatch = Callable[[tuple[Result, ...]], tuple[Proposal, ...] | Stop]
"""From the results of all batches so far, each in its batch's order, to the next batch: none of it was there before."""


@dataclass(frozen=True, slots=True)
class AtHand:
    """The first batch that is not finished, whole, and what is left of it; and the results before it. Nothing is left
    only where the method asked for nothing.
    """

    done: tuple[Result, ...]
    batch: tuple[Proposal, ...]
    left: tuple[Proposal, ...]


def batch_at_hand(results: Sequence[Result], next_batch: NextBatch) -> AtHand | Stop:
    """Ask for one batch after the other, until there is one that the results do not hold."""
    reached = {(r.key, r.steps): r for r in results}
    burst = {r.key: r for r in results if r.diverged}
    done: tuple[Result, ...] = ()
    while True:
        batch = next_batch(done)
        if isinstance(batch, Stop):
            return batch
        if len(batch) == 1:
            batch = (replace(batch[0], alone=True),)
        found = [_outcome(proposal, reached, burst) for proposal in batch]
        left = tuple(p for p, result in zip(batch, found, strict=True) if result is None)
        if left or not batch:
            return AtHand(done, batch, left)
        done += tuple(result for result in found if result is not None)


def rest_of_batch(
    settings: Settings, results: Sequence[Result], next_batch: NextBatch
) -> tuple[Proposal, ...] | Stop:
    """What is left of the batch at hand, as far as the budget reaches."""
    at_hand = batch_at_hand(results, next_batch)
    return at_hand if isinstance(at_hand, Stop) else affordable(settings, results, at_hand.left)


def affordable(
    settings: Settings, results: Sequence[Result], proposals: Sequence[Proposal]
) -> tuple[Proposal, ...] | Stop:
    """The first of `proposals`, as many as the budget still holds."""
    budget = settings.budget - sum(result.cost for result in results)
    spent = accumulate(proposal.cost for proposal in proposals)
    fitting = tuple(p for p, cost in zip(proposals, spent, strict=True) if cost <= budget)
    return fitting or SPENT


def told_at_end(
    settings: Settings, results: Sequence[Result], answer: tuple[Proposal, ...] | Stop
) -> tuple[Proposal, ...] | Stop:
    """For methods that stay within the range: a Stop says first if the best rate is at an end of it, and what to do."""
    end = _end_of_best(settings, results) if isinstance(answer, Stop) else None
    if end is None or not isinstance(answer, Stop):
        return answer
    reason = (
        f"the best lr is at the {end} end of its range: widen it (--low and --high or --param lr=; "
        f"in Python bracket= or parameters=), in another folder; {answer.reason}"
    )
    return replace(answer, reason=reason)


def _end_of_best(settings: Settings, results: Sequence[Result]) -> str | None:
    """Where the best of the longest trials is the outermost, with nothing as good elsewhere, and the range ends."""
    merits = [(hopeful_merit(settings, r), r) for r in results if r.seed == settings.seed]
    longest = max((r.steps for value, r in merits if value < math.inf), default=0)
    merits = [(value, r) for value, r in merits if r.steps == longest]
    best = min((value for value, _ in merits), default=math.inf)
    rates = {r.lr for value, r in merits if value == best}
    if best == math.inf or len(rates) > 1:
        return None
    (lr,) = rates
    tried = [r.lr for r in results]
    if lr == min(tried) and math.log10(lr / settings.low) <= AT_END:
        return "lower"
    if lr == max(tried) and math.log10(settings.high / lr) <= AT_END:
        return "upper"
    return None


def cost_of_others(results: Sequence[Result], planned: frozenset[TrialKey]) -> int:
    """What trials outside a plan have cost: those of the same search under another budget."""
    return sum(result.cost for result in results if result.key not in planned)


def hopeful_merit(settings: Settings, result: Result) -> float:
    """As low as possible; inf for what diverged or ended worse than it began."""
    value = merit(result, settings.direction, logarithmic=False)
    untrained = settings.untrained if settings.direction == "min" else -settings.untrained
    return float("inf") if abs(untrained) < float("inf") and value > untrained else value


def _outcome(
    proposal: Proposal, reached: dict[tuple[TrialKey, int], Result], burst: dict[TrialKey, Result]
) -> Result | None:
    """A trial that diverged will not come further, wherever it is asked to go on."""
    early = burst.get(proposal.key)
    if early is not None and early.steps <= proposal.stop:
        return early
    return reached.get((proposal.key, proposal.stop))
