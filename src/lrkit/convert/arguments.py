"""The door for what a peer's parameters may be: rates, counts and switches, checked before anything is built.

Raises SpecError with the parameter's name; which peer and schedule it belongs to is added in `dialects`.
"""

from __future__ import annotations

from lrkit.duration import brief, whole_number
from lrkit.errors import SpecError
from lrkit.schedule.levels import as_number

__all__ = ["as_factor", "as_flag", "as_items", "as_numbers", "as_share", "as_steps", "only_one"]


def as_steps(value: object, name: str, *, least: int = 0) -> int:
    """A whole number of steps."""
    steps = whole_number(value)
    if steps is not None and least <= steps <= 10**15:
        return steps
    raise SpecError(f"{name} takes a whole number of steps from {least} on, not {brief(value)}")


def as_share(value: object, name: str) -> float:
    """A share of something, from 0 to 1."""
    return as_number(value, name, most=1.0)


def as_factor(rate: object, name: str, base_lr: object) -> float:
    """A peer's absolute rate as a factor of `base_lr`."""
    return as_number(rate, name) / as_number(base_lr, "base_lr", above=0.0)


def as_flag(value: object, name: str) -> bool:
    """True or False, and nothing that merely looks like it."""
    if isinstance(value, bool):
        return value
    raise SpecError(f"{name} takes True or False, not {brief(value)}")


def as_items(values: object, name: str) -> tuple[object, ...]:
    """The items of a list, which may be empty."""
    if isinstance(values, (list, tuple)):
        return tuple(values)
    raise SpecError(f"{name} takes a list, not {brief(values)}")


def as_numbers(values: object, name: str) -> tuple[float, ...]:
    """A list of finite numbers from 0, at least one."""
    if not isinstance(values, (list, tuple)) or not values:
        raise SpecError(f"{name} takes a list of numbers, such as [1, 0.1], not {brief(values)}")
    return tuple(as_number(value, name) for value in values)


def only_one(**given: object) -> None:
    """Exactly one of several parameters, the others being None."""
    if sum(value is not None for value in given.values()) != 1:
        raise SpecError(f"exactly one of {' and '.join(given)} is to be given")
