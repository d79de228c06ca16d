"""How far lrkit's numbers lie from a peer's own, and the table of the worst of it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.stepping import Rates
from lrkit import convert

__all__ = [
    "ABSOLUTE",
    "RELATIVE",
    "TABLE",
    "Worst",
    "compare",
    "curve_of",
    "length_of",
    "table_text",
    "write_table",
]

ABSOLUTE = 1e-12
"""Of the peak rate."""

RELATIVE = 1e-9
"""Wherever the rate exceeds 1e-6 of the peak."""


@dataclass
class Worst:
    """What was compared for one schedule, and the largest difference: of the peak, and of the rate itself."""

    draws: int = 0
    rates: int = 0
    absolute: float = 0.0
    relative: float = 0.0

    def take_in(self, count: int, absolute: float, relative: float) -> None:
        self.draws += 1
        self.rates += count
        self.absolute = max(self.absolute, absolute)
        self.relative = max(self.relative, relative)


TABLE: dict[str, Worst] = {}
"""The rows of this session, by "peer:name"."""


def curve_of(name: str, parameters: Mapping[str, Any], T: int) -> Any:
    """lrkit's curve for a peer's parameters; a composite's members are converted first."""
    given = dict(parameters)
    if name.startswith("torch:") and "schedulers" in given:
        given["schedulers"] = [convert.schedule(f"torch:{n}", **own) for n, own in given["schedulers"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of milestones after the end and the like
        return convert.schedule(name, **given).over(T)


def length_of(T: int) -> int:
    """How many updates of a run of T are compared: to 1.2 T."""
    return math.ceil(1.2 * T) + 1


def compare(
    name: str, oracle: Rates, parameters: Mapping[str, Any], T: int, *, tolerance: float | None = None
) -> None:
    """Compare every update from 0 to 1.2 T, note the worst, and fail where it is too much.

    A peer that reckons in float32 has a `tolerance` of its own, of the peak.

    Rates that a peer lets fall below 0 count as 0, as they do here; a NaN of the oracle's is no number of the peer's.
    """
    n = length_of(T)
    theirs = np.clip(np.array(oracle(dict(parameters), n, T)), 0.0, None)
    mine = parameters.get("base_lr", 1.0) * curve_of(name, parameters, T).chunk(0, len(theirs))
    known = ~np.isnan(theirs)
    theirs, mine = theirs[known], mine[known]
    peak = theirs.max(initial=0.0)
    apart = np.abs(mine - theirs)
    large = theirs > 1e-6 * peak
    absolute = float(apart.max(initial=0.0) / peak) if peak else float(apart.max(initial=0.0))
    relative = float((apart[large] / theirs[large]).max(initial=0.0))
    TABLE.setdefault(name, Worst()).take_in(len(theirs), absolute, relative)
    worst = int(apart.argmax()) if apart.size else 0
    assert absolute <= (tolerance or ABSOLUTE), (name, parameters, T, worst, mine[worst], theirs[worst])
    assert tolerance or relative <= RELATIVE, (name, parameters, T, relative)


def table_text() -> str:
    """One line for each schedule."""
    lines = [f"{'peer':14}{'schedule':38}{'draws':>6}{'rates':>9}{'of the peak':>13}{'relative':>11}"]
    for name, worst in sorted(TABLE.items()):
        peer, _, schedule = name.partition(":")
        figures = f"{worst.draws:6}{worst.rates:9}{worst.absolute:13.1e}{worst.relative:11.1e}"
        lines.append(f"{peer:14}{schedule:38}{figures}")
    return "\n".join(lines)


def write_table(path: Path, versions: Mapping[str, str]) -> None:
    """The same as JSON, with the peers' versions."""
    rows = {name: asdict(worst) for name, worst in sorted(TABLE.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"versions": dict(versions), "rows": rows}, indent=1) + "\n")
