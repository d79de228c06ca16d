"""Commands keep no state: each of their trials is run from its beginning, and paid for from there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from lrkit.errors import StudyError
from lrkit.search.methods import Method
from lrkit.search.methods.batches import told_at_end
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey

__all__ = ["NO_STATES", "FromZero"]


class _NoStates:
    def load(self, key: TrialKey) -> dict[str, Any] | None:
        return None

    def save(self, key: TrialKey, state: dict[str, Any]) -> None:
        raise NotImplementedError("a command has no state to save")

    def keep_only(self, keys: frozenset[TrialKey]) -> None: ...


NO_STATES = _NoStates()


class FromZero:
    """A method whose trials begin at 0, also those that it thinks to go on with; still within the budget.

    To the method a trial that goes on costs what is left of it; so it plans with `share` of the budget, the least part
    of a whole run that such a stretch can be. `unit` is what the budget counts, in words for the user.
    """

    def __init__(self, method: Method, *, share: float, unit: str) -> None:
        self._method, self._share, self._unit = method, share, unit

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """The method's proposals from 0, as many as the budget holds. Raises StudyError where it is too small."""
        planned = dataclasses.replace(settings, budget=math.floor(self._share * settings.budget))
        try:
            proposals = self._method.next_trials(planned, _as_stretches(results))
        except StudyError as error:
            raise StudyError(
                f"{error} (of the {settings.budget} {self._unit} given, {planned.budget} are planned with, for trials "
                "that go on are run anew from their beginning)"
            ) from error
        if isinstance(proposals, Stop):
            told = proposals.reason.replace(f"{planned.budget} updates", f"{settings.budget} {self._unit}")
            return dataclasses.replace(proposals, reason=told)
        left = settings.budget - sum(result.cost for result in results)
        taken: list[Proposal] = []
        for proposal in proposals:
            if proposal.stop > left:
                break
            left -= proposal.stop
            taken.append(dataclasses.replace(proposal, start=0))
        spent = Stop(f"the budget of {settings.budget} {self._unit} is spent", "budget")
        return tuple(taken) or told_at_end(settings, results, spent)

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """None."""
        del settings, results
        return frozenset()


def _as_stretches(results: Sequence[Result]) -> list[Result]:
    """The results as if each trial had gone on from where it was measured before."""
    told = []
    for result in results:
        before = [r.steps for r in results if r.key == result.key and r.steps < result.steps]
        told.append(dataclasses.replace(result, cost=result.steps - max(before, default=0)))
    return told
