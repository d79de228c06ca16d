"""Schedule and control together: `warmup(5%) >> hold() & plateau(patience=5)`, as a value and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lrkit.control import Controller
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.spec.controllers import CONTROLLERS
from lrkit.spec.text import _Parser, parse_call

__all__ = ["Spec", "parse_control", "parse_spec"]

_BUILDERS: Final = {entry.name: entry.build for entry in CONTROLLERS}
_NOUN: Final = "controller"


@dataclass(frozen=True, slots=True)
class Spec:
    """A schedule, and the controllers whose factors multiply it. Its `str` is what `parse_spec` reads."""

    schedule: Schedule
    control: tuple[Controller, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise SpecError(
                f"a Spec takes a Schedule, not a {type(self.schedule).__name__}: read it with parse()"
            )
        object.__setattr__(self, "control", tuple(self.control))

    def __str__(self) -> str:
        return " & ".join(map(str, (self.schedule, *self.control)))


def parse_spec(text: str) -> Spec:
    """The schedule and the controllers that a spec describes, each controller after a `&`.

    Raises SpecError, in one line, with the column (from 1) and the nearest valid name.

    >>> spec = parse_spec("warmup(5%) >> hold() & plateau(patience=5)")
    >>> spec.control
    (plateau(patience=5),)
    >>> parse_spec(str(spec)) == spec
    True
    """
    schedule, control = _Parser(text).spec_with(_BUILDERS, _NOUN)
    return Spec(schedule, tuple(control))


def parse_control(text: str) -> Controller:
    """The one controller that a text describes: `plateau(patience=5)`. Raises SpecError as `parse_spec` does."""
    return parse_call(text, _BUILDERS, noun=_NOUN)
