"""The one list of controllers: parser, plans, command line and docs learn of a controller from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lrkit import control
from lrkit.control import Controller

__all__ = ["CONTROLLERS", "ControllerEntry"]


@dataclass(frozen=True, slots=True)
class ControllerEntry:
    """A controller: how it is built and what a person needs to choose it.

    `name`, `build`, `example`, `source`, `use` and `avoid` are as in `Entry`; `rule` says in words when it acts.
    """

    name: str
    build: Callable[..., Controller]
    example: str
    rule: str
    source: str
    use: str
    avoid: str


CONTROLLERS: Final[tuple[ControllerEntry, ...]] = (
    ControllerEntry(
        "plateau",
        control.plateau,
        example="warmup(5%) >> hold() & plateau(patience=5)",
        rule="more than `patience` decisions in a row without a better metric: the lr is multiplied by `factor`",
        source="torch.optim.lr_scheduler.ReduceLROnPlateau",
        use="the length of the run is open and a validation metric is at hand often enough",
        avoid="the horizon is known: a decay laid over it ends lower and needs no metric",
    ),
)
