"""What one pass over some data measured: the figures, and of which parts of the data they are made.

How a figure differs between parts of the data says how much of it is the choice of these data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PARTS", "Measurement", "Part", "PartialSums", "measured"]

MOST_PARTS = 64
"""Enough for a standard error to within a tenth; even, since neighbours are added up where there are more."""


Part = tuple[float, float]
"""A share of the samples, and what they add to a mean over all."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """`values` by name, as `Run.evaluate` gives them, and for those that are means over samples their `parts`: of each
    stretch of batches, one after the other, its share of the samples and what it adds to the value. Shares sum to 1
    and what is added to the value; a stretch is one batch, or as many as keep them at 64 at most.
    """

    values: dict[str, float]
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)


class PartialSums:
    """Sums over consecutive batches, of samples and of figures as arrays of one shape."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._sums: list[NDArray[np.float64]] = []
        self._each, self._latest = 1, 0

    @property
    def samples(self) -> int:
        """How many there were in all."""
        return sum(self._counts)

    def add(self, count: int, means: Any) -> None:
        """Take in a batch of `count` samples, over which the figures have these means."""
        values = count * np.asarray(means, dtype=np.float64)
        if self._sums and self._latest < self._each:
            self._counts[-1] += count
            self._sums[-1] = self._sums[-1] + values
            self._latest += 1
            return
        if len(self._sums) == MOST_PARTS:
            self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
            self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
            self._each *= 2
        self._counts.append(count)
        self._sums.append(values)
        self._latest = 1

    def shares(self) -> NDArray[np.float64]:
        """The share of the samples that each stretch holds."""
        return np.array(self._counts) / self.samples

    def parts(self) -> NDArray[np.float64]:
        """What each stretch adds to the means over all samples, along the first axis."""
        return np.stack(self._sums) / self.samples


def measured(
    which: str, names: Sequence[str], shares: NDArray[np.float64], parts: NDArray[np.float64]
) -> Measurement:
    """The measurement whose means are the sums over `parts`, one stretch a row and one name a column."""
    keys, each = [f"{which} {name}" for name in names], shares.tolist()
    return Measurement(
        dict(zip(keys, parts.sum(axis=0).tolist(), strict=True)),
        {
            key: tuple(zip(each, column, strict=True))
            for key, column in zip(keys, parts.T.tolist(), strict=True)
        },
    )
