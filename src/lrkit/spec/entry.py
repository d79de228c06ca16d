"""What the catalog says of one schedule, and in which words it says what an argument may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lrkit.schedule import Schedule

__all__ = ["COMMON_RANGES", "Entry", "Parameter"]

LEVEL: Final = "level from 0"
RUNNING: Final = "level from 0, or where the phase before ended"
OPTIONAL_LEVEL: Final = "level from 0, or none"
LENGTH: Final = "duration above 0"
ABOVE_0: Final = "number above 0"
FROM_0: Final = "number from 0"

COMMON_RANGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "duration": "duration, or what is left",
        "start": RUNNING,
        "to": LEVEL,
        "every": LENGTH,
        "scale": LENGTH,
        "k": ABOVE_0,
    }
)
"""What the parameters mean that many schedules share."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a schedule: `default` is None where it has none, or where leaving it out means that."""

    name: str
    default: object
    required: bool
    range: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A schedule: how it is built and what a person needs to choose it.

    `name` is what a spec calls it, `build` the function behind it, whose parameters are the spec's arguments.
    `example` is a spec that parses and peaks at factor 1, `formula` is TeX (i the step, n the steps of the
    phase, p = i / n, v the level at its start, L its `to`), `source` the paper, or whose code. `use` and
    `avoid` complete "use it when ..." and "avoid it when ...". `ranges` has a pair (parameter, range) for each
    parameter that `COMMON_RANGES` does not have, and `also` the names it goes by elsewhere.
    """

    name: str
    build: Callable[..., Schedule]
    example: str
    formula: str
    source: str
    use: str
    avoid: str
    ranges: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The arguments in their order, each with its default and with what it may be."""
        ranges = {**COMMON_RANGES, **dict(self.ranges)}
        return tuple(
            Parameter(
                p.name,
                None if p.default is p.empty else p.default,
                p.default is p.empty,
                ranges[p.name],
            )
            for p in inspect.signature(self.build).parameters.values()
        )
