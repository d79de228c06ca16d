"""Comparison: what a comparison found, as a value. How its trainings came about is not here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lrkit.tuning.comparing.ledger import Final, Progress
from lrkit.tuning.comparing.standing import Standing, stand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComparedSchedule", "Comparison", "conclude"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSchedule:
    """One schedule: its tuned rate and where it stands.

    name, spec: as it was given, and in lrkit's own words.
    lr, interval, status, reason: of its search; None where no rate could be trained (`reason` says why).
    bracket: between which rates it was searched at first, by the first schedule's best rate and the convex bound; None
        for the schedule that was searched first, from the range test.
    updates: what its search took. data: "all", or "search" where the held-out part was left out of its final trainings.
    standing: rank, mean, sd, difference, significance, by the figure that is compared.
    values: that figure under each seed, None where the training diverged.
    metrics: mean and sd of every figure that was measured, by name; sd is None for one seed.
    diverged: how many of the final trainings did.
    """

    name: str
    spec: str
    lr: float | None
    interval: tuple[float, float] | None
    status: str | None
    reason: str
    bracket: tuple[float, float] | None
    updates: int
    data: str
    standing: Standing
    values: tuple[float | None, ...]
    metrics: Mapping[str, tuple[float, float | None]]
    diverged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which of some schedules ends a training best, each at a peak lr of its own.

    schedules: the best first; those that have no mean (a training diverged, or no rate could be trained) come last.
    metric: the figure they are compared by, "test loss"; direction: "min" or "max". seeds: of the final trainings.
    budget: updates that each search could take; updates: what all of it took, range test and final trainings included.
    seconds: wall time of searches and final trainings, added up over workers.
    out: the folder, None where nothing was kept.
    """

    task: str
    metric: str
    direction: Literal["min", "max"]
    schedules: tuple[ComparedSchedule, ...]
    seeds: tuple[int, ...]
    steps: int
    budget: int
    updates: int
    seconds: float
    out: Path | None
    details: Mapping[str, Any] = dataclasses.field(repr=False)
    """By name: each schedule's search and the rates of its first final training, as plain data for the figure."""

    @property
    def best(self) -> ComparedSchedule | None:
        """The schedule with the best mean, None where none has one."""
        first = self.schedules[0]
        return None if first.standing.rank is None else first

    @property
    def undecided(self) -> tuple[str, ...]:
        """Those from which the best cannot be told apart."""
        ranked = [one for one in self.schedules[1:] if one.standing.rank is not None]
        return tuple(one.name for one in ranked if not one.standing.told_apart)

    @property
    def verdict(self) -> str:
        """The answer in a sentence; "no difference can be told" is one."""
        best, lost = self.best, [one.name for one in self.schedules if one.standing.rank is None]
        without = f"; without a finite figure: {', '.join(lost)}" if lost else ""
        if best is None:
            return f"no schedule has a figure to compare{without}"
        others = [one for one in self.schedules[1:] if one.standing.rank is not None]
        if not others:
            return f"{best.name} is the only one with a figure to compare{without}"
        if len(self.seeds) == 1:
            return f"{best.name} ends best under one seed, which cannot tell skill from luck{without}"
        if not self.undecided:
            return f"{best.name} ends best, and is told apart from all others{without}"
        if len(self.undecided) == len(others):
            return f"no difference can be told between {best.name}, which ends best on average, and the others{without}"
        return f"{best.name} ends best on average; it cannot be told apart from {', '.join(self.undecided)}{without}"

    def plot(self) -> Figure:
        """The comparison as a figure. Raises MissingExtra without matplotlib."""
        from lrkit.plot import comparison_figure

        return comparison_figure(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in comparison.json under "result" and as `lrkit compare --json` prints it."""
        rows = []
        for one in self.schedules:
            row = {
                field.name: getattr(one, field.name)
                for field in dataclasses.fields(one)
                if field.name != "standing"
            }
            metrics = {name: {"mean": mean, "sd": sd} for name, (mean, sd) in one.metrics.items()}
            standing = dataclasses.asdict(one.standing) | {"told_apart": one.standing.told_apart}
            rows.append(row | {"metrics": metrics} | standing | self.details[one.name])
        own = {
            name: getattr(self, name)
            for name in ("task", "metric", "direction", "steps", "budget", "updates", "seconds", "verdict")
        }
        out = None if self.out is None else str(self.out)
        return own | {"seeds": list(self.seeds), "out": out, "schedules": rows}


def conclude(
    schedules: Mapping[str, Progress],
    *,
    task: str,
    figure: str,
    on: Literal["test", "validation"],
    direction: Literal["min", "max"],
    parts: Mapping[str, str],
    seeds: Sequence[int],
    steps: int,
    budget: int,
    shared_updates: int,
    out: Path | None,
) -> Comparison:
    """What the finished jobs with these seeds say; `figure` is the metric's name without `on` before it."""
    schedules = {
        name: dataclasses.replace(one, finals=tuple(final for final in one.finals if final.seed in seeds))
        for name, one in schedules.items()
    }
    values = {name: _values(one, figure) for name, one in schedules.items()}
    standings = stand(
        {name: [math.nan if v is None else v for v in row] for name, row in values.items()}, direction
    )
    compared = [
        _compared(name, one, standings[name], values[name], parts[name]) for name, one in schedules.items()
    ]
    finals = [final for one in schedules.values() for final in one.finals]
    searches = [one.search for one in schedules.values() if one.search is not None]
    return Comparison(
        task=task,
        metric=f"{on} {figure}",
        direction=direction,
        schedules=tuple(sorted(compared, key=lambda one: one.standing.rank or len(compared) + 1)),
        seeds=tuple(seeds),
        steps=steps,
        budget=budget,
        updates=shared_updates
        + sum(int(found["member_steps"]) for found in searches)
        + sum(final.steps for final in finals),
        seconds=sum(float(found["seconds"]) for found in searches) + sum(final.seconds for final in finals),
        out=out,
        details={name: {"search": one.search, "rates": one.rates} for name, one in schedules.items()},
    )


def _values(one: Progress, figure: str) -> tuple[float | None, ...]:
    return tuple(None if final.diverged else final.metrics.get(figure) for final in one.finals)


def _compared(
    name: str, one: Progress, standing: Standing, values: tuple[float | None, ...], part: str
) -> ComparedSchedule:
    found = one.search
    return ComparedSchedule(
        name=name,
        spec=one.spec,
        lr=None if found is None else float(found["lr"]),
        interval=None if found is None else (float(found["interval"][0]), float(found["interval"][1])),
        status=None if found is None else str(found["status"]),
        reason=(one.failure or "") if found is None else str(found["reason"]),
        bracket=one.bracket,
        updates=0 if found is None else int(found["member_steps"]),
        data=part,
        standing=standing,
        values=values,
        metrics=_spread(one.finals),
        diverged=sum(final.diverged for final in one.finals),
    )


def _spread(finals: Sequence[Final]) -> dict[str, tuple[float, float | None]]:
    """Mean and sd of each figure that every final training has."""
    names = finals[0].metrics if finals else {}
    rows = {name: [final.metrics.get(name) for final in finals] for name in names}
    return {
        name: (float(np.mean(row)), float(np.std(row, ddof=1)) if len(row) > 1 else None)
        for name, given in rows.items()
        if len(row := [value for value in given if value is not None]) == len(finals)
    }
