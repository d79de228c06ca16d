"""What a search asks of its storage: a small protocol, which a file and a shared database both keep.

Whoever implements it keeps three promises. What `add` and `once` have stored is durable when they return. What
was given in part (a kill, a full disk, a lost connection) is not there afterwards. And a trial is trained by one
driver at a time: by the only one there is, or by the one that claimed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from lrkit.search.trials import Proposal, Result

__all__ = ["Study"]


class Study(Protocol):
    """The finished part of one search: results and documents. As a context it closes at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def results(self) -> tuple[Result, ...]:
        """All results, in the order in which they were added."""

    def add(self, result: Result) -> None:
        """Keep one result for good. The same lr, seed, values and length twice is an error."""

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The plain data (JSON) kept under `name`; the first time `make` makes it, in one driver alone."""

    def claim(self, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """Those of `proposals` that this driver is to train now; it is none where others are at all of them."""

    def wait(self) -> None:
        """Return when another driver may have added something, or soon."""

    def close(self) -> None:
        """Let go of files, locks and claims. What was added stays."""
