"""What one pass over some data measured: the figures, and of which parts of the data they are made.

How a figure differs between parts of the data says how much of it is the choice of these data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PARTS", "Measurement", "PartialSums", "measured"]

MOST_PARTS = 64
"""Enough for a standard error to within a tenth; even, since neighbours are added up where there are more."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """`values` by name, as `Run.evaluate` gives them, and for those that are means over samples their `parts`: what
    each stretch of batches, one after the other, adds to the value. They sum to it; a stretch is one batch, or as many
    as keep them at 64 at most.
    """

    values: dict[str, float]
    parts: dict[str, tuple[float, ...]] = field(default_factory=dict)


class PartialSums:
    """Sums over consecutive batches, of figures as arrays of one shape."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []
        self._each, self._latest = 1, 0

    def add(self, values: Any) -> None:
        """Take in what the next batch comes to."""
        values = np.asarray(values, dtype=np.float64)
        if self._sums and self._latest < self._each:
            self._sums[-1] = self._sums[-1] + values
            self._latest += 1
            return
        if len(self._sums) == MOST_PARTS:
            self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
            self._each *= 2
        self._sums.append(values)
        self._latest = 1

    def stretches(self) -> NDArray[np.float64]:
        """What each stretch came to, along the first axis."""
        return np.stack(self._sums)


def measured(which: str, names: Sequence[str], parts: NDArray[np.float64]) -> Measurement:
    """The measurement whose means are the sums over `parts`, one stretch a row and one name a column."""
    keys = [f"{which} {name}" for name in names]
    return Measurement(
        dict(zip(keys, parts.sum(axis=0).tolist(), strict=True)),
        {key: tuple(column) for key, column in zip(keys, parts.T.tolist(), strict=True)},
    )
