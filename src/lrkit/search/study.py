"""What a search asks of its storage: a small protocol, so that a shared store can take the place of the file.

Whoever implements it keeps three promises. What `add` and `keep` were given is durable when they return. What
was given in part (a kill, a full disk) is not there afterwards. And one search at a time may write.
"""

from __future__ import annotations

from typing import Any, Protocol

from lrkit.search.trials import Result

__all__ = ["Study"]


class Study(Protocol):
    """The finished part of one search: results, documents, and the states of trials that may go on."""

    def results(self) -> tuple[Result, ...]:
        """All results, in the order in which they were added."""

    def add(self, result: Result) -> None:
        """Keep one result for good. The same rate, seed and length twice is an error."""

    def document(self, name: str) -> dict[str, Any] | None:
        """The plain data kept under `name`; None where there is none."""

    def keep(self, name: str, content: dict[str, Any]) -> None:
        """Keep plain data (JSON) under a new name for good."""

    def save_state(self, lr: float, seed: int, state: dict[str, Any]) -> None:
        """Keep the state from which a trial goes on: tensors and plain data. Replaces an older one of the
        same trial.
        """

    def load_state(self, lr: float, seed: int) -> dict[str, Any] | None:
        """The state of a trial; None where there is none."""

    def drop_states(self, *, but: frozenset[tuple[float, int]] = frozenset()) -> None:
        """Forget the states of all trials, (lr, seed), that are not in `but`."""

    def close(self) -> None:
        """Let go of files and lock. What was added stays."""
