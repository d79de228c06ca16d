"""timm's schedulers, over whatever their `step` or `step_update` is called with: here, updates.

In the formulas b = base_lr and t is the argument of that call. The warmup goes from
`warmup_lr_init` to b in W = warmup_t steps; with `warmup_prefix` the rest counts from its end, without it from 0, so
that it is entered late and the peak is skipped. `lr_min` and `warmup_lr_init` are absolute rates; timm multiplies
all by a group's own `lr_scale`, floor included. The constructor itself writes the base lr (or
warmup_lr_init) and no noise, so a loop that does not call `step(0)` may differ at t = 0. Checked against timm 1.0.31.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_flag, as_numbers, as_steps
from lrkit.convert.peers.timm_noise import noisy
from lrkit.convert.pieces import for_ever, plateau_instead, ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["CONTROLLERS", "ENTRIES"]

Cycle = Callable[[int, float, float], Schedule]
"""One cycle: its steps, its peak, and the level on which it ends."""

Profile = Callable[[float], float]
"""What is left of a fall after a share of its steps, from 1 to 0."""

_MOST = 1_000_000  # steps in a table


def cosine(
    *,
    t_initial: int,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    k_decay: float = 1.0,
    base_lr: float = 1.0,
) -> Schedule:
    """lr_min + (P - lr_min) (1 + cos(pi u^k)) / 2 at the share u of cycle i, P = b cycle_decay^i, k = k_decay.

    Cycle i lasts t_initial cycle_mul^i steps; after `cycle_limit` of them lr_min for ever.

    Defect: with cycle_mul, i comes from a logarithm whose rounding gives lr_min in place of the peak at some
    restarts (cycle_mul=3, t = 121 t_initial); the table keeps that. The spec without it:
    `restarts(t_initial, growth=cycle_mul, decay=cycle_decay, to=...)`.
    """
    k = as_number(k_decay, "k_decay", above=0.0)
    body = _cycles(
        lambda n, peak, low: s.cosine(n, start=peak, to=low, k=k),
        lambda u: 0.5 * (1.0 + math.cos(math.pi * u**k)),
        (t_initial, cycle_mul, cycle_decay, cycle_limit),
        as_factor(lr_min, "lr_min", base_lr),
    )
    whole = _warmed(body, warmup_t, warmup_lr_init, warmup_prefix, base_lr, t_in_epochs)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def poly(
    *,
    t_initial: int,
    power: float = 0.5,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    k_decay: float = 1.0,
    base_lr: float = 1.0,
) -> Schedule:
    """lr_min + (P - lr_min) (1 - u^k)^power within a cycle; cycles, P, k and the defect as in `cosine`.

    timm's factory passes its decay_rate (0.1 by default) as `power`.
    """
    k, c = as_number(k_decay, "k_decay", above=0.0), as_number(power, "power", above=0.0)
    body = _cycles(
        lambda n, peak, low: s.polynomial(n, power=c, start=peak, to=low, k=k),
        lambda u: max(0.0, 1.0 - u**k) ** c,
        (t_initial, cycle_mul, cycle_decay, cycle_limit),
        as_factor(lr_min, "lr_min", base_lr),
    )
    whole = _warmed(body, warmup_t, warmup_lr_init, warmup_prefix, base_lr, t_in_epochs)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def tanh(
    *,
    t_initial: int,
    lb: float = -7.0,
    ub: float = 3.0,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """lr_min + (P - lr_min) (1 - tanh(lb (1 - u) + ub u)) / 2 within a cycle; the rest as in `cosine`.

    Without `warmup_prefix` the warmup aims at this schedule's own value at W, which lies below the peak.
    """
    body = _cycles(
        lambda n, peak, low: s.tanh(n, lower=lb, upper=ub, start=peak, to=low),
        lambda u: 0.5 * (1.0 - math.tanh(lb * (1.0 - u) + ub * u)),
        (t_initial, cycle_mul, cycle_decay, cycle_limit),
        as_factor(lr_min, "lr_min", base_lr),
    )
    W = as_steps(warmup_t, "warmup_t")
    aim = 1.0
    if W and not as_flag(warmup_prefix, "warmup_prefix"):
        aim = body.over(max(W, t_initial * cycle_limit) + 1)(W)
    whole = _warmed(body, warmup_t, warmup_lr_init, warmup_prefix, base_lr, t_in_epochs, aim=aim)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def step(
    *,
    decay_t: float,
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """b decay_rate^(t // decay_t); the factory's "constant" is this with rate 1.

    A `decay_t` that is no whole number is baked into a table that ends once the factor is below 1e-18.
    """
    every, rate = as_number(decay_t, "decay_t", above=0.0), as_number(decay_rate, "decay_rate", most=1.0)
    body = (
        s.staircase(int(every), factor=rate).after("continue") if every.is_integer() else _stairs(every, rate)
    )
    whole = _warmed(body, warmup_t, warmup_lr_init, warmup_prefix, base_lr, t_in_epochs)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def multistep(
    *,
    decay_t: Sequence[int],
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """b decay_rate^(how many of decay_t are at most t + 1).

    Defect (kept there for old recipes): each milestone acts one step early, [3, 6] at 2 and 5. The spec without
    it: `milestones([3, 6], factor=decay_rate)`.
    """
    marks = [as_steps(mark, "decay_t") for mark in as_numbers(decay_t, "decay_t")]
    if marks != sorted(marks):
        raise SpecError(f"decay_t={marks} must ascend")
    body = s.milestones([max(0, mark - 1) for mark in marks], factor=as_number(decay_rate, "decay_rate"))
    body = body.after("continue")
    whole = _warmed(body, warmup_t, warmup_lr_init, warmup_prefix, base_lr, t_in_epochs)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def wsd(
    *,
    t_initial: int,
    decay_t: int,
    lr_min: float = 0.0,
    stable_fn: str = "constant",
    stable_timescale: int | None = None,
    stable_power: float = 0.5,
    decay_fn: str = "1-sqrt",
    decay_power: float = 0.5,
    decay_ratio: float = 0.1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    t_in_epochs: bool = True,
    noise_range_t: Sequence[int] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    noise_draws: Sequence[float] | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, then t_initial steps, in the last decay_t of which it falls to lr_min, which holds.

    The stable part is b, b / sqrt(1 + i / scale) ("rsqrt") or b (1 + i / scale)^-stable_power ("power"), at least
    lr_min, and keeps falling during the decay; scale is stable_timescale or W. `decay_fn`: "linear", "1-sqrt",
    "cosine", "power" (1 - q^decay_power), "exp" ((r^q - r) / (1 - r), r = decay_ratio). A falling stable part
    with a floor is no product of shapes and is baked into a table.
    """
    n, D, W = (
        as_steps(t_initial, "t_initial", least=1),
        as_steps(decay_t, "decay_t", least=1),
        as_steps(warmup_t, "warmup_t"),
    )
    if n < D:
        raise SpecError(f"decay_t={D} is longer than t_initial={n}")
    as_flag(t_in_epochs, "t_in_epochs")
    low = as_factor(lr_min, "lr_min", base_lr)
    fall: dict[str, Callable[[float], Schedule]] = {
        "linear": lambda to: s.linear(D, to=to),
        "1-sqrt": lambda to: s.one_minus_sqrt(D, to=to),
        "cosine": lambda to: s.cosine(D, to=to),
        "power": lambda to: s.polynomial(D, power=1.0, k=decay_power, to=to),
        "exp": lambda to: s.shifted_exponential(D, ratio=decay_ratio, to=to),
    }
    decay = fall[as_choice(decay_fn, "decay_fn", tuple(fall))]
    trunk = s.hold(n - D, level=1.0) if n > D else None
    kind = as_choice(stable_fn, "stable_fn", ("constant", "rsqrt", "power"))
    if kind == "constant":
        body = sequence(trunk, decay(low), s.hold())
    else:
        scale = as_steps(W if stable_timescale is None else stable_timescale, "stable_timescale", least=1)
        drift = s.power(scale, exponent=0.5 if kind == "rsqrt" else stable_power)
        share = sequence(trunk, decay(0.0), s.hold())
        body = (share * drift).after("continue")
        if low:
            falling, left = drift.clip(low=low).over(n + 1), share.over(n + 1)
            body = s.table((low + (falling.chunk(0, n + 1) - low) * left.chunk(0, n + 1)).tolist()).after(
                "continue"
            )
    whole = _warmed(body, W, warmup_lr_init, True, base_lr, t_in_epochs)
    return noisy(whole, noise_range_t, noise_pct, noise_std, noise_seed, noise_draws)


def plateau(
    *,
    decay_rate: float = 0.1,
    patience_t: int = 10,
    threshold: float = 1e-4,
    cooldown_t: int = 0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    lr_min: float = 0.0,
    mode: str = "max",
) -> NoReturn:
    """timm's wrapper of torch's ReduceLROnPlateau: a controller."""
    del warmup_lr_init
    rule = {"factor": decay_rate, "patience": patience_t, "threshold": threshold, "mode": mode}
    words = f"after warmup({warmup_t})" if warmup_t else ""
    plateau_instead(rule | {"cooldown": cooldown_t, "min_lr": lr_min, "after": warmup_t}, words)


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "CosineLRScheduler": cosine,
    "MultiStepLRScheduler": multistep,
    "PolyLRScheduler": poly,
    "StepLRScheduler": step,
    "TanhLRScheduler": tanh,
    "WSDLRScheduler": wsd,
}

CONTROLLERS: Final[Mapping[str, Callable[..., Schedule]]] = {"PlateauLRScheduler": plateau}


def _warmed(
    body: Schedule,
    warmup_t: int,
    warmup_lr_init: float,
    warmup_prefix: bool,
    base_lr: float,
    t_in_epochs: bool,
    aim: float = 1.0,
) -> Schedule:
    """The warmup, then the body: from its own start, or (without prefix) entered W steps late."""
    as_flag(t_in_epochs, "t_in_epochs")
    W, start = as_steps(warmup_t, "warmup_t"), as_factor(warmup_lr_init, "warmup_lr_init", base_lr)
    return sequence(
        ramp(W, start=start, to=aim), body if as_flag(warmup_prefix, "warmup_prefix") else body.skip(W)
    )


def _cycles(cycle: Cycle, left: Profile, plan: tuple[int, float, float, int], low: float) -> Schedule:
    """So many cycles, then the floor. Equal ones are phases; growing ones are a table, rounded as timm rounds."""
    n, count = as_steps(plan[0], "t_initial", least=1), as_steps(plan[3], "cycle_limit")
    growth, decay = as_number(plan[1], "cycle_mul"), as_number(plan[2], "cycle_decay")
    if growth < 1.0:
        raise SpecError(f"cycle_mul={growth:.6g}: timm breaks down when cycles shrink, give 1 or more")
    if growth == 1.0:
        return sequence(*(cycle(n, decay**i, low) for i in range(count)), for_ever(low))
    values = []
    for t in range(_bounded(n * (growth**count - 1) / (growth - 1) + 2)):
        i = math.floor(math.log(1 - t / n * (1 - growth), growth))
        # By rounding a cycle may seem to begin after its first step.
        passed, length = max(0.0, t - (1 - growth**i) / (1 - growth) * n), growth**i * n
        values.append(low + (decay**i - low) * left(passed / length) if i < count else low)
    return s.table([*values, low]).after("continue")


def _stairs(every: float, rate: float) -> Schedule:
    """Stairs of no whole length, down to where nothing is left."""
    if rate == 1.0:
        return s.hold(level=1.0)
    drops = 1.0 if rate == 0.0 else math.log(1e-18) / math.log(rate)
    return s.table([rate ** (t // every) for t in range(_bounded(every * (drops + 1)))]).after("continue")


def _bounded(steps: float) -> int:
    if steps > _MOST:
        raise SpecError(
            f"it would take a table of {steps:.3g} steps, at most {_MOST}: give whole, shorter cycles"
        )
    return math.ceil(steps)
