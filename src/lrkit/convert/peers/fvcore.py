"""fvcore's parameter schedulers, functions of `where` = t / T, the share of the run that is done.

Absolute values become factors of `base_lr`. Past the end the peer's own formulas go on where they can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_items, as_numbers, as_steps
from lrkit.convert.pieces import for_ever, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number
from lrkit.spec.text import parse_call

__all__ = ["ENTRIES"]

_EPSILON = 1e-6  # what the peer adds to `where` at its borders


def constant(*, value: float, base_lr: float = 1.0) -> Schedule:
    """`value`. Defect: at where = 1 the peer raises RuntimeError; here it holds."""
    return s.hold(level=as_factor(value, "value", base_lr))


def cosine(*, start_value: float, end_value: float, base_lr: float = 1.0) -> Schedule:
    """end + (start - end) (1 + cos(pi where)) / 2, a wave that goes on past the end."""
    ends = as_factor(start_value, "start_value", base_lr), as_factor(end_value, "end_value", base_lr)
    return s.cosine(start=ends[0], to=ends[1]).after("continue")


def exponential(*, start_value: float, decay: float, base_lr: float = 1.0) -> Schedule:
    """start decay^where, for ever."""
    start, rate = as_factor(start_value, "start_value", base_lr), as_number(decay, "decay", above=0.0)
    return s.exponential(start=start, to=start * rate).after("continue")


def linear(*, start_value: float, end_value: float, base_lr: float = 1.0) -> Schedule:
    """A line that goes on past the end, there even to negative values (here it stays at 0)."""
    ends = as_factor(start_value, "start_value", base_lr), as_factor(end_value, "end_value", base_lr)
    return s.linear(start=ends[0], to=ends[1]).after("continue")


def polynomial_decay(*, base_value: float, power: float, base_lr: float = 1.0) -> Schedule:
    """base (1 - where)^power. Defect: past the end the peer's value is complex or negative; here it is 0."""
    start = as_factor(base_value, "base_value", base_lr)
    return s.polynomial(power=as_number(power, "power", above=0.0), start=start, to=0.0)


def step(*, num_updates: int, values: Sequence[float], base_lr: float = 1.0) -> Schedule:
    """The values in turn, each for an equal share of the T = num_updates steps (the peer never looks at those).

    Defect: at where = 1 the peer raises IndexError; here the last value holds.
    """
    T = as_steps(num_updates, "num_updates", least=1)
    levels = [as_factor(value, "values", base_lr) for value in as_numbers(values, "values")]
    n = len(levels)
    return _levels(levels, [_first(n, k, T) for k in range(1, n)])


def step_with_fixed_gamma(
    *, base_value: float, num_decays: int, gamma: float, num_updates: int, base_lr: float = 1.0
) -> Schedule:
    """base gamma^k in the k-th of num_decays + 1 equal shares of the T = num_updates steps; IndexError as in Step."""
    drop, count = as_number(gamma, "gamma", above=0.0), as_steps(num_decays, "num_decays", least=1)
    values = [as_number(base_value, "base_value", above=0.0)]
    for _ in range(count):
        values.append(values[-1] * drop)
    return step(num_updates=num_updates, values=values, base_lr=base_lr)


def multi_step(
    *,
    values: Sequence[float],
    num_updates: int | None = None,
    milestones: Sequence[int] | None = None,
    steps: int | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """values[k] from the k-th milestone on, in any unit of which the run has `num_updates` (else milestones[-1]).

    `steps`, lrkit's own, is the run's length T where that is not the unit. A border lies where
    int((t / T + 1e-6) num_updates) reaches the milestone, which in runs of more than 1e6 steps is early.
    """
    levels = [as_factor(value, "values", base_lr) for value in as_numbers(values, "values")]
    whole, marks = _milestones(len(levels), num_updates, milestones)
    T = whole if steps is None else as_steps(steps, "steps", least=1)
    borders = [_first(whole, mark, T) for mark in marks]
    return _levels(levels, borders)


def composite(
    *,
    schedulers: Sequence[Any],
    lengths: Sequence[float],
    interval_scaling: Sequence[str],
    steps: int,
    base_lr: float = 1.0,
) -> Schedule:
    """Several in turn, each for its share of the run of T = `steps` (lrkit's own parameter): a table.

    `schedulers` holds texts such as "CosineParamScheduler(start_value=1, end_value=0)" or pairs (name, parameters).
    "rescaled" runs one through in its share, "fixed" as if it had the whole run. Past the end the last one's
    formula is not asked: the last value holds.
    """
    T = as_steps(steps, "steps", least=1)
    shares = list(as_numbers(lengths, "lengths"))
    parts = [_function(scheduler) for scheduler in as_items(schedulers, "schedulers")]
    modes = [
        as_choice(mode, "interval_scaling", ("rescaled", "fixed"))
        for mode in as_items(interval_scaling, "interval_scaling")
    ]
    if not len(parts) == len(shares) == len(modes) or abs(sum(shares) - 1.0) >= 1e-3:
        raise SpecError(
            "schedulers, lengths and interval_scaling must be as many, and the lengths add up to 1"
        )
    shares[-1] = 1.0 - sum(shares[:-1]) if sum(shares) != 1.0 else shares[-1]

    def value(where: float) -> float:
        k, total = 0, shares[0]
        while where + _EPSILON > total and k < len(parts) - 1:
            k += 1
            total += shares[k]
        return parts[k]((where - (total - shares[k])) / shares[k] if modes[k] == "rescaled" else where)

    return s.table([as_factor(value(t / T), "the composite", base_lr) for t in range(T)])


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "CompositeParamScheduler": composite,
    "ConstantParamScheduler": constant,
    "CosineParamScheduler": cosine,
    "ExponentialParamScheduler": exponential,
    "LinearParamScheduler": linear,
    "MultiStepParamScheduler": multi_step,
    "PolynomialDecayParamScheduler": polynomial_decay,
    "StepParamScheduler": step,
    "StepWithFixedGammaParamScheduler": step_with_fixed_gamma,
}

Where = Callable[[float], float]

_FUNCTIONS: Final[Mapping[str, Callable[..., Where]]] = {
    "ConstantParamScheduler": lambda value: lambda w: value,
    "CosineParamScheduler": lambda start_value, end_value: (
        lambda w: end_value + 0.5 * (start_value - end_value) * (1 + math.cos(math.pi * w))
    ),
    "ExponentialParamScheduler": lambda start_value, decay: lambda w: start_value * decay**w,
    "LinearParamScheduler": lambda start_value, end_value: lambda w: end_value * w + start_value * (1 - w),
    "PolynomialDecayParamScheduler": lambda base_value, power: lambda w: base_value * (1 - w) ** power,
    "StepParamScheduler": lambda num_updates, values: (
        lambda w: values[min(len(values) - 1, int((w + _EPSILON) * len(values)))]
    ),
}
"""The simple ones as functions of `where`, which a composite asks between the steps of any curve."""


def _function(scheduler: Any) -> Where:
    if isinstance(scheduler, str):
        return parse_call(scheduler, _FUNCTIONS, noun="scheduler")
    try:
        name, parameters = scheduler
        return _FUNCTIONS[name](**parameters)
    except (TypeError, ValueError, KeyError):
        raise SpecError(
            f"schedulers takes texts such as 'ConstantParamScheduler(value=1)' or pairs, not {brief(scheduler)}"
        ) from None


def _levels(levels: Sequence[float], borders: Sequence[int]) -> Schedule:
    """Each level up to its border, the last for ever."""
    holds = [
        s.hold(end - begin, level=level) if end > begin else None
        for level, (begin, end) in zip(levels, pairwise([0, *borders]), strict=False)
    ]
    return sequence(*holds, for_ever(levels[-1]))


def _first(unit: int, mark: int, T: int) -> int:
    """The first step t of T at which int((t / T + epsilon) unit) has reached the mark."""
    guess = math.floor((mark / unit - _EPSILON) * T)
    return next(t for t in range(max(0, guess - 1), guess + 4) if int((t / T + _EPSILON) * unit) >= mark)


def _milestones(
    count: int, num_updates: int | None, milestones: Sequence[int] | None
) -> tuple[int, list[int]]:
    """The unit's number in the run, and the borders in it, by the peer's rules for what is left out."""
    if milestones is None:
        if num_updates is None:
            raise SpecError("num_updates or milestones is to be given")
        whole = as_steps(num_updates, "num_updates", least=1)
        return whole, [math.ceil(whole / count) * (k + 1) for k in range(count - 1)]
    marks = [as_steps(mark, "milestones", least=1) for mark in as_items(milestones, "milestones")]
    if len(marks) != count - (num_updates is not None):
        raise SpecError(
            f"{len(marks)} milestones for {count} values: it takes one fewer, or the end as the last"
        )
    whole = marks.pop() if num_updates is None else as_steps(num_updates, "num_updates", least=1)
    if marks != sorted(set(marks)) or (marks and marks[-1] >= whole):
        raise SpecError(f"milestones={list(milestones or ())} must ascend and end before {whole}")
    return whole, marks
