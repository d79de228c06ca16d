"""A part of another schedule, from any step on: what a run that is under way still has before it.

It is no spec and has no text, because shapes always begin at their beginning.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from lrkit.duration import Duration
from lrkit.errors import HorizonError
from lrkit.schedule import Schedule
from lrkit.schedule.numeric import Array, Numeric
from lrkit.schedule.phase import Phase
from lrkit.schedule.track import Block, Motion

__all__ = ["excerpt"]


def excerpt(
    schedule: Schedule, steps: int, *, first: int = 0, duration: int | None = None, scale: float = 1.0
) -> Schedule:
    """What `schedule`, laid out over `steps`, does from its step `first` on, times `scale`.

    It takes `duration` steps, else what is left of the run. Like a function it takes no notice of the level on
    which the phase before it ended. Two are equal when all of this is.

    >>> from lrkit.schedule import linear
    >>> excerpt(linear(to=0), 4, first=2).over(2).chunk(0, 2).tolist()
    [0.5, 0.25]
    """
    length = None if duration is None else Duration.of(duration)
    return Excerpt(schedule, steps, first=first, scale=scale, duration=length).after(schedule.ending)


@dataclass(frozen=True, slots=True, repr=False)
class Excerpt(Phase):
    """A call of `excerpt`."""

    name: ClassVar[str] = "excerpt"
    _opaque: ClassVar[bool] = True

    schedule: Schedule
    steps: int
    _: KW_ONLY
    first: int
    scale: float
    duration: Duration | None = None

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.schedule,)

    def _bind(self, block: Block) -> Motion:
        curve = self.schedule.over(self.steps, base_lr=block.base_lr)
        first, scale = self.first, self.scale
        if curve.ending == "error" and first + block.steps > curve.steps:
            raise HorizonError(f"{self} ends after {max(0, curve.steps - first)} steps, not {block.steps}")

        def formula(m: Numeric, i: Array) -> Array:
            return scale * curve(i + first)

        if curve.ending == "error":
            return Motion(formula, scale * curve.track.end)
        return Motion.running(formula, block.steps)

    def _written(self, *, python: bool) -> str:
        del python  # neither way leads back
        times = "" if self.scale == 1.0 else f"{self.scale:.6g} * "
        return f"<{times}{self.schedule} from step {self.first}>"
