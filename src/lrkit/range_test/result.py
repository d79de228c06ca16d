"""RangeTest: what a range test found, as a value that prints, compares, draws itself and survives as JSON.

How the numbers came about is not here: find.py runs the sweeps, verdict.py judges them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import numpy as np

from lrkit.errors import StateError
from lrkit.files import atomic_write
from lrkit.range_test.rules import RULES
from lrkit.range_test.smoothing import FloatArray, smooth
from lrkit.range_test.verdict import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RangeTest", "Spacing", "Varied"]

Spacing: TypeAlias = Literal["log", "linear"]
Varied: TypeAlias = Literal["initial weights and data order", "data order", "nothing"]

_FORMAT, _VERSION = "lrkit range test", 1
_DERIVED = ("smoothed", "by_rule")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RangeTest:
    """How the loss answered a few steps at each rate of a sweep: a bracket for the best rate, not an optimum.

    suggestion: the median over the repeats of what `rule` reads off; None unless `status` is "found".
    bracket: where the best rate of a full training is to be searched, (low, high); also where the repeats
        disagree. None when the loss never fell.
    spread: standard deviation of the repeats' suggestions, in decades; nan for fewer than two, or identical
        repeats.
    status, reason: "found", or why not: "never fell", "diverged at once", "could not tell".
    lrs: the grid, rates of the swept group (the first one when all are swept), rising; read-only.
    group_lrs: the rates of every group over the grid, by the group's name.
    losses: one array per repeat, raw; `losses[r][i]` is the loss after the update at `lrs[i]`. A repeat that
        ended early is shorter than the grid; none holds a value that is not finite.
    suggestions: each repeat's own suggestion, None where it has none.
    varied: what differed between the repeats, and so what `spread` speaks of.
    steps: updates spent, those of sweeps that only found the range included.
    """

    lrs: FloatArray
    group_lrs: Mapping[str, FloatArray]
    losses: tuple[FloatArray, ...]
    suggestion: float | None
    bracket: tuple[float, float] | None
    spread: float
    rule: str
    suggestions: tuple[float | None, ...]
    status: Status
    reason: str
    steps: int
    varied: Varied
    spacing: Spacing = "log"
    group: str | None = None

    def __post_init__(self) -> None:
        frozen = {name: _frozen(values) for name, values in self.group_lrs.items()}
        object.__setattr__(self, "lrs", _frozen(self.lrs))
        object.__setattr__(self, "group_lrs", MappingProxyType(frozen))
        object.__setattr__(self, "losses", tuple(_frozen(values) for values in self.losses))

    @property
    def smoothed(self) -> tuple[FloatArray, ...]:
        """The losses of each repeat under the symmetric kernel of `kmin` (which caps them first)."""
        return tuple(smooth(self.lrs, values) for values in self.losses)

    def by_rule(self) -> dict[str, float | None]:
        """What each rule of `RULES` reads off, median over the repeats; None where most read nothing."""
        return {
            name: _median([rule(self.lrs, values) for values in self.losses]) for name, rule in RULES.items()
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """The sweep as a figure of its own, or drawn into `ax` of yours: the figure that holds it.

        Raises MissingExtra without matplotlib.
        """
        from lrkit.plot import draw_range_test, range_test_figure

        if ax is None:
            return range_test_figure(self.to_dict())
        draw_range_test(ax, self.to_dict())
        return cast("Figure", ax.get_figure(root=True))  # axes that are drawn into belong to a figure

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold (nan as None), with the smoothed losses and what each rule says."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "lrs": self.lrs.tolist(),
            "group_lrs": {name: values.tolist() for name, values in self.group_lrs.items()},
            "losses": [values.tolist() for values in self.losses],
            "smoothed": [values.tolist() for values in self.smoothed],
            "suggestion": self.suggestion,
            "bracket": None if self.bracket is None else list(self.bracket),
            "spread": None if math.isnan(self.spread) else self.spread,
            "rule": self.rule,
            "suggestions": list(self.suggestions),
            "by_rule": self.by_rule(),
            "status": self.status,
            "reason": self.reason,
            "steps": self.steps,
            "varied": self.varied,
            "spacing": self.spacing,
            "group": self.group,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RangeTest:
        """The range test that `to_dict` wrote. Raises StateError for anything else, naming the key."""
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise StateError(f"not a range test: it lacks 'format': {_FORMAT!r}")
        if data.get("version") != _VERSION:
            raise StateError(
                f"this range test has format {data.get('version')!r}; this lrkit reads format {_VERSION}"
            )
        names = {field.name for field in fields(cls)}
        wrong = sorted(names ^ (set(data) - {"format", "version", *_DERIVED}))
        if wrong:
            raise StateError(f"a range test with missing or unknown keys: {', '.join(map(repr, wrong))}")
        found = {}
        for name, read in _READERS.items():
            try:
                found[name] = read(data[name])
            except (TypeError, ValueError, AttributeError) as error:
                raise StateError(
                    f"range test: {name} = {data[name]!r:.60} cannot be read: {error}"
                ) from error
        return cls(**found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all. Raises OSError as the system gives it."""
        atomic_write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RangeTest:
        """Read what `save` wrote. Raises StateError for another file, OSError as the system gives it."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise StateError(f"{os.fspath(path)}: not a saved range test: {error}") from error
        except StateError as error:
            raise StateError(f"{os.fspath(path)}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, RangeTest) else NotImplemented

    def __hash__(self) -> int:
        return hash(
            (self.lrs.tobytes(), *(values.tobytes() for values in self.losses), self.rule, self.steps)
        )

    def __repr__(self) -> str:
        found = "no suggestion" if self.suggestion is None else f"suggestion={self.suggestion:.3g}"
        bracket = "" if self.bracket is None else f", bracket=({self.bracket[0]:.3g}, {self.bracket[1]:.3g})"
        size = f"{len(self.losses)} x {len(self.lrs)} points"
        return f"<RangeTest {found}{bracket}, {size}, {self.status}: {self.reason}>"


def _frozen(values: Any) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one row of numbers, not shape {array.shape}")
    array.setflags(write=False)
    return array


def _median(found: Sequence[float | None]) -> float | None:
    """The median in log lr, None when at least half have nothing to say."""
    known = [value for value in found if value is not None]
    return float(10 ** np.median(np.log10(known))) if 2 * len(known) > len(found) else None


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _pair(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = value
    return float(low), float(high)


def _one_of(choices: tuple[str, ...]) -> Any:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"choose from {', '.join(choices)}")
        return str(value)

    return read


_READERS: dict[str, Any] = {
    "lrs": _frozen,
    "group_lrs": lambda value: {str(name): _frozen(rates) for name, rates in value.items()},
    "losses": lambda value: tuple(_frozen(one) for one in value),
    "suggestion": _optional_float,
    "bracket": _pair,
    "spread": lambda value: math.nan if value is None else float(value),
    "rule": _one_of(tuple(RULES)),
    "suggestions": lambda value: tuple(_optional_float(one) for one in value),
    "status": _one_of(get_args(Status)),
    "reason": str,
    "steps": int,
    "varied": _one_of(get_args(Varied)),
    "spacing": _one_of(get_args(Spacing)),
    "group": lambda value: None if value is None else str(value),
}
