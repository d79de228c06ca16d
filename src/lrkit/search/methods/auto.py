"""auto: few trials where they tell most about the lowest point of the objective over the lr."""

from __future__ import annotations

from collections.abc import Sequence

from lrkit.search.proposals import next_trials, resumable
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey

__all__ = ["AUTO"]


class _Auto:
    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        # One at a time: a later one of the same stage may not be wanted any more when an earlier one is done.
        proposals = next_trials(settings, results)
        return proposals if isinstance(proposals, Stop) else proposals[:1]

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        return frozenset((lr, seed, ()) for lr, seed in resumable(settings, results))


AUTO = _Auto()
