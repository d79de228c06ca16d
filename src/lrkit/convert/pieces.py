"""What peers' schedules have in common, put together from shapes: ramps, sequences, and what no sequence says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from lrkit.control import plateau
from lrkit.errors import SpecError
from lrkit.schedule import Schedule, hold, linear, table
from lrkit.schedule.curve import Ending

__all__ = [
    "endless_line",
    "every_nth",
    "for_ever",
    "landing",
    "over_own_length",
    "plateau_instead",
    "ramp",
    "sequence",
]


def ramp(steps: int, *, start: float = 0.0, to: float = 1.0) -> Schedule | None:
    """The peers' linear warmup, whose step i of n is i / n of the way; None where it has no steps."""
    return linear(steps, start=start, to=to) if steps else None


def landing(level: float) -> Schedule:
    """No step at all, but what comes after the end (or next) is at `level`."""
    return hold(0, level=level)


def for_ever(level: float) -> Schedule:
    """`level` until the end and after it; there need not be a step left for it."""
    return landing(level) >> hold()


def sequence(*phases: Schedule | None, after: Ending | None = None) -> Schedule:
    """The phases that there are, one after the other; what comes after is the last one's, if not said here."""
    first, *others = [phase for phase in phases if phase is not None]
    for phase in others:
        first = first >> phase
    return first if after is None else first.after(after)


def over_own_length(schedule: Schedule, own: int, horizon: int) -> Schedule:
    """A schedule of `own` steps for a run of `horizon`: as it is where they agree, else baked.

    The table goes on to twice the run, and stays there.
    """
    if own == horizon:
        return schedule
    curve = schedule.over(own)
    return table(curve.chunk(0, 2 * horizon + 2).tolist()).after("continue")


def plateau_instead(settings: Mapping[str, Any], but: str = "") -> NoReturn:
    """Refuse a controller where a schedule is wanted, with what to write: lrkit's own plateau, so set."""
    rule, more = plateau(**settings), f" ({but})" if but else ""
    raise SpecError(
        f"it reacts to a metric, so it is a controller and no schedule: write '... & {rule}', or in Python"
        f" control=[{rule!r}]{more}"
    )


def endless_line(start: float, slope: float) -> Schedule:
    """start + slope t for ever (for 1e9 steps, to be exact): the peers' range tests."""
    return table([start, start + slope * 1e9], every=10**9, interpolation="linear").after("continue")


def every_nth(schedule: Schedule, own: int, n: int) -> Schedule:
    """What every n-th step of a schedule of `own` steps has: for hosts that step a scheduler n times an update.

    A table, to twice its length and then for ever the last.
    """
    return table(schedule.over(own)(np.arange(0, 2 * own + 2 * n, n)).tolist()).after("continue")
