"""optax: its schedules as they are in 0.2.8, under its own names and with its own parameters.

optax's schedules are rates, and know no horizon: `base_lr` (1 unless given) is the lr of the optimizer that is
to use them, factor = rate / base_lr, and all of them are open, so that any run fits that is at least as long as
their phases. After their last phase they hold, or go on where the docstring says so.

The numbers are those of optax with `jax_enable_x64`. Without it optax computes in float32: up to 1.7e-4 off near
the end of a cosine, and steps above 2^24 run together. `contrib.reduce_on_plateau` is feedback, not a function of
the step: see `lrkit.control.plateau`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_flag, as_items, as_share, as_steps
from lrkit.convert.joining import join
from lrkit.convert.pieces import plateau_instead, ramp, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["CONTROLLERS", "ENTRIES"]


def constant_schedule(value: float, *, base_lr: float = 1.0) -> Schedule:
    """`value`, for ever."""
    return s.hold(level=as_factor(value, "value", base_lr))


def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """end + (init - end) (1 - (c - begin) / n)^power for n steps from `begin` on: init before, end after.

    Known oddity: with n <= 0 it stays at *init* for ever, not at end.
    """
    init = as_factor(init_value, "init_value", base_lr)
    end = as_factor(end_value, "end_value", base_lr)
    exponent = as_number(power, "power")
    n = as_steps(transition_steps, "transition_steps")
    if n == 0 or exponent == 0.0:
        return s.hold(level=init)
    if exponent == 1.0:
        return _from(transition_begin, init, s.linear(n, start=init, to=end)) >> s.hold()
    return _from(transition_begin, init, s.polynomial(n, power=exponent, start=init, to=end)) >> s.hold()


def linear_schedule(
    init_value: float,
    end_value: float,
    transition_steps: int,
    transition_begin: int = 0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """A straight line from init to end, as `polynomial_schedule` with power 1 and with its oddity."""
    return polynomial_schedule(
        init_value, end_value, 1.0, transition_steps, transition_begin, base_lr=base_lr
    )


def piecewise_constant_schedule(
    init_value: float,
    boundaries_and_scales: Mapping[int, float] | None = None,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """init times the scales of all boundaries at or before the count."""
    init = as_factor(init_value, "init_value", base_lr)
    marks = _boundaries(boundaries_and_scales)
    if not marks:
        return s.hold(level=init)
    return s.milestones([mark for mark, _ in marks], factor=[scale for _, scale in marks], start=init)


def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: Mapping[int, float] | None = None,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """From init to init times the first scale at the first boundary, and so on, by lines or half cosines.

    `interpolate_type` is "linear" or "cosine". Each scale multiplies the level before it.
    """
    kind = as_choice(interpolate_type, "interpolate_type", ("cosine", "linear"))
    shape: Callable[..., Schedule] = s.linear if kind == "linear" else s.cosine
    level = as_factor(init_value, "init_value", base_lr)
    phases: list[Schedule] = []
    begin = 0
    for mark, scale in _boundaries(boundaries_and_scales):
        if mark > begin:
            phases.append(shape(mark - begin, start=level, to=level * scale))
        begin, level = mark, level * scale
    return sequence(*phases, s.hold() if phases else s.hold(level=level))


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """init rate^((c - begin) / n), the exponent rounded down if `staircase`; init until `begin`. Goes on for ever.

    `end_value` bounds it: from below for a rate under 1, else from above. Known oddities: with n = 0, or with a rate
    of 0, it stays at init for ever; and compiled (`jax.jit`) it multiplies by 1 / n, so that for some n a stair comes
    one step late (n = 49: at 50). Here it comes in time, as when optax is called count by count.
    """
    init = as_factor(init_value, "init_value", base_lr)
    n, rate = as_steps(transition_steps, "transition_steps"), as_number(decay_rate, "decay_rate")
    if n == 0 or rate == 0.0:
        return s.hold(level=init)
    stairs = as_flag(staircase, "staircase")
    decay = (
        s.staircase(n, factor=rate, start=init) if stairs else s.exponential(rate=rate, every=n, start=init)
    )
    whole = _from(transition_begin, init, decay)
    if end_value is not None:
        end = as_factor(end_value, "end_value", base_lr)
        whole = whole.clip(low=end) if rate < 1.0 else whole.clip(high=end)
    return whole.after("continue")


def cosine_decay_schedule(
    init_value: float,
    decay_steps: int,
    alpha: float = 0.0,
    exponent: float = 1.0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """init ((1 - alpha) ((1 + cos(pi c / n)) / 2)^exponent + alpha), n = `decay_steps`; then init alpha."""
    init = as_factor(init_value, "init_value", base_lr)
    to = init * as_number(alpha, "alpha")
    return _cosine(as_steps(decay_steps, "decay_steps", least=1), init, to, exponent) >> s.hold()


def warmup_constant_schedule(
    init_value: float, peak_value: float, warmup_steps: int, *, base_lr: float = 1.0
) -> Schedule:
    """A line from init to peak over W steps, then peak.

    Known defect: with W = 0 it stays at *init* for ever (at 0, if that is where the warmup was to begin). Right:
    `warmup(W) >> hold()`.
    """
    return linear_schedule(init_value, peak_value, warmup_steps, base_lr=base_lr)


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """A line from init to peak over W steps, then a half cosine to end, at `decay_steps` *with* the warmup.

    In lrkit, without an update spent on init: `warmup(W) >> cosine(decay_steps - W, to=end / peak)`.
    """
    wave = _wave(init_value, peak_value, warmup_steps, decay_steps, end_value, exponent, base_lr=base_lr)
    return wave >> s.hold()


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """A line from init to peak over W steps, then `exponential_decay` from peak, whose steps count from there."""
    rise = _warmup(init_value, as_factor(peak_value, "peak_value", base_lr), warmup_steps, base_lr)
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value, base_lr=base_lr
    )
    return sequence(rise, decay.body, after=decay.ending)


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """Lines: peak / div -> peak at int(pct_start n) -> peak / div at int(pct_final n) -> that / final_div at n.

    Known defect: with n of 2 or 3 int(0.3 n) is 0, and there is no rise. Right: `one_cycle(n)`, whose peak lies
    on a whole step (half up).
    """
    n, div, final = _one_cycle(transition_steps, div_factor, final_div_factor)
    marks = {
        _part(pct_start, n, "pct_start"): div,
        _part(pct_final, n, "pct_final"): 1.0 / div,
        n: 1.0 / final,
    }
    return piecewise_interpolate_schedule(
        "linear", as_number(peak_value, "peak_value") / div, marks, base_lr=base_lr
    )


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """Half cosines: peak / div -> peak at int(pct_start n) -> peak / (div final_div) at n = `transition_steps`.

    torch's OneCycleLR reaches the peak one step earlier, and its minimum at n - 1. Known defect: as the linear one.
    """
    n, div, final = _one_cycle(transition_steps, div_factor, final_div_factor)
    marks = {_part(pct_start, n, "pct_start"): div, n: 1.0 / (div * final)}
    return piecewise_interpolate_schedule(
        "cosine", as_number(peak_value, "peak_value") / div, marks, base_lr=base_lr
    )


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]], *, base_lr: float = 1.0) -> Schedule:
    """One `warmup_cosine_decay_schedule` after the other, each for its own `decay_steps`, from its own arguments."""
    cycles = []
    for place, arguments in enumerate(as_items(cosine_kwargs, "cosine_kwargs")):
        if not isinstance(arguments, Mapping):
            raise SpecError(f"cosine_kwargs[{place}] takes arguments by name, not {brief(arguments)}")
        try:
            cycles.append(_wave(**arguments, base_lr=base_lr))
        except (SpecError, TypeError) as error:
            raise SpecError(f"cosine_kwargs[{place}]: {str(error).removeprefix('_wave() ')}") from None
    if not cycles:
        raise SpecError(
            "cosine_kwargs is empty: give warmup_cosine_decay_schedule's arguments for each cycle"
        )
    return sequence(*cycles, s.hold())


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """The first schedule before the first boundary, then the second, counting from there, and so on.

    The schedules are lrkit's own, those of this table among them (so their `base_lr` is the one that counts). One
    that is longer than its stretch is cut short, its factors up to there written out as a table.
    """
    return join(schedules, boundaries)


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> NoReturn:
    """`optax.contrib.reduce_on_plateau`: a controller, which cuts one bad value sooner than torch's."""
    mode = (
        {"threshold": rtol, "threshold_mode": "rel"}
        if not atol
        else {"threshold": atol, "threshold_mode": "abs"}
    )
    given = {
        "factor": factor,
        "patience": max(0, as_steps(patience, "patience") - 1),
        **mode,
        "cooldown": cooldown,
    }
    if as_steps(accumulation_size, "accumulation_size", least=1) > 1:
        given |= {"every": accumulation_size}
    plateau_instead(given, f"and .clip(low={as_number(min_scale, 'min_scale'):g}) for min_scale")


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    build.__name__: build
    for build in (
        constant_schedule,
        cosine_decay_schedule,
        cosine_onecycle_schedule,
        exponential_decay,
        join_schedules,
        linear_onecycle_schedule,
        linear_schedule,
        piecewise_constant_schedule,
        piecewise_interpolate_schedule,
        polynomial_schedule,
        sgdr_schedule,
        warmup_constant_schedule,
        warmup_cosine_decay_schedule,
        warmup_exponential_decay_schedule,
    )
}

CONTROLLERS: Final[Mapping[str, Callable[..., NoReturn]]] = {"reduce_on_plateau": reduce_on_plateau}


def _from(begin: object, init: float, decay: Schedule) -> Schedule:
    """`decay` after `begin` steps at init."""
    wait = as_steps(begin, "transition_begin")
    return s.hold(wait, level=init) >> decay if wait else decay


def _wave(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
    *,
    base_lr: float,
) -> Schedule:
    """A warmup and a half cosine, which end at `decay_steps`."""
    peak = as_factor(peak_value, "peak_value", base_lr)
    # optax scales a cosine that falls from 1, and with a peak of 0 there is nothing to scale.
    end = as_factor(end_value, "end_value", base_lr) if peak else 0.0
    rise = _warmup(init_value, peak, warmup_steps, base_lr)
    steps = as_steps(decay_steps, "decay_steps") - as_steps(warmup_steps, "warmup_steps")
    if steps < 1:
        raise SpecError(
            f"decay_steps={decay_steps} counts the warmup, so it must exceed warmup_steps={warmup_steps}"
        )
    return sequence(rise, _cosine(steps, peak, end, exponent))


def _warmup(init_value: object, peak: float, warmup_steps: object, base_lr: object) -> Schedule | None:
    init = as_factor(init_value, "init_value", base_lr)
    return ramp(as_steps(warmup_steps, "warmup_steps"), start=init, to=peak)


def _cosine(steps: int, start: float, to: float, exponent: object) -> Schedule:
    return s.cosine(steps, start=start, to=to, exponent=as_number(exponent, "exponent", above=0.0))


def _boundaries(given: object) -> list[tuple[int, float]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SpecError(f"boundaries_and_scales takes a dict of step: scale, not {brief(given)}")
    pairs = (
        (as_steps(mark, "a boundary"), as_number(scale, f"the scale at {mark}"))
        for mark, scale in given.items()
    )
    return sorted(pairs)


def _one_cycle(steps: object, div: object, final: object) -> tuple[int, float, float]:
    return (
        as_steps(steps, "transition_steps", least=1),
        as_number(div, "div_factor", above=0.0),
        as_number(final, "final_div_factor", above=0.0),
    )


def _part(share: object, steps: int, name: str) -> int:
    return int(as_share(share, name) * steps)
