"""Commands keep no state: each of their trials is run from its beginning, and paid for from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from lrkit.search.methods import Method
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey

__all__ = ["NO_STATES", "FromZero", "reserve", "within_reserve"]


class _NoStates:
    def load(self, key: TrialKey) -> dict[str, Any] | None:
        return None

    def save(self, key: TrialKey, state: dict[str, Any]) -> None:
        raise NotImplementedError("a command has no state to save")

    def keep_only(self, keys: frozenset[TrialKey]) -> None: ...


NO_STATES = _NoStates()


class FromZero:
    """A method whose trials begin at 0, also those that it thinks to go on with; still within the budget.

    `unit` is what the budget counts, in words for the user.
    """

    def __init__(self, method: Method, unit: str) -> None:
        self._method, self._unit = method, unit

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """The method's proposals from 0, as many as the budget holds."""
        spent = sum(result.cost for result in results)
        over = Stop(f"the budget of {settings.budget} {self._unit} is spent")
        spending = within_reserve(settings)
        if spent > spending.budget:
            return over
        proposals = self._method.next_trials(spending, results)
        if isinstance(proposals, Stop):
            return Stop(
                proposals.reason.replace(f"{spending.budget} updates", f"{settings.budget} {self._unit}")
            )
        left = settings.budget - spent
        taken: list[Proposal] = []
        for proposal in proposals:
            if proposal.stop > left:
                break
            left -= proposal.stop
            taken.append(dataclasses.replace(proposal, start=0))
        return tuple(taken) or over

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """None."""
        del settings, results
        return frozenset()


def within_reserve(settings: Settings) -> Settings:
    """What a method may plan with: it takes a trial that goes on for cheaper than it is, by where it starts from."""
    return dataclasses.replace(settings, budget=settings.budget - reserve(settings.steps))


def reserve(steps: int) -> int:
    """What a trial that goes on may cost more than methods think: the latest rung, a third of the length."""
    return max(1, steps // 3) if steps > 1 else 0
