"""A Scheduler's state as plain, versioned data: how it is written, and what may be loaded into what."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError, StateError
from lrkit.optim.feedback import Feedback, is_finite
from lrkit.optim.groups import Target
from lrkit.optim.history import Revision, horizon_to_dict, revisions_from
from lrkit.schedule import Schedule

__all__ = ["VERSION", "State", "Terms"]

VERSION = 2
"""Version 1 knew neither control nor history; its states still load."""

_KEYS = ("version", "schedule", "horizon", "clock", "floor", "step", "base")
_SINCE_2 = ("control", "feedback", "history")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a state only makes sense under, as it was planned: it is saved to be compared, and never loaded."""

    schedules: Mapping[Target, Schedule]
    horizon: Horizon
    clock: str
    floor: float | None
    feedback: Feedback

    def to_dict(self) -> dict[str, Any]:
        """Plain data. A schedule that holds a Python function has no text and is written as None."""
        return {
            "schedule": {str(t): None if s.is_opaque else str(s) for t, s in self.schedules.items()},
            "horizon": horizon_to_dict(self.horizon),
            "clock": self.clock,
            "floor": self.floor,
            "control": [str(controller) for controller in self.feedback.controllers],
        }

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """What is otherwise in a saved state, each as "<what> was <there> and is <here>"."""
        mine = self.to_dict()
        found = []
        for target in {**saved["schedule"], **mine["schedule"]}:
            there, here = (terms["schedule"].get(target, "unscheduled") for terms in (saved, mine))
            if there != here:
                found.append(f"the schedule of {target!r} was {_shown(there)} and is {_shown(here)}")
        for name in ("clock", "floor", "control"):
            if saved[name] != mine[name]:
                found.append(f"{name} was {saved[name]!r} and is {mine[name]!r}")
        for name in {**saved["horizon"], **mine["horizon"]}:
            there, here = (terms["horizon"].get(name) for terms in (saved, mine))
            # Unknown there or unused here, it cannot have moved a phase.
            if there != here and there is not None and here is not None and self._uses(name):
                found.append(f"the horizon's {name} was {there} and is {here}")
        return found

    def _uses(self, name: str) -> bool:
        """Whether a schedule or a controller counts in the unit that this part of the horizon converts."""
        if name == "steps":
            return True
        known = {f.name: getattr(self.horizon, f.name) for f in fields(self.horizon)}
        without = Horizon(**{**known, name: None})
        for schedule in self.schedules.values():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    schedule.over(without, base_lr=1.0)
            except HorizonError:
                return True
            except SpecError:  # an absolute level that does not fit this base lr: units come before levels
                continue
        try:
            for controller in self.feedback.controllers:
                controller.over(without)
        except HorizonError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class State:
    """Where a schedule stands: updates done, each target's base values by group (None: not scheduled), what the
    controllers remember and did, and what was changed since the start."""

    step: int
    bases: Mapping[Target, tuple[float | None, ...]]
    feedback: Feedback
    history: tuple[Revision, ...]

    def to_dict(self, terms: Terms) -> dict[str, Any]:
        """Ints, floats, strings, lists and dicts only: loads with `weights_only=True`, and is JSON."""
        return {
            "version": VERSION,
            **terms.to_dict(),
            "step": self.step,
            "base": {str(target): list(values) for target, values in self.bases.items()},
            "feedback": self.feedback.to_dict() if self.feedback.controllers else None,
            "history": [revision.to_dict() for revision in self.history],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], terms: Terms, history: tuple[Revision, ...]) -> State:
        """Read what `to_dict` wrote, for a Scheduler of these terms that was changed so since.

        Raises StateError for anything else, and for a state of other terms.
        """
        _check_form(saved)
        if saved["version"] == 1:
            saved = {**saved, "control": [], "feedback": None, "history": []}
        differences = terms.differences(saved)
        if differences:
            raise StateError(
                f"this state belongs to another schedule: {'; '.join(differences)}. Build the Scheduler as the"
                " saved one was built, before any change, load, and then extend() or replace(); or go on with this"
                f" one, controllers beginning anew: Scheduler(..., step={saved['step']}) instead of loading"
            )
        none = not terms.feedback.controllers
        return cls(
            saved["step"],
            _bases(saved["base"]),
            Feedback() if none else terms.feedback.restored(saved["feedback"] or {}),
            revisions_from(saved["history"], history),
        )


def _bases(saved: Mapping[str, Any]) -> dict[Target, tuple[float | None, ...]]:
    try:
        return {Target.parse(text): tuple(values) for text, values in saved.items()}
    except SpecError as error:
        raise StateError(f"the state's base is damaged: {error}") from error


def _check_form(saved: Mapping[str, Any]) -> None:
    if not isinstance(saved, Mapping) or "version" not in saved:
        alien = (
            " (one of torch's own schedulers?)"
            if isinstance(saved, Mapping) and "last_epoch" in saved
            else ""
        )
        raise StateError(f"this is no state of an lrkit Scheduler{alien}: load what its state_dict() gave")
    if saved["version"] not in (1, VERSION):
        raise StateError(
            f"the state has version {saved['version']!r}, this lrkit reads up to {VERSION}: update lrkit"
        )
    missing = [key for key in (*_KEYS, *(_SINCE_2 if saved["version"] > 1 else ())) if key not in saved]
    if missing:
        raise StateError(
            f"the state lacks {', '.join(missing)}: it is damaged, or was written by something else"
        )
    wrong = [
        key
        for key, right in (
            ("step", _is_count(saved["step"])),
            ("schedule", isinstance(saved["schedule"], Mapping)),
            ("horizon", isinstance(saved["horizon"], Mapping) and _is_count(saved["horizon"].get("steps"))),
            ("base", _is_table(saved["base"])),
            ("control", isinstance(saved.get("control", []), list | tuple)),
            ("feedback", isinstance(saved.get("feedback"), Mapping | None)),
        )
        if not right
    ]
    if wrong:
        raise StateError(f"the state's {wrong[0]} is {str(saved[wrong[0]])[:80]}: it is damaged")


def _is_count(value: object) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return -1 <= value < 2**53  # -1: of a SequentialLR member that waits


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(row, list | tuple) and all(x is None or is_finite(x, signed=key != "lr") for x in row)
        for key, row in value.items()
    )


def _shown(text: str | None) -> str:
    return "a Python function" if text is None else repr(text)
