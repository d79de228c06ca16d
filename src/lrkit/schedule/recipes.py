"""Recipes: compositions that the literature has a name for. Each prints as the composition that it is.

Nothing here has a formula: what a recipe returns is built from the shapes, and can be taken apart like any
other schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from lrkit.errors import SpecError
from lrkit.schedule import falls, running, shapes, waves
from lrkit.schedule.core import Schedule
from lrkit.schedule.levels import Level, as_choice, as_count, as_duration, as_level, as_number
from lrkit.schedule.shapes import Length

__all__ = [
    "flat_cosine",
    "infinite",
    "linear_to_zero",
    "natural_exponential",
    "noam",
    "ramp",
    "slanted_triangle",
    "trapezoid",
    "wsd",
]

Cooldown = Literal["one_minus_sqrt", "linear", "cosine", "exponential"]

_COOLDOWNS: Final[Mapping[str, Callable[..., Schedule]]] = {
    "one_minus_sqrt": falls.one_minus_sqrt,
    "linear": shapes.linear,
    "cosine": waves.cosine,
    "exponential": partial(falls.shifted_exponential, ratio=0.5),
}


def wsd(
    warmup: Length = "2%", *, decay: Length = "20%", shape: Cooldown = "one_minus_sqrt", to: Level = 0.0
) -> Schedule:
    """Warmup, stable, decay: up, along the peak, and down to `to` by one of four cooldowns.

    "exponential" is `shifted_exponential(ratio=0.5)`, as in Megatron-LM. `wsd().repeat(n)` cools down n times.
    Sources: Hu et al., arXiv:2404.06395; Hagele et al., arXiv:2405.18392 (1 - sqrt).

    >>> str(wsd())
    'warmup(2%) >> hold() >> one_minus_sqrt(20%, to=0)'
    """
    cooldown = _COOLDOWNS[as_choice(shape, "wsd(shape=)", tuple(_COOLDOWNS))]
    return shapes.warmup(warmup) >> shapes.hold() >> cooldown(as_duration(decay, "wsd(decay=)"), to=to)


def trapezoid(ramp: Length = "20%", *, to: Level = 0.0) -> Schedule:
    """Up and down by straight lines of the same length, with the peak in between.

    Source: Xing et al., arXiv:1802.08770.

    >>> str(trapezoid())
    'warmup(20%) >> hold() >> linear(20%, to=0)'
    """
    return shapes.warmup(ramp) >> shapes.hold() >> shapes.linear(as_duration(ramp, "trapezoid()"), to=to)


def infinite(
    warmup: Length = "1%",
    *,
    cooldown: Length = "24%",
    constant: Level = 0.55,
    shape: Literal["cosine", "inverse_sqrt"] = "cosine",
    decay: Length | None = None,
    to: Level = 0.1,
) -> Schedule:
    """A run without an end: up, down to a `constant` level, and on; with `decay`, down to `to` at last.

    The cooldown is a cosine, or an inverse square root whose scale is a tenth of it (alpha = 10); the last
    decay is exponential. Leave it out while the run may go on, and branch it off when a model is wanted.
    Source: Ibrahim et al., arXiv:2403.08763 (infinite learning rate schedules).

    >>> str(infinite(decay="10%"))
    'warmup(1%) >> cosine(24%, to=0.55) >> hold() >> exponential(10%, to=0.1)'
    """
    length = as_duration(cooldown, "infinite(cooldown=)")
    constant, to = as_level(constant, "infinite(constant=)"), as_level(to, "infinite(to=)")
    if as_choice(shape, "infinite(shape=)", ("cosine", "inverse_sqrt")) == "cosine":
        cooled = waves.cosine(length, to=constant)
    else:
        cooled = running.inverse_sqrt(
            replace(length, amount=length.amount / 10), duration=length, to=constant
        )
    endless = shapes.warmup(warmup) >> cooled >> shapes.hold()
    return (
        endless
        if decay is None
        else endless >> running.exponential(as_duration(decay, "infinite(decay=)"), to=to)
    )


def linear_to_zero(warmup: Length = "10%") -> Schedule:
    """A short warmup, and a straight line to 0 for the rest of the run.

    Source: Bergsma et al., arXiv:2502.15938.

    >>> str(linear_to_zero())
    'warmup(10%) >> linear(to=0)'
    """
    return shapes.warmup(warmup) >> shapes.linear(to=0.0)


def noam(warmup: int) -> Schedule:
    """The schedule of the Transformer paper: min(t^-0.5, t w^-1.5) for t = 1, 2, ..., scaled to peak at 1.

    `warmup` is w, in whole steps; the peak is update t = w. The paper's own rate is that times
    (d_model w)^-0.5, which is the base lr to use. Source: Vaswani et al., arXiv:1706.03762, eq. 3.

    >>> str(noam(4000))
    'warmup(3999) >> inverse_sqrt(4000)'
    """
    steps = as_count(warmup, "noam()")
    return shapes.warmup(steps - 1) >> running.inverse_sqrt(steps)


def flat_cosine(flat: Length = "75%", *, to: Level = 1e-5) -> Schedule:
    """Along the peak first, then down by half a cosine. Source: fastai's `fit_flat_cos`.

    >>> str(flat_cosine())
    'hold(75%) >> cosine(to=1e-05)'
    """
    return shapes.hold(as_duration(flat, "flat_cosine()")) >> waves.cosine(to=to)


def slanted_triangle(rise: Length = "10%", *, ratio: float = 32.0) -> Schedule:
    """A quick rise and a long fall, both straight, from and to 1 / `ratio` of the peak.

    Source: Howard and Ruder, arXiv:1801.06146 (ULMFiT), section 3.2.

    >>> str(slanted_triangle())
    'linear(10%, to=1, start=0.03125) >> linear(to=0.03125)'
    """
    low = 1.0 / as_number(ratio, "slanted_triangle(ratio=)", least=1.0)
    return shapes.linear(as_duration(rise, "slanted_triangle()"), start=low, to=1.0) >> shapes.linear(to=low)


def natural_exponential(k: float, *, every: Length = 1) -> Schedule:
    """exp(-k i / e), e = `every` in steps: an exponential decay whose speed is given as an exponent.

    Source: the natural_exp_decay of TensorFlow 1, https://github.com/tensorflow/tensorflow.

    >>> round(natural_exponential(1, every=100).over(1000)(100), 6)
    0.367879
    """
    speed = as_number(k, "natural_exponential()", above=0.0, most=700.0)
    return running.exponential(rate=math.exp(-speed), every=every)


def ramp(low: Level, *, kind: Literal["exponential", "linear"] = "exponential") -> Schedule:
    """Up from `low` to the base lr over the whole run: the sweep of a range test, as a schedule.

    Geometric, so that each factor of ten takes as long, or straight. `lrkit.find_lr` does more than that.
    Source: Smith, arXiv:1506.01186, section 3.3 (linear).

    >>> round(ramp(1e-4).over(100)(50), 12)
    0.01
    """
    if low == 0.0 and kind == "exponential":
        raise SpecError("ramp(low=0) never leaves 0 by equal ratios: give it a small number, or kind=linear")
    rise = {"exponential": running.exponential, "linear": shapes.linear}
    return rise[as_choice(kind, "ramp(kind=)", tuple(rise))](start=low, to=1.0)
