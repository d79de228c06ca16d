"""A first look at a space: points that fill it evenly, however many of them are taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from lrkit.search.space import Choice, Parameter, Range, Space
from lrkit.search.trials import Settings, Value, Values, round_rate
from lrkit.training.seeding import derive_seed

__all__ = ["outwards", "rate_range", "spread_points", "spread_values", "values_at"]

_DRAWS = 50
"""Draws for each choice wanted: a space of few options has fewer different ones."""


def rate_range(settings: Settings) -> Range:
    """The rates that a search goes through, by their logarithm."""
    return Range(round_rate(settings.low), round_rate(settings.high), log=True)


def outwards(rates: Sequence[float]) -> list[float]:
    """Ascending rates, from the middle one to both ends."""
    middle = (len(rates) - 1) / 2
    return [lr for _, lr in sorted(enumerate(rates), key=lambda at: (abs(at[0] - middle), at[0]))]


def spread_points(dimensions: int, *, seed: int) -> Iterator[tuple[float, ...]]:
    """Points of the unit cube without end: frac(s_j + i g^-(j+1)), g the root of g^(d+1) = g + 1 above 1.

    Any first n of them fill the cube evenly, which independent draws and grids do not. `seed` sets the shifts s.
    Source: M. Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018); d = 1 is the golden ratio's.
    """
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / (dimensions + 1))
    steps = [g ** -(j + 1) for j in range(dimensions)]
    shifts = [derive_seed(seed, j) / 2**63 for j in range(dimensions)]
    for i in itertools.count():
        yield tuple((shift + i * step) % 1.0 for shift, step in zip(shifts, steps, strict=True))


def values_at(parameters: Iterable[tuple[str, Parameter]], point: Sequence[float]) -> Values:
    """The values at a point of the unit cube, one coordinate for each parameter."""
    return tuple((name, _at(parameter, u)) for (name, parameter), u in zip(parameters, point, strict=True))


def spread_values(space: Space, count: int, *, seed: int) -> Iterator[Values]:
    """`count` different choices of values, fewer where the space has no more."""
    seen: set[Values] = set()
    for point in itertools.islice(spread_points(len(space), seed=seed), _DRAWS * count):
        values = values_at(space.items(), point)
        if values not in seen:
            seen.add(values)
            yield values
        if len(seen) == count:
            return


def _at(parameter: Parameter, u: float) -> Value:
    if isinstance(parameter, Choice):
        return parameter.options[min(int(u * len(parameter.options)), len(parameter.options) - 1)]
    return parameter.at(u)
