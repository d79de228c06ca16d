"""torch: the classes of torch.optim.lr_scheduler (and SWALR) as they are in 2.13, under their own names.

Each function takes the class's parameters, without the optimizer, and gives the factors that multiply the base
lr of the group. torch's schedulers know no horizon: what goes on for ever is open and fits any run; what comes
to its end and stays there ends in `hold()`, and fits any run that is at least as long; what comes to its end
and does something else there (CosineAnnealingLR, OneCycleLR) is as long as its parameters say, and does the
rest as its `.after(...)`.

The numbers are those of torch's closed forms. torch itself mostly computes each rate from the one before, and
is off by up to 1e-11 after 100,000 steps of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from lrkit.convert.arguments import as_factor, as_steps
from lrkit.convert.members import anew, head
from lrkit.convert.pieces import plateau_instead
from lrkit.convert.running_functions import Product, Triangles
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import (
    Absolute,
    Schedule,
    absolute,
    cosine,
    cyclic,
    exponential,
    from_function,
    hold,
    linear,
    milestones,
    one_cycle,
    one_cycle_momentum,
    polynomial,
    restarts,
    staircase,
    table,
)
from lrkit.schedule.cycles import Anneal
from lrkit.schedule.levels import as_choice, as_number, as_sequence

__all__ = ["CONTROLLERS", "ENTRIES", "MOMENTUM"]

_ANNEALS: Final[Mapping[str, Anneal]] = {"cos": "cosine", "linear": "linear"}


def lambda_lr(lr_lambda: Callable[[int], float]) -> Schedule:
    """f(t): `from_function(f)`. Of several functions, one for each group, each is a schedule of its own."""
    return from_function(_function(lr_lambda, "lr_lambda")).after("continue")


def multiplicative_lr(lr_lambda: Callable[[int], float]) -> Schedule:
    """f(1) f(2) ... f(t). A Python function, like `lambda_lr`.

    Known defect: entered by a SequentialLR, it multiplies by f(0) as well and does not return to the base lr.
    """
    return from_function(Product(_function(lr_lambda, "lr_lambda"))).after("continue")


def step_lr(step_size: int, gamma: float = 0.1) -> Schedule:
    """gamma^(t // step_size): `staircase(step_size, factor=gamma)`."""
    return staircase(as_steps(step_size, "step_size", least=1), factor=as_number(gamma, "gamma")).after(
        "continue"
    )


def multi_step_lr(milestones: list[int], gamma: float = 0.1) -> Schedule:
    """gamma^(number of milestones <= t), one that is listed twice counting twice: `milestones([...], factor=gamma)`."""
    marks = as_sequence(milestones)
    if marks is None:
        raise SpecError(f"milestones takes a list of whole numbers, not {brief(milestones)}")
    return _drops([as_steps(mark, "milestones") for mark in marks], as_number(gamma, "gamma"))


def constant_lr(factor: float = 1.0 / 3, total_iters: int = 5) -> Schedule:
    """`factor` for `total_iters` steps, then 1: `hold(n, level=factor) >> hold(level=1)`.

    Known defects: with total_iters=0 torch stays at `factor` for ever, and so does this; with factor=0 it
    divides by 0 at total_iters, where this goes to 1.
    """
    level, n = as_number(factor, "factor", most=1.0), as_steps(total_iters, "total_iters")
    return hold(n, level=level) >> hold(level=1.0) if n else hold(level=level)


def linear_lr(start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5) -> Schedule:
    """s + (e - s) min(t, n) / n: `linear(n, start=s, to=e) >> hold()`.

    Known defect: with total_iters=0 torch stays at `start_factor` for ever, and so does this.
    """
    start = as_number(start_factor, "start_factor", above=0.0, most=1.0)
    end, n = as_number(end_factor, "end_factor", most=1.0), as_steps(total_iters, "total_iters")
    return linear(n, start=start, to=end) >> hold() if n else hold(level=start)


def exponential_lr(gamma: float) -> Schedule:
    """gamma^t: `exponential(rate=gamma)`."""
    rate = as_number(gamma, "gamma")
    return exponential(rate=rate).after("continue") if rate else milestones([1], factor=0.0).after("continue")


def polynomial_lr(total_iters: int = 5, power: float = 1.0) -> Schedule:
    """(1 - min(t, n) / n)^power: `polynomial(n, power=power, to=0) >> hold()`. With n = 0 it is 1."""
    n, exponent = as_steps(total_iters, "total_iters"), as_number(power, "power")
    return polynomial(n, power=exponent, to=0.0) >> hold() if n and exponent else hold(level=1.0)


def cosine_annealing_lr(T_max: int, eta_min: float = 0.0, *, base_lr: float | None = None) -> Schedule:
    """e + (1 - e) (1 + cos(pi t / T_max)) / 2, e = eta_min / base_lr: `cosine(T_max, to=absolute(eta_min))`.

    Without `base_lr`, eta_min is an absolute level, right for groups of any base lr at or above it; torch would
    let the lr of the others rise.

    Known defect: after T_max it climbs again, with a period of 2 T_max. `.after("hold")` stays at eta_min.
    """
    n = as_steps(T_max, "T_max", least=1)
    return cosine(n, to=_rate(eta_min, "eta_min", base_lr)).after("continue")


def cosine_annealing_warm_restarts(
    T_0: int, T_mult: int = 1, eta_min: float = 0.0, *, base_lr: float | None = None
) -> Schedule:
    """A half wave from 1 to eta_min in T_0 steps, the next T_mult times as long: `restarts(T_0, growth=T_mult)`.

    `eta_min` and `base_lr` as in `cosine_annealing_lr`. Known defect, not in these numbers: `step(epoch)` finds the
    cycle by a float logarithm and misses some restarts.
    """
    first, growth = as_steps(T_0, "T_0", least=1), as_steps(T_mult, "T_mult", least=1)
    return restarts(first, growth=growth, to=_rate(eta_min, "eta_min", base_lr)).after("continue")


def cyclic_lr(
    base_lr: float,
    max_lr: float,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[float], float] | None = None,
    scale_mode: str = "cycle",
) -> Schedule:
    """Triangles between base_lr and max_lr, in units of base_lr: `hold(level=max/base) * cyclic(up, low=base/max)`.

    torch writes base_lr into the group as its base lr, so it is the unit here. Its momentum is in `MOMENTUM`.
    A scale function, a gamma above 1 and step sizes that are not whole make it a Python function.
    """
    peak = as_factor(max_lr, "max_lr", base_lr)
    return _triangles(peak, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)


def cyclic_lr_momentum(
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[float], float] | None = None,
    scale_mode: str = "cycle",
    base_momentum: float = 0.8,
    max_momentum: float = 0.9,
) -> Schedule:
    """CyclicLR's momentum (beta1), in units of max_momentum, which torch writes into the group."""
    low = as_number(base_momentum, "base_momentum") / as_number(max_momentum, "max_momentum", above=0.0)
    return _triangles(low, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)


def one_cycle_lr(
    max_lr: float,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
    *,
    base_lr: float = 1.0,
) -> Schedule:
    """`one_cycle(T, rise=pct_start, last="inclusive")` from max / div to max to that / final_div, over `base_lr`.

    Known defects, in these numbers: a run of 2 or 3 steps does not rise, the peak is reached only where
    pct_start * T is whole, and three phases with pct_start > 0.5 never come down. `one_cycle(T)` has none of
    these. Not in them: at step T torch bounces back (or goes below 0, or divides by 0) and then raises
    ValueError, where this holds the last value.
    """
    T = _total(total_steps, epochs, steps_per_epoch)
    peak = as_factor(max_lr, "max_lr", base_lr)
    start = 1.0 / as_number(div_factor, "div_factor", above=0.0)
    to = start / as_number(final_div_factor, "final_div_factor", above=0.0)
    rise, anneal = as_number(pct_start, "pct_start", most=1.0), _anneal(anneal_strategy)
    if three_phase and rise > 0.5:
        return _unfinished(T, rise, anneal, peak * start, peak)
    shape = one_cycle(
        T, rise=rise, start=start, to=to, anneal=anneal, phases=3 if three_phase else 2, last="inclusive"
    )
    return shape if peak == 1.0 else hold(level=peak) * shape


def one_cycle_lr_momentum(
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    three_phase: bool = False,
) -> Schedule:
    """OneCycleLR's momentum (beta1), in units of max_momentum, which torch writes into the group."""
    T = _total(total_steps, epochs, steps_per_epoch)
    low = as_number(base_momentum, "base_momentum") / as_number(max_momentum, "max_momentum", above=0.0)
    rise, anneal = as_number(pct_start, "pct_start", most=1.0), _anneal(anneal_strategy)
    if three_phase and rise > 0.5:
        return _unfinished(T, rise, anneal, 1.0, low)
    return one_cycle_momentum(
        T, rise=rise, low=low, anneal=anneal, phases=3 if three_phase else 2, last="inclusive"
    )


def swalr(
    swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos", *, base_lr: float | None = None
) -> Schedule:
    """From the base lr to swa_lr in `anneal_epochs`, and there it stays: `cosine(n, to=absolute(swa_lr)) >> hold()`.

    Without `base_lr`, swa_lr is an absolute level, for groups of any base lr at or above it. With 0 epochs it is
    swa_lr from the first.
    """
    n, to = as_steps(anneal_epochs, "anneal_epochs"), _rate(swa_lr, "swa_lr", base_lr)
    if not n:
        return hold(level=to)
    return (cosine(n, to=to) if _anneal(anneal_strategy) == "cosine" else linear(n, to=to)) >> hold()


def sequential_lr(schedulers: list[Schedule], milestones: list[int]) -> Schedule:
    """One after the other: number k begins anew, from the base lr, at step milestones[k - 1].

    `schedulers` are Schedules, such as the other functions here give. Known defects, not in these numbers:
    members that are themselves sequences or chains, resuming, and members that rewrite the group's initial lr.
    """
    members, marks = _members(schedulers), as_sequence(milestones)
    if marks is None or len(marks) != len(members) - 1:
        raise SpecError(
            f"{len(members)} schedulers take {len(members) - 1} milestones, not {brief(milestones)}"
        )
    ends = [0, *(as_steps(mark, "milestones") for mark in marks)]
    if ends != sorted(ends):
        raise SpecError(f"milestones {brief(milestones)} do not ascend")
    *first, last = members
    parts = [head(member, ends[k + 1] - ends[k]) for k, member in enumerate(first)]
    joined = parts[0] if parts else last
    for member in [*parts[1:], anew(last)] if parts else []:
        joined = joined >> member
    return joined


def chained_scheduler(schedulers: list[Schedule]) -> Schedule:
    """All at once, multiplied: `a * b`. `schedulers` are Schedules, such as the other functions here give.

    Known oddity, not in these numbers: a member that is not chainable (LambdaLR, CyclicLR, OneCycleLR,
    CosineAnnealingWarmRestarts) overwrites those before it, and eta_min is no floor of the product.
    """
    members = _members(schedulers)
    product = members[0].body
    for member in members[1:]:
        product = product * member.body
    return product.after("continue" if any(m.ending == "continue" for m in members) else "hold")


def reduce_lr_on_plateau(
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float | list[float] = 0.0,
    eps: float = 1e-8,
) -> NoReturn:
    """A controller, not a schedule."""
    rule = {"mode": mode, "factor": factor, "patience": patience, "threshold": threshold}
    more = {"threshold_mode": threshold_mode, "cooldown": cooldown, "min_lr": min_lr, "eps": eps}
    plateau_instead(rule | more)


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "ChainedScheduler": chained_scheduler,
    "ConstantLR": constant_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "CyclicLR": cyclic_lr,
    "ExponentialLR": exponential_lr,
    "LambdaLR": lambda_lr,
    "LinearLR": linear_lr,
    "MultiStepLR": multi_step_lr,
    "MultiplicativeLR": multiplicative_lr,
    "OneCycleLR": one_cycle_lr,
    "PolynomialLR": polynomial_lr,
    "SWALR": swalr,
    "SequentialLR": sequential_lr,
    "StepLR": step_lr,
}

MOMENTUM: Final[Mapping[str, Callable[..., Schedule]]] = {
    "CyclicLR": cyclic_lr_momentum,
    "OneCycleLR": one_cycle_lr_momentum,
}
"""The momentum (or beta1) that a class cycles with the lr, as a factor of its max_momentum."""

CONTROLLERS: Final[Mapping[str, Callable[..., Schedule]]] = {"ReduceLROnPlateau": reduce_lr_on_plateau}


def _triangles(
    peak: float,
    step_size_up: object,
    step_size_down: object,
    mode: object,
    gamma: object,
    scale_fn: Callable[[float], float] | None,
    scale_mode: object,
) -> Schedule:
    up = as_number(step_size_up, "step_size_up", above=0.0)
    down = up if step_size_down is None else as_number(step_size_down, "step_size_down", above=0.0)
    policy = as_choice(mode, "mode", ("triangular", "triangular2", "exp_range"))
    rate = as_number(gamma, "gamma", above=0.0)
    per = as_choice(scale_mode, "scale_mode", ("cycle", "iterations"))
    if scale_fn is not None:
        scale = _function(scale_fn, "scale_fn")
        shape = Triangles(peak, (up, down), scale, per_step=per == "iterations")
    elif up != int(up) or down != int(down) or (policy == "exp_range" and rate > 1.0) or not peak:
        powers: dict[str, Callable[[float], float]] = {
            "triangular": lambda _: 1.0,
            "triangular2": lambda cycle: 0.5 ** (cycle - 1.0),
            "exp_range": lambda step: rate**step,
        }
        shape = Triangles(peak, (up, down), powers[policy], per_step=policy == "exp_range")
    else:
        triangles = cyclic(
            int(up),
            down=int(down),
            low=1.0 / peak,
            cycle_decay=0.5 if policy == "triangular2" else 1.0,
            step_decay=rate if policy == "exp_range" else 1.0,
        )
        return (hold(level=peak) * triangles).after("continue")
    return from_function(shape).after("continue")


def _unfinished(T: int, rise: float, anneal: Anneal, start: float, peak: float) -> Schedule:
    """Three phases of which the second is not over at the end of the run: start -> peak -> towards start."""
    top, back = rise * T - 1.0, 2.0 * rise * T - 2.0
    values = []
    for step in range(T):
        begin, end, source, target = (0.0, top, start, peak) if step <= top else (top, back, peak, start)
        p = (step - begin) / (end - begin)
        share = p if anneal == "linear" else (1.0 - math.cos(math.pi * p)) / 2.0
        values.append(source + (target - source) * share)
    return table(values)


def _total(total_steps: object, epochs: object, steps_per_epoch: object) -> int:
    if total_steps is not None:
        return as_steps(total_steps, "total_steps", least=1)
    if epochs is None or steps_per_epoch is None:
        raise SpecError("give total_steps, or epochs and steps_per_epoch")
    return as_steps(epochs, "epochs", least=1) * as_steps(steps_per_epoch, "steps_per_epoch", least=1)


def _anneal(strategy: object) -> Anneal:
    return _ANNEALS[as_choice(strategy, "anneal_strategy", tuple(_ANNEALS))]


def _rate(rate: float, what: str, base_lr: float | None) -> float | Absolute:
    """A rate as a factor of the base lr, if that is known, else as an absolute level; 0 is 0 either way."""
    if base_lr is not None:
        return as_factor(rate, what, base_lr)
    return absolute(rate) if as_number(rate, what) else 0.0


def _drops(marks: list[int], gamma: float) -> Schedule:
    return milestones(marks, factor=gamma).after("continue") if marks else hold(level=1.0)


def _function(f: object, what: str) -> Callable[[float], float]:
    if not callable(f):
        raise SpecError(f"{what} takes a function of the step, not {brief(f)}")
    return f


def _members(schedulers: object) -> tuple[Schedule, ...]:
    members = as_sequence(schedulers) or ()
    if not members or not all(isinstance(member, Schedule) for member in members):
        raise SpecError(f"schedulers takes a list of Schedules, at least one, not {brief(schedulers)}")
    return tuple(member for member in members if isinstance(member, Schedule))
