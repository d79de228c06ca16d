"""Within: a method that would go on beyond the ends of its range, kept inside: the range of a command is its user's."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lrkit.search.methods import Method
from lrkit.search.methods.batches import told_at_end
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey, round_rate

__all__ = ["Within"]


class Within:
    """Answers what the method asks beyond its range itself, and passes on what lies inside.

    A rate out there counts as worse than all of the method's first batch, by as much as these differ: a barrier, as it
    keeps direct searches within bounds (Audet and Dennis, SIAM J. Optim. 17, 2006), but finite, for the method fits a
    curve. It costs nothing, no result of it is kept, and it rests on a batch that is complete by then, so that resuming
    is still asking again.
    """

    def __init__(self, method: Method) -> None:
        self._method = method

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """The method's proposals inside the range, or why there are none."""
        known = list(results)
        while True:
            proposals = self._method.next_trials(settings, known)
            if isinstance(proposals, Stop):
                return told_at_end(settings, results, proposals)
            inside = tuple(p for p in proposals if _low(settings) <= p.lr <= _high(settings))
            if inside:
                return inside
            barrier = self._barrier(settings, results)
            if barrier is None:
                return Stop("every rate of the range diverged")
            known += [_answer(proposal, barrier) for proposal in proposals]

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """The method's."""
        return self._method.resumable(settings, results)

    def _barrier(self, settings: Settings, results: Sequence[Result]) -> float | None:
        """The objective beyond the range; None where nothing of the first batch is finite."""
        first = self._method.next_trials(settings, ())
        assert not isinstance(first, Stop)  # it would have stopped before it asked for anything beyond
        asked = {(p.key, p.stop) for p in first}
        found = [r.objective for r in results if not r.diverged and (r.key, r.steps) in asked]
        if not found:
            return None
        low, high = min(found), max(found)
        apart = high - low or max(abs(high), 1.0)
        largest = sys.float_info.max
        return min(high + apart, largest) if settings.direction == "min" else max(low - apart, -largest)


def _low(settings: Settings) -> float:
    return min(settings.low, round_rate(settings.low))


def _high(settings: Settings) -> float:
    return max(settings.high, round_rate(settings.high))


def _answer(proposal: Proposal, objective: float) -> Result:
    return Result(
        lr=proposal.lr,
        seed=proposal.seed,
        steps=proposal.stop,
        objective=objective,
        diverged=False,
        cost=0,
        seconds=0.0,
        values=proposal.values,
    )
