"""What was changed while a run was under way, as plain data, and the curves that come of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from lrkit.duration import Horizon
from lrkit.errors import LrkitError, StateError
from lrkit.optim.groups import Target
from lrkit.schedule import Curve, Schedule
from lrkit.schedule.splice import Change, How, changed
from lrkit.spec import parse

__all__ = ["Course", "Revision", "horizon_to_dict", "revisions_from"]


@dataclass(frozen=True, slots=True)
class Course:
    """A schedule over a horizon and its changes since: all that a curve is made from, but the base value."""

    schedule: Schedule
    horizon: Horizon
    changes: tuple[Change, ...] = ()

    @property
    def needs_base_lr(self) -> bool:
        """Whether a level is `absolute(...)`."""
        later = (change.schedule for change in self.changes)
        return any(schedule.needs_base_lr for schedule in (self.schedule, *later) if schedule is not None)

    def curve(self, base_lr: float | None) -> Curve:
        """The curve as it is after all changes; only what is new about it is warned of."""
        with warnings.catch_warnings():
            if self.changes:
                warnings.simplefilter("ignore")
            curve = self.schedule.over(self.horizon, base_lr=base_lr)
            for change in self.changes[:-1]:
                curve = changed(curve, change)
        return changed(curve, self.changes[-1]) if self.changes else curve


@dataclass(frozen=True, slots=True)
class Revision:
    """One change to a whole run: `how` for all that is scheduled, or a new schedule where `schedules` has one."""

    at: int
    how: How
    horizon: Horizon
    schedules: tuple[tuple[Target, Schedule], ...] = ()

    def change(self, target: Target) -> Change:
        """What it is for one target."""
        schedule = dict(self.schedules).get(target)
        how = self.how if schedule is None else "replace"
        return Change(self.at, how, self.horizon, schedule)

    def to_dict(self) -> dict[str, Any]:
        """Plain data. A schedule that holds a Python function has no text and is written as None."""
        return {
            "at": self.at,
            "how": self.how,
            "horizon": horizon_to_dict(self.horizon),
            "schedule": {str(target): None if s.is_opaque else str(s) for target, s in self.schedules},
        }


def revisions_from(saved: object, mine: Sequence[Revision]) -> tuple[Revision, ...]:
    """The changes of a saved state. `mine`, already made here, must be the first of them. Raises StateError."""
    if not isinstance(saved, list | tuple) or not all(isinstance(each, Mapping) for each in saved):
        raise StateError(f"the state's history is {str(saved)[:80]}: it is damaged")
    for place, revision in enumerate(mine):
        if place >= len(saved) or dict(saved[place]) != revision.to_dict():
            raise StateError(
                f"this Scheduler was changed at step {revision.at} ({revision.how}), and the saved one was not:"
                " load first, change it afterwards"
            )
    return (*mine, *(_read(each) for each in saved[len(mine) :]))


def horizon_to_dict(horizon: Horizon) -> dict[str, Any]:
    """The parts of a horizon that are given."""
    known = {f.name: getattr(horizon, f.name) for f in fields(horizon)}
    return {name: value for name, value in known.items() if value is not None}


def _read(saved: Mapping[str, Any]) -> Revision:
    try:
        texts = dict(saved["schedule"])
        if None in texts.values():
            raise StateError(
                f"the change at step {saved['at']} brought a Python function, which no state holds: make the same"
                " replace() before loading"
            )
        schedules = tuple((Target.parse(key), parse(text)) for key, text in texts.items())
        horizon = Horizon(**saved["horizon"])
        revision = Revision(saved["at"], cast("How", saved["how"]), horizon, schedules)
        revision.change(Target("lr"))
    except StateError:
        raise
    except (LrkitError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"the state's history holds {str(dict(saved))[:80]}: it is damaged") from error
    return revision
