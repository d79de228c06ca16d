"""A phase: the part of a schedule that has a formula. All that shapes have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import MISSING, fields
from fractions import Fraction
from typing import Any, ClassVar, cast

from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule.core import Schedule
from lrkit.schedule.printing import shortened, value_text
from lrkit.schedule.track import Block, Motion, Piece, Track

__all__ = ["Phase"]


class Phase(Schedule):
    """One call of a shape. The classes below it are frozen dataclasses, one for each entry of the catalog.

    Their fields are the call's arguments in their order and with their defaults, which is all that printing
    needs: a field that has its default, or is None, is left out; one without a default is always written.
    """

    __slots__ = ()

    name: ClassVar[str]
    duration: Duration | None

    @abstractmethod
    def _bind(self, block: Block) -> Motion:
        """The formula on `block`. That may have no steps at all; then only the motion's end counts."""

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return ()

    @property
    def _arguments(self) -> tuple[object, ...]:
        return tuple(getattr(self, f.name) for f in fields(cast("Any", self)))

    @property
    def _phase_count(self) -> int:
        return 1

    @property
    def _is_open(self) -> bool:
        return self.duration is None

    @property
    def _is_spare(self) -> bool:
        """Whether nothing is lost when it gets no step."""
        return False

    @property
    def _is_relative(self) -> bool:
        return self.duration is not None and self.duration.unit == "percent"

    def _extent(self, block: Block) -> Fraction | None:
        return None if self.duration is None else block.exactly(self.duration)

    def _resolve(self, block: Block) -> Track:
        motion = self._bind(block)
        if not math.isfinite(motion.end):
            raise SpecError(f"{self} grows beyond what a float holds within {block.steps} steps")
        if block.steps:
            return Track((Piece(block.start, block.stop, motion.formula, str(self)),), motion.end)
        if (self.duration is None or self.duration.amount) and not self._is_spare:
            none = f"{shortened(str(self))} gets none of {block.horizon.steps} steps"
            block.notes.append(f"{none}; what follows starts at {motion.end:.6g}")
        return Track((), motion.end)

    def _written(self, *, python: bool) -> str:
        arguments, skipped = [], False
        for f in fields(cast("Any", self)):  # Any: only the final classes are dataclasses
            value = getattr(self, f.name)
            if value is None or (f.default is not MISSING and value == f.default):
                skipped = True
                continue
            text = value_text(value, python=python)
            arguments.append(f"{f.name}={text}" if f.kw_only or skipped else text)
        return f"{self.name}({', '.join(arguments)})"
