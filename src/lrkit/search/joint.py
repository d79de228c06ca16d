"""What a search over more than the rate says: which values are best, and how much each parameter matters.

The curve over the rate is another matter: it is fitted to the trials of the best values alone (`only`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lrkit.errors import NoAnswer
from lrkit.search.scale import merit
from lrkit.search.space import Choice, Parameter, Range, Space
from lrkit.search.trials import Result, Settings, Value, Values

__all__ = ["Importance", "Joint", "Level", "Ranked", "best_values", "only"]

FEW = 6
"""Up to so many different numbers of a range are levels of their own; of more, the thirds of the range are."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One choice of values: the best of its rates where it was trained longest, after `steps` updates.

    `objective` is the mean over `seeds` seeds, those of replicates moved to the level of the first seed.
    """

    values: Values
    lr: float
    objective: float
    steps: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Level:
    """One value of a parameter, or a third of its range: the best objective seen there, with any other values.

    `worse` is by how much it falls short of the best level's, 0 or above, in the objective's own units; inf, and the
    objective nan, where no trial came so far: all `diverged`, or were stopped before.
    """

    label: str
    objective: float
    worse: float
    diverged: bool = False


@dataclass(frozen=True, slots=True)
class Importance:
    """What a parameter's levels are worth, in their own order, judged after `steps` updates."""

    name: str
    levels: tuple[Level, ...]
    steps: int

    @property
    def best(self) -> Level:
        """The level with the best objective."""
        return min(self.levels, key=lambda level: level.worse)

    @property
    def at_stake(self) -> float:
        """How much worse the worst level is than the best one, diverged ones aside."""
        return max(level.worse for level in self.levels if level.worse < math.inf)

    def __str__(self) -> str:
        def told(level: Level) -> str:
            if level.worse == math.inf:
                return f"{level.label} {'diverges' if level.diverged else 'fell behind early'}"
            part = level.worse / abs(self.best.objective) if self.best.objective else math.nan
            return (
                f"{level.label} is {part:.1%} worse"
                if math.isfinite(part)
                else f"{level.label} is {level.worse:.3g} off"
            )

        others = ", ".join(told(level) for level in self.levels if level is not self.best)
        return f"{self.name}: best at {self.best.label}; {others or 'nothing else was tried'}"


@dataclass(frozen=True, slots=True)
class Joint:
    """The best values; all choices of values, best first, those that were trained longer before others; each
    parameter's importance, the most important first; and the sd between seeds at one setting, None without replicates.
    """

    best: Ranked
    ranking: tuple[Ranked, ...]
    importance: tuple[Importance, ...]
    noise: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what diverged has None for numbers."""
        return {
            "values": dict(self.best.values),
            "ranking": [
                {
                    "values": dict(r.values),
                    "lr": r.lr,
                    "objective": r.objective,
                    "steps": r.steps,
                    "seeds": r.seeds,
                }
                for r in self.ranking
            ],
            "importance": [
                {
                    "name": each.name,
                    "steps": each.steps,
                    "levels": [
                        {
                            "label": level.label,
                            "objective": _finite(level.objective),
                            "worse": _finite(level.worse),
                        }
                        for level in each.levels
                    ],
                }
                for each in self.importance
            ],
            "noise": self.noise,
        }


def only(results: Sequence[Result], values: Values) -> tuple[Result, ...]:
    """The results of trials with these values."""
    return tuple(result for result in results if result.values == values)


def best_values(settings: Settings, results: Sequence[Result]) -> Joint:
    """What these results say of the values other than the rate. The same in whatever order they are.

    Raises NoAnswer where every trial diverged.
    """
    ordered = sorted(results, key=lambda r: (r.key, r.steps))
    means, noise = _seed_means(settings, [r for r in ordered if not r.diverged])
    if not means:
        raise NoAnswer(
            "the loss is NaN or infinite in every trial: check the data and the loss, or lower the rates"
        )
    ranking = tuple(
        sorted(_ranked(settings, means), key=lambda r: (-r.steps, _sign(settings) * r.objective, r.values))
    )
    tried = {result.values for result in ordered}
    space = Space({}) if settings.space is None else settings.space
    importance = [_importance(settings, name, parameter, tried, means) for name, parameter in space.items()]
    importance.sort(key=lambda each: (-each.at_stake, each.name))
    return Joint(ranking[0], ranking, tuple(importance), noise)


_Means = dict[tuple[Values, int, float], tuple[float, int]]
"""By values, length and rate: the mean merit over the seeds, and how many these are."""


def _sign(settings: Settings) -> int:
    return 1 if settings.direction == "min" else -1


def _seed_means(settings: Settings, finite: Sequence[Result]) -> tuple[_Means, float | None]:
    """Seeds differ by a level (other data held out), which is taken away where settings have several of them."""
    by_setting: dict[tuple[Values, int, float], dict[int, float]] = {}
    for r in finite:
        value = merit(r, settings.direction, logarithmic=False)
        by_setting.setdefault((r.values, r.steps, r.lr), {})[r.seed] = value
    main = settings.seed
    shared = [seeds for seeds in by_setting.values() if main in seeds and len(seeds) > 1]
    others = sorted({seed for seeds in shared for seed in seeds if seed != main})
    level = {
        seed: statistics.fmean(seeds[seed] - seeds[main] for seeds in shared if seed in seeds)
        for seed in others
    } | {main: 0.0}
    moved = {
        key: [value - level[seed] for seed, value in seeds.items() if seed in level] or list(seeds.values())
        for key, seeds in by_setting.items()
    }
    squares = [
        (v - statistics.fmean(values)) ** 2 for values in moved.values() if len(values) > 1 for v in values
    ]
    # Means of settings and levels of seeds are estimated from the same values.
    freedom = sum(len(values) - 1 for values in moved.values()) - len(others)
    noise = math.sqrt(sum(squares) / freedom) if squares and freedom > 0 else None
    return {key: (statistics.fmean(values), len(values)) for key, values in moved.items()}, noise


def _ranked(settings: Settings, means: _Means) -> Iterator[Ranked]:
    """Each choice of values where it was trained longest."""
    for values in {values for values, _, _ in means}:
        steps = max(steps for v, steps, _ in means if v == values)
        found = [
            (mean, lr, seeds) for (v, t, lr), (mean, seeds) in means.items() if v == values and t == steps
        ]
        mean, lr, seeds = min(found)
        yield Ranked(values, lr, _sign(settings) * mean, steps, seeds)


def _importance(
    settings: Settings, name: str, parameter: Parameter, tried: set[Values], means: _Means
) -> Importance:
    """Judged at the longest length that half of all choices of values have reached."""
    lengths = sorted({steps for _, steps, _ in means}, reverse=True)
    reached = {t: {values for values, steps, _ in means if steps == t} for t in lengths}
    steps = next((t for t in lengths if 2 * len(reached[t]) >= len(tried)), lengths[-1])
    labels, level_of = _levels(parameter, {dict(values)[name] for values in tried})
    best: dict[int, float] = {}
    for values in tried:
        found = [mean for (v, t, _), (mean, _) in means.items() if v == values and t == steps]
        level = level_of(dict(values)[name])
        best[level] = min([best.get(level, math.inf), *found])
    lowest = min(best.values())
    finite = {level_of(dict(values)[name]) for values, _, _ in means}
    levels = tuple(
        Level(labels[i], math.nan, math.inf, diverged=i not in finite)
        if value == math.inf
        else Level(labels[i], _sign(settings) * value, value - lowest)
        for i, value in sorted(best.items())
    )
    return Importance(name, levels, steps)


def _levels(parameter: Parameter, tried: set[Value]) -> tuple[list[str], Callable[[Value], int]]:
    """The levels by name, in their order, and which one a value belongs to."""
    if isinstance(parameter, Range) and len(tried) > FEW:
        borders = [_text(parameter.at(i / 3)) for i in range(4)]
        thirds = [f"{low}..{high}" for low, high in pairwise(borders)]
        return thirds, lambda value: min(2, int(3 * parameter.place(value) + 1e-9))
    order = list(parameter.options if isinstance(parameter, Choice) else sorted(tried, key=parameter.place))
    return [_text(value) for value in order], order.index


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
