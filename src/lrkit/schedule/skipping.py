"""Entering a schedule late: `a.skip(n)`. For what began before the run did, or is counted from 1."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule, Then, Times, _bracketed
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.track import Block, Formula, Piece, Track

__all__ = ["Skipped"]


@dataclass(frozen=True, slots=True, repr=False)
class Skipped(Schedule):
    """A schedule without its first `steps` steps: `a.skip(n)`."""

    inner: Schedule
    steps: int

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.inner,)

    def _extent(self, block: Block) -> Fraction | None:
        whole = None if self._is_open else self.inner._extent(block)
        if whole is not None and whole < self.steps:
            raise SpecError(f"{self} skips more than the {float(whole):.10g} steps that there are")
        return None if whole is None else whole - self.steps

    def _resolve(self, block: Block) -> Track:
        whole = self.inner._resolve(block.within(block.begin - self.steps, block.end, block.entry))
        pieces = (piece for piece in whole.pieces if piece.stop > block.start)
        return Track(tuple(_from(block.start, piece) for piece in pieces), whole.end)

    def _written(self, *, python: bool) -> str:
        return f"{_bracketed(self.inner, (Then, Times), python=python)}.skip({self.steps})"


def _from(start: int, piece: Piece) -> Piece:
    """What of a piece lies at `start` or after it."""
    late = start - piece.start
    return piece if late <= 0 else Piece(start, piece.stop, _shifted(piece.formula, late), piece.text)


def _shifted(formula: Formula, late: int) -> Formula:
    def shifted(m: Numeric, i: Array) -> Array:
        return formula(m, i + late)

    return shifted
