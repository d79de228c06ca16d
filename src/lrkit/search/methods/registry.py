"""The methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lrkit.errors import SpecError, did_you_mean
from lrkit.search.methods import Method
from lrkit.search.methods.auto import AUTO
from lrkit.search.methods.bayes import BAYES
from lrkit.search.methods.grid import GRID
from lrkit.search.methods.halving import HALVING
from lrkit.search.space import Space

__all__ = ["METHODS", "chosen_method", "usual_trainings"]

METHODS: Mapping[str, Method] = MappingProxyType(
    {"auto": AUTO, "grid": GRID, "halving": HALVING, "bayes": BAYES}
)
USUAL = 8
"""Trainings that a search of the lr alone may cost: a quarter of a grid of 32 rates."""
GRID_RATES, GRID_NUMBERS = 32, 3


def chosen_method(name: str | None, space: Space) -> tuple[str, Method]:
    """The method of that name; by default "auto" for the lr alone and "bayes" where more is searched.

    Raises SpecError for an unknown name, and for "auto" with more than the lr.
    """
    if name is None:
        name = "bayes" if space else "auto"
    if name not in METHODS:
        raise SpecError(f"unknown method {name!r}{did_you_mean(name, METHODS)}")
    if name == "auto" and space:
        raise SpecError(
            f"method='auto' searches the lr alone, and the space has {', '.join(space)}: "
            "take 'bayes', 'halving' or 'grid'"
        )
    return name, METHODS[name]


def usual_trainings(name: str, space: Space) -> int:
    """What a search costs unless the user says otherwise, in trainings."""
    if name == "grid":
        return GRID_RATES * int(GRID_NUMBERS ** len(space))
    return USUAL * (1 + len(space))
