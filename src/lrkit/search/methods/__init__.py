"""Methods: what to train next, each a pure function of the settings and the results so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey

__all__ = ["Method"]


class Method(Protocol):
    """A way to search. Resuming is asking again: nothing is remembered here."""

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """The trials to run now, side by side if that is wanted, or why there are none; always within the budget.

        The same for the same results, in whatever order these are. Asked again when some of a batch are done, it
        gives the rest of that batch: a batch depends on the results of earlier ones alone, so that several drivers
        can share it.
        """

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """The trials that may yet go on from where they stopped: their states must be kept."""
