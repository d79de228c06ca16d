"""Keras 3.15: `keras.optimizers.schedules`, under its class names and with their parameters (`name` apart).

Keras speaks in rates: `base_lr` (1 unless given) is the lr of the optimizer that is to use them, factor = rate /
base_lr. It knows no horizon: all of these are open, and hold or go on after their phases as said at each.

The numbers are those of Keras in float64. As it comes it computes in the type of the initial rate, float32: up to
1.7e-4 off near the end of a cosine. The callback ReduceLROnPlateau is feedback: see `lrkit.control.plateau`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NoReturn

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_flag, as_numbers, as_steps
from lrkit.convert.pieces import plateau_instead, ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number, as_sequence

__all__ = ["CONTROLLERS", "ENTRIES"]


def exponential_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """initial rate^(t / n), n = `decay_steps`, the exponent rounded down if `staircase`. Goes on for ever."""
    initial = as_factor(initial_learning_rate, "initial_learning_rate", base_lr)
    n, rate = as_steps(decay_steps, "decay_steps", least=1), as_number(decay_rate, "decay_rate")
    if as_flag(staircase, "staircase"):
        return s.staircase(n, factor=rate, start=initial).after("continue")
    if rate == 0.0:  # 0^0 is 1
        return s.hold(1, level=initial) >> s.hold(level=0.0)
    return s.exponential(rate=rate, every=n, start=initial).after("continue")


def inverse_time_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """initial / (1 + rate t / n), t / n rounded down if `staircase`. Goes on for ever."""
    initial = as_factor(initial_learning_rate, "initial_learning_rate", base_lr)
    n, rate = as_steps(decay_steps, "decay_steps", least=1), as_number(decay_rate, "decay_rate")
    form: Literal["smooth", "stair"] = "stair" if as_flag(staircase, "staircase") else "smooth"
    if rate == 0.0:
        return s.hold(level=initial)
    return s.inverse_time(rate, every=n, form=form, start=initial).after("continue")


def piecewise_constant_decay(
    boundaries: Sequence[int], values: Sequence[float], *, base_lr: float = 1.0
) -> Schedule:
    """values[k] while t <= boundaries[k], then the last value.

    Known oddity: a value changes one step *after* its boundary (torch and optax change at it). In lrkit's sense of
    a boundary: `hold(b, level=v0) >> hold(level=v1)`.
    """
    rates = [as_factor(value, "values", base_lr) for value in as_numbers(values, "values")]
    marks = [as_steps(mark, "boundaries") + 1 for mark in as_sequence(boundaries) or ()]
    if len(marks) != len(rates) - 1 or not marks or sorted(set(marks)) != marks:
        raise SpecError(
            f"{len(rates)} values take {len(rates) - 1} rising boundaries (at least one), not {boundaries}"
        )
    lengths = [end - begin for begin, end in zip([0, *marks], marks, strict=False)]
    steps = [s.hold(n, level=rate) for n, rate in zip(lengths, rates, strict=False)]
    return sequence(*steps, s.hold(level=rates[-1]))


def polynomial_decay(
    initial_learning_rate: float,
    decay_steps: int,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """end + (initial - end) (1 - t / n)^power over n = `decay_steps`; then end.

    With `cycle`, n is n ceil(t / n) (n at t = 0): each fall to end is followed by one from a lower start, for ever.
    No shape rises so, hence that one is a function of the step: it has no text.
    """
    initial = as_factor(initial_learning_rate, "initial_learning_rate", base_lr)
    end = as_factor(end_learning_rate, "end_learning_rate", base_lr)
    n, exponent = as_steps(decay_steps, "decay_steps", least=1), as_number(power, "power")
    if as_flag(cycle, "cycle"):

        def falls(step: int) -> float:
            left = 1.0 - step / (n * max(1, -(-step // n)))
            return float(end + (initial - end) * left**exponent)

        return s.from_function(falls).after("continue")
    if exponent == 0.0:
        return s.hold(level=initial)
    if exponent == 1.0:
        return s.linear(n, start=initial, to=end) >> s.hold()
    return s.polynomial(n, power=exponent, start=initial, to=end) >> s.hold()


def cosine_decay(
    initial_learning_rate: float,
    decay_steps: int,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """A half cosine to alpha times its start over n = `decay_steps`; then that.

    With a `warmup_target` it starts there, after a line from initial over `warmup_steps`, which come on top of n.
    Known defect: without a `warmup_target`, `warmup_steps` count for nothing. In lrkit: `warmup(W) >> cosine(n)`.
    """
    initial = as_factor(initial_learning_rate, "initial_learning_rate", base_lr)
    n, part = as_steps(decay_steps, "decay_steps", least=1), as_number(alpha, "alpha")
    steps = as_steps(warmup_steps, "warmup_steps")
    if warmup_target is None:
        return s.cosine(n, start=initial, to=initial * part) >> s.hold()
    top = as_factor(warmup_target, "warmup_target", base_lr)
    return sequence(ramp(steps, start=initial, to=top), s.cosine(n, start=top, to=top * part), s.hold())


def cosine_decay_restarts(
    initial_learning_rate: float,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """initial ((1 - alpha) m^k (1 + cos(pi p)) / 2 + alpha) in cycle k, of n t^k steps. Goes on for ever.

    n = `first_decay_steps`, t = `t_mul`, m = `m_mul`, p the progress in the cycle. Where `restarts` says it (cycles
    of whole steps, and m = 1 or alpha = 0), it is one; else a function of the step, without text.

    Known defect: Keras finds k by a floating-point logarithm, and may take the first step of a cycle for the last
    one before it (alpha for the peak). Which steps that are depends on backend and type; here none is.
    """
    initial = as_factor(initial_learning_rate, "initial_learning_rate", base_lr)
    n = as_steps(first_decay_steps, "first_decay_steps", least=1)
    growth, fade = as_number(t_mul, "t_mul", above=0.0), as_number(m_mul, "m_mul", above=0.0)
    part = as_number(alpha, "alpha")
    if growth.is_integer() and growth >= 1.0 and (fade == 1.0 or (part == 0.0 and fade < 1.0)):
        return s.restarts(n, growth=growth, decay=fade, start=initial, to=initial * part).after("continue")
    if growth < 1.0:
        raise SpecError(
            f"t_mul={growth:.6g}: cycles that shrink come to an end, after which Keras gives no number"
        )

    def wave(step: int) -> float:
        cycle, progress = _place(step, n, growth)
        return initial * ((1.0 - part) * fade**cycle * 0.5 * (1.0 + math.cos(math.pi * progress)) + part)

    return s.from_function(wave).after("continue")


def reduce_lr_on_plateau(
    monitor: str = "val_loss",
    factor: float = 0.1,
    patience: int = 10,
    verbose: int = 0,
    mode: str = "auto",
    min_delta: float = 1e-4,
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> NoReturn:
    """The callback: a controller, which cuts one bad epoch sooner than torch's and forgets its best at each `fit`."""
    del verbose
    upwards = mode == "max" or (mode == "auto" and "acc" in monitor)
    given = {
        "mode": "max" if upwards else "min",
        "factor": factor,
        "threshold": min_delta,
        "threshold_mode": "abs",
    }
    given |= {"patience": max(0, as_steps(patience, "patience") - 1), "cooldown": cooldown, "min_lr": min_lr}
    plateau_instead(given)


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "CosineDecay": cosine_decay,
    "CosineDecayRestarts": cosine_decay_restarts,
    "ExponentialDecay": exponential_decay,
    "InverseTimeDecay": inverse_time_decay,
    "PiecewiseConstantDecay": piecewise_constant_decay,
    "PolynomialDecay": polynomial_decay,
}

CONTROLLERS: Final[Mapping[str, Callable[..., NoReturn]]] = {"ReduceLROnPlateau": reduce_lr_on_plateau}


def _place(step: int, first: int, growth: float) -> tuple[int, float]:
    """The cycle of a step and the progress in it, the cycles' borders being no whole steps."""
    if growth == 1.0:
        return step // first, step % first / first
    cycle, begin, length = 0, 0.0, float(first)
    while step >= begin + length:
        cycle, begin, length = cycle + 1, begin + length, length * growth
    return cycle, (step - begin) / length
