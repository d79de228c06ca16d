"""Route: how a population is trained and why, decided once, recorded before the first step, and kept on resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Masks", "Route", "RouteName"]

Masks = Literal["none", "plain", "alike"]
RouteName = Literal["loop", "eager", "traced", "compiled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How the members are trained.

    name: "loop" trains them one by one; "eager", "traced" and "compiled" train stacks of them.
    reason: why this one, in words for the user.
    seconds: what a member-step took on each route that was tried, measured before the first step.
    size: members in one stack. mixed: whether a stack may hold members of several seeds.
    masks: "none" where training draws no random numbers; "plain" where they are those of the plain run; "alike" where
        they are drawn for a layout of their own (dropout on a transposed tensor): the same for all members of a seed,
        and distributed as the plain run's.
    idle: parameters that could be trained but get no gradient. served: the batch signature that graphs are for.
    """

    name: RouteName
    reason: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    size: int = 1
    mixed: bool = False
    masks: Masks = "none"
    idle: tuple[str, ...] = ()
    served: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"seconds": dict(self.seconds), "idle": list(self.idle)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Route:
        """What `to_dict` gave."""
        return cls(**{**saved, "idle": tuple(saved["idle"])})
