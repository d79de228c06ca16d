"""What Hypothesis may draw: durations, levels, horizons, schedules. A new shape joins `_CALLS`, a recipe `_RECIPES`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from lrkit.duration import Duration, Horizon
from lrkit.errors import SpecError
from lrkit.schedule import (
    Absolute,
    Curve,
    Schedule,
    absolute,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    flat_cosine,
    hold,
    hyperbolic,
    infinite,
    inverse_sqrt,
    inverse_time,
    linear,
    linear_to_zero,
    milestones,
    natural_exponential,
    noam,
    one_cycle,
    one_cycle_momentum,
    one_minus_sqrt,
    polynomial,
    power,
    ramp,
    restarts,
    rex,
    shifted_exponential,
    slanted_triangle,
    staircase,
    table,
    tanh,
    trapezoid,
    warmup,
    wsd,
)

__all__ = [
    "BASE_LR",
    "calls",
    "durations",
    "factors",
    "horizons",
    "levels",
    "percents",
    "quiet",
    "schedules",
    "tilings",
]

BASE_LR = 0.5
"""At or above every absolute level that is drawn."""

Length = SearchStrategy[Duration] | SearchStrategy[None]


def factors(*, least: float = 0.0) -> SearchStrategy[float]:
    return st.floats(least, 2.0, allow_subnormal=False)


def levels(*, least: float = 0.0) -> SearchStrategy[float | Absolute]:
    return factors(least=least) | st.floats(max(least, 1e-9), BASE_LR).map(absolute)


@st.composite
def percents(draw: DrawFn) -> Duration:
    return Duration(
        Fraction(draw(st.integers(0, 10_000)), draw(st.sampled_from([1, 2, 3, 7, 100]))), "percent"
    )


def durations(*, least: int = 0) -> SearchStrategy[Duration]:
    """Of any unit, exact ratios among them."""
    whole = st.tuples(st.integers(least, 10**15), st.sampled_from(["steps", "samples", "tokens"]))
    part = st.tuples(
        st.builds(Fraction, st.integers(least, 10**6), st.integers(1, 10**4)),
        st.sampled_from(["epochs", "percent"]),
    )
    return (whole | part).map(lambda drawn: Duration(Fraction(drawn[0]), drawn[1]))


def horizons(*, most: int = 10**6) -> SearchStrategy[Horizon]:
    ratio = st.integers(1, 10**4)
    return st.builds(
        Horizon, st.integers(1, most), steps_per_epoch=ratio, batch_size=ratio, tokens_per_step=ratio
    )


def _optional(strategy: SearchStrategy[object]) -> SearchStrategy[object]:
    return st.none() | strategy


def _marks(every: SearchStrategy[Duration]) -> SearchStrategy[list[Duration]]:
    return st.lists(every, min_size=1, max_size=4)


@st.composite
def _milestones(draw: DrawFn, length: Length, every: SearchStrategy[Duration]) -> Schedule:
    marks = draw(_marks(every))
    each = st.lists(factors(), min_size=len(marks), max_size=len(marks))
    return milestones(
        marks, factor=draw(factors() | each), duration=draw(length), start=draw(_optional(levels()))
    )


@st.composite
def _exponential(draw: DrawFn, length: Length, every: SearchStrategy[Duration]) -> Schedule:
    start = draw(levels(least=0.01))
    if draw(st.booleans()):
        return exponential(draw(length), to=draw(levels(least=0.01)), start=start)
    return exponential(draw(length), rate=draw(st.floats(0.1, 1.0)), every=draw(every), start=start)


def _cycle_form() -> dict[str, SearchStrategy[object]]:
    return {
        "rise": st.floats(0.0, 0.5),
        "anneal": st.sampled_from(["cosine", "linear"]),
        "phases": st.sampled_from([2, 3]),
        "last": st.sampled_from(["exclusive", "inclusive"]),
    }


def _warmup_form() -> dict[str, SearchStrategy[object]]:
    return {"kind": st.sampled_from(["linear", "cosine", "exponential"]), "start": levels(least=0.01)}


def _given(length: Length, every: SearchStrategy[Duration]) -> SearchStrategy[Duration]:
    """A warmup is never open."""
    return length.flatmap(lambda n: every if n is None else st.just(n))


# Powers whose last bit is the same in every library: others, bent once more by a cosine, may differ in more.
_DELAYS = st.sampled_from([1.0, 1.0, 0.5, 2.0])

_CALLS: dict[str, Callable[[Length, SearchStrategy[Duration]], SearchStrategy[Schedule]]] = {
    "warmup": lambda n, e: st.builds(warmup, _given(n, e), **_warmup_form()),
    "hold": lambda n, e: st.builds(hold, n, level=_optional(levels())),
    "linear": lambda n, e: st.builds(linear, n, to=levels(), start=_optional(levels())),
    "cosine": lambda n, e: st.builds(
        cosine,
        n,
        to=levels(),
        start=_optional(levels()),
        cycles=st.sampled_from([0.5, 1.0, 1.3, 2.5]),
        exponent=st.sampled_from([1.0, 1.0, 1.5, 3.0]),
        k=_DELAYS,
    ),
    "cosine_restarts": lambda n, e: st.builds(
        cosine_restarts,
        n,
        cycles=st.integers(1, 9) | st.floats(0.1, 9.0),
        to=levels(),
        start=_optional(levels()),
    ),
    "rex": lambda n, e: st.builds(rex, n, to=levels(), start=_optional(levels())),
    "tanh": lambda n, e: st.builds(
        tanh,
        n,
        lower=st.floats(-9.0, 0.0),
        upper=st.floats(0.1, 5.0),
        to=levels(),
        start=_optional(levels()),
    ),
    "shifted_exponential": lambda n, e: st.builds(
        shifted_exponential, n, ratio=st.floats(0.001, 0.5), to=levels(), start=_optional(levels())
    ),
    "hyperbolic": lambda n, e: st.builds(
        hyperbolic,
        n,
        bound=st.integers(100, 400).map(lambda percent: Duration(Fraction(percent), "percent")),
        to=levels(least=0.01),
        start=levels(least=0.01),
        kind=st.sampled_from(["linear", "exponential"]),
    ),
    "power": lambda n, e: st.builds(
        power, e, exponent=st.floats(0.1, 3.0), duration=n, start=_optional(levels())
    ),
    "inverse_time": lambda n, e: st.builds(
        inverse_time,
        st.floats(0.01, 10.0),
        every=e,
        form=st.sampled_from(["smooth", "stair"]),
        duration=n,
        start=_optional(levels()),
    ),
    "table": lambda n, e: st.builds(
        table,
        st.lists(factors(), min_size=1, max_size=6),
        every=e,
        interpolation=st.sampled_from(["stair", "linear"]),
        duration=n,
    ),
    "exponential": _exponential,
    "polynomial": lambda n, e: st.builds(polynomial, n, power=st.floats(0.1, 4.0), to=levels(), k=_DELAYS),
    "one_minus_sqrt": lambda n, e: st.builds(one_minus_sqrt, n, to=levels(), start=_optional(levels())),
    "inverse_sqrt": lambda n, e: st.builds(
        inverse_sqrt, e, duration=n, to=_optional(levels()), start=_optional(levels())
    ),
    "staircase": lambda n, e: st.builds(staircase, e, factor=st.floats(0.0, 1.0), duration=n),
    "milestones": _milestones,
    "one_cycle": lambda n, e: st.builds(one_cycle, n, start=levels(), to=levels(), **_cycle_form()),
    "one_cycle_momentum": lambda n, e: st.builds(one_cycle_momentum, n, low=levels(), **_cycle_form()),
    "cyclic": lambda n, e: st.builds(
        cyclic,
        e,
        down=_optional(e),
        low=levels(),
        cycle_decay=st.sampled_from([1.0, 0.5]),
        step_decay=st.sampled_from([1.0, 0.999]),
        duration=n,
    ),
    "restarts": lambda n, e: st.builds(
        restarts,
        e,
        growth=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
        decay=st.sampled_from([1.0, 0.7]),
        to=levels(),
        limit=st.none() | st.integers(1, 5),
        k=_DELAYS,
        lengths=st.sampled_from(["whole", "exact"]),
        duration=n,
        start=_optional(levels()),
    ),
}

_SHARE = st.integers(1, 30).map(lambda n: Duration(Fraction(n), "percent"))
_RECIPES: dict[str, SearchStrategy[Schedule]] = {
    "wsd": st.builds(
        wsd,
        _SHARE,
        decay=_SHARE,
        shape=st.sampled_from(["one_minus_sqrt", "linear", "cosine", "exponential"]),
        to=factors(),
    ),
    "trapezoid": st.builds(trapezoid, _SHARE, to=levels()),
    "infinite": st.builds(
        infinite,
        _SHARE,
        cooldown=_SHARE,
        constant=levels(least=0.01),
        shape=st.sampled_from(["cosine", "inverse_sqrt"]),
        decay=st.none() | _SHARE,
        to=levels(least=0.01),
    ),
    "linear_to_zero": st.builds(linear_to_zero, _SHARE),
    "noam": st.builds(noam, st.integers(1, 10**6)),
    "flat_cosine": st.builds(flat_cosine, _SHARE, to=levels()),
    "slanted_triangle": st.builds(slanted_triangle, _SHARE, ratio=st.floats(1.0, 100.0)),
    "natural_exponential": st.builds(natural_exponential, st.floats(0.001, 3.0), every=_SHARE),
    "ramp": st.builds(ramp, levels(least=0.001), kind=st.sampled_from(["exponential", "linear"])),
}
_NOTHING: SearchStrategy[None] = st.none()


@cache
def calls(
    name: str, length: Length = _NOTHING, every: SearchStrategy[Duration] | None = None
) -> SearchStrategy[Schedule]:
    """Calls of one shape, `length` long; what it does again and again, it does `every` so often."""
    return _CALLS[name](length, durations(least=1) if every is None else every)


# Made once: a strategy costs more to build than to draw from.
_COIN = st.booleans()
_RARELY = st.sampled_from([False, False, False, False, True])
_ANY_NAME = st.sampled_from(sorted(_CALLS))
_ANY_RECIPE = st.sampled_from(sorted(_RECIPES)).flatmap(_RECIPES.__getitem__)
# One that has no length in steps, and so fills any stretch.
_ANY_FILLING_RECIPE = st.sampled_from(sorted(_RECIPES.keys() - {"noam"})).flatmap(_RECIPES.__getitem__)
_ANY_JOINT = st.sampled_from([">>", "*", "clip", "repeat", "skip", "after"])
_ANY_LENGTH: Length = _NOTHING | durations()
_ANY_LEVEL = levels()
_SOME_PERCENT = st.integers(1, 40).map(lambda n: Duration(Fraction(n), "percent"))


@st.composite
def schedules(draw: DrawFn, *, depth: int = 3) -> Schedule:
    """Any schedule that can be built, to be printed and compared; hardly any fits a given horizon."""
    if depth == 0 or draw(_COIN):
        return draw(calls(draw(_ANY_NAME), _ANY_LENGTH))
    if draw(_RARELY):
        return draw(_ANY_RECIPE)
    inner = schedules(depth=depth - 1)
    left = draw(inner)
    joint = draw(_ANY_JOINT)
    try:
        match joint:
            case ">>":
                return left.body >> draw(inner)
            case "*":
                return left.body * draw(inner).body
            case "clip":
                return left.clip(low=draw(_ANY_LEVEL)) if draw(_COIN) else left.clip(0.0, draw(_ANY_LEVEL))
            case "repeat":
                return left.body.repeat(draw(st.integers(1, 5)))
            case "skip":
                return left.skip(draw(st.integers(0, 5)))
            case _:
                return left.after(draw(st.sampled_from(["hold", "continue", "error"])))
    except SpecError:
        return left  # two open phases in one sequence


@st.composite
def tilings(draw: DrawFn, *, depth: int = 2) -> Schedule:
    """A schedule in percent that fills any horizon: its phases add up to 100 %, or one of them is open."""
    cuts = sorted(draw(st.lists(st.integers(0, 300), max_size=4)))
    borders = [Fraction(cut, 3) for cut in (0, *cuts, 300)]
    lengths = [Duration(b - a, "percent") for a, b in pairwise(borders)]
    open_one = draw(st.integers(-1, len(lengths) - 1))
    items = [draw(_block(None if k == open_one else length, depth)) for k, length in enumerate(lengths)]
    schedule = items[0]
    for item in items[1:]:
        schedule = schedule >> item
    return schedule


@st.composite
def _block(draw: DrawFn, length: Duration | None, depth: int) -> Schedule:
    """A phase of this length, or (where it is open) something that is made of several."""
    if length is not None or depth == 0 or draw(_COIN):
        name = draw(_ANY_NAME)
        if length is None and name == "warmup":
            name = "linear"  # a warmup has a length
        plain = draw(calls(name, _NOTHING, _SOME_PERCENT))
        if length is not None:
            plain = replace(plain, duration=length)  # type: ignore[type-var]  # shapes are dataclasses
        return plain.clip(low=draw(_ANY_LEVEL)) if draw(_COIN) else plain
    if draw(_RARELY):
        return draw(_ANY_FILLING_RECIPE).repeat(draw(st.integers(1, 4)))
    if draw(_COIN):
        return draw(tilings(depth=depth - 1)).repeat(draw(st.integers(1, 4)))
    return draw(_block(None, depth - 1)) * draw(_block(None, depth - 1))


def quiet(schedule: Schedule, horizon: Horizon | int) -> Curve:
    """The curve, without the warnings about phases that get no step: drawn schedules are full of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schedule.over(horizon, base_lr=BASE_LR)
