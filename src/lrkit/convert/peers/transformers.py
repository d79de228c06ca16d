"""transformers' schedules: those of `get_scheduler`, which a Trainer's `lr_scheduler_type` names.

In the formulas W = num_warmup_steps, T = num_training_steps, and p = (t - W) / max(1, T - W) from step W on. Before
it each schedule warms up along t / max(1, W) unless it says otherwise, so that update 0 is spent on rate 0:
`warmup(W)` in place of the first `linear(...)` spends none. Checked against transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_share, as_steps, only_one
from lrkit.convert.pieces import landing, over_own_length, plateau_instead, ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["CONTROLLERS", "ENTRIES"]


def constant(*, num_warmup_steps: int = 0) -> Schedule:
    """1 for ever. `num_warmup_steps` is taken and has no effect, as there."""
    as_steps(num_warmup_steps, "num_warmup_steps")
    return s.hold()


def constant_with_warmup(*, num_warmup_steps: int) -> Schedule:
    """The warmup, then 1 for ever."""
    return sequence(ramp(as_steps(num_warmup_steps, "num_warmup_steps")), s.hold())


def linear(*, num_warmup_steps: int, num_training_steps: int) -> Schedule:
    """1 - p, 0 after the end. A warmup beyond T goes on after T, and drops to 0 at W."""
    W = as_steps(num_warmup_steps, "num_warmup_steps")
    T = as_steps(num_training_steps, "num_training_steps", least=1)
    if W >= T:
        return over_own_length(sequence(ramp(W), landing(0.0)), W, T)
    return sequence(ramp(W), s.linear(T - W, to=0.0))


def cosine(*, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Schedule:
    """(1 + cos(2 pi num_cycles p)) / 2.

    Defect: after the end the wave goes on, so the rate rises again. The spec without it is the same without
    `.after(continue)`. A warmup of T steps or more is followed by 1, 0, 1, 0 ...
    """
    cycles = as_number(num_cycles, "num_cycles", above=0.0)
    return _warmed(
        num_warmup_steps,
        num_training_steps,
        lambda n: s.cosine(n, to=0.0, cycles=cycles).after("continue"),
    )


def cosine_with_restarts(
    *, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1
) -> Schedule:
    """(1 + cos(pi (num_cycles p mod 1))) / 2, and 0 from p = 1 on; with 0 cycles 1 until then."""
    cycles = as_number(num_cycles, "num_cycles")

    def decay(n: int) -> Schedule:
        if cycles:
            return s.cosine_restarts(n, cycles=cycles, to=0.0) >> landing(0.0)
        return s.hold(n, level=1.0) >> landing(0.0)

    return _warmed(num_warmup_steps, num_training_steps, decay)


def polynomial(
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    base_lr: float = 1.0,
) -> Schedule:
    """L + (1 - L) (1 - p)^power, L = lr_end / base_lr, and L after the end.

    Defect: L is a share of the optimizer's default lr, so a group with another lr ends at another rate than
    `lr_end`. The spec without it ends with `polynomial(power=power, to=absolute(lr_end))`. SpecError where the
    peer divides by 0 (W = T) or refuses (lr_end not below base_lr).
    """
    W, T = as_steps(num_warmup_steps, "num_warmup_steps"), as_steps(num_training_steps, "num_training_steps")
    end, k = as_factor(lr_end, "lr_end", base_lr), as_number(power, "power")
    if end >= 1.0:
        raise SpecError(f"lr_end={lr_end} must lie below base_lr={base_lr}")
    if W == T:
        raise SpecError(f"num_warmup_steps={W} leaves no step to decay in: the peer would divide by 0")
    if W > T:
        return over_own_length(sequence(ramp(W), landing(end)), W, T)
    if k:
        return sequence(ramp(W), s.polynomial(T - W, power=k, to=end))
    # 0^0 is 1, so that step T has the peak, too.
    return over_own_length(sequence(ramp(W), s.hold(T - W + 1, level=1.0), landing(end)), T + 1, T)


def inverse_sqrt(*, num_warmup_steps: int, timescale: int | None = None) -> Schedule:
    """sqrt(s / (t - W + s)) for ever, s = timescale: W where it is None, and 10,000 where W is 0, too."""
    W = as_steps(num_warmup_steps, "num_warmup_steps")
    scale = (W or 10_000) if timescale is None else as_steps(timescale, "timescale", least=1)
    return sequence(ramp(W), s.inverse_sqrt(scale), after="continue")


def cosine_with_min_lr(
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """`cosine` between 1 and a floor: `min_lr_rate`, or min_lr / base_lr.

    Defects: it rises again after the end, and `min_lr` is a share of the optimizer's default lr, so groups with
    another lr have another floor. The spec without them: `warmup(W) >> cosine(to=absolute(min_lr))`.
    """
    floor = _floor(min_lr, min_lr_rate, base_lr)
    cycles = as_number(num_cycles, "num_cycles", above=0.0)
    return _warmed(
        num_warmup_steps,
        num_training_steps,
        lambda n: s.cosine(n, to=floor, cycles=cycles).after("continue"),
    )


def cosine_warmup_with_min_lr(
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """`cosine_with_min_lr` one step early: p = (t - W + 1) / max(1, T - W), with a warmup that reaches 1.

    The warmup is (t + 1) / max(1, W), or w + (1 - w) t / max(1, W - 1) with w = warmup_lr_rate. So the last
    update has the floor, and from step T on the rate rises (the defects of `cosine_with_min_lr`).
    """
    W, T = as_steps(num_warmup_steps, "num_warmup_steps"), as_steps(num_training_steps, "num_training_steps")
    floor = _floor(min_lr, min_lr_rate, base_lr)
    cycles, n = as_number(num_cycles, "num_cycles", above=0.0), max(1, T - W)
    if warmup_lr_rate is None:
        up = ramp(W, start=1 / max(1, W), to=1 + 1 / max(1, W))
    else:
        w = as_share(warmup_lr_rate, "warmup_lr_rate")
        up = ramp(W, start=w, to=w + (1 - w) * W / max(1, W - 1))
    # A wave of n + 1 steps, as much longer as it is later, so that p = 1 is still in it.
    down = s.cosine(n + 1, to=floor, start=1.0, cycles=cycles * (n + 1) / n).skip(1)
    return over_own_length(sequence(up, down, after="continue"), W + n, T)


def warmup_stable_decay(
    *,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0,
    num_cycles: float = 0.5,
) -> Schedule:
    """From m = min_lr_ratio up to 1 in W steps, 1, and back to m in the last D = num_decay_steps; m after them.

    With q the progress of a phase, the types are "linear" (q), "cosine" ((1 - cos(pi q)) / 2, in the decay with
    `num_cycles`) and "1-sqrt" (1 - sqrt(1 - q) up, 1 - sqrt(q) down). The warmup starts at m, not at 0.

    Defect: where W + D > T the decay starts in its middle, and the peak is never reached. The spec without it:
    `warmup(W) >> hold() >> cosine(D, to=m)`, which refuses to overrun the run.
    """
    only_one(num_training_steps=num_training_steps, num_stable_steps=num_stable_steps)
    W, D = as_steps(num_warmup_steps, "num_warmup_steps"), as_steps(num_decay_steps, "num_decay_steps")
    m, cycles = as_number(min_lr_ratio, "min_lr_ratio"), as_number(num_cycles, "num_cycles", above=0.0)
    up = _RISES[as_choice(warmup_type, "warmup_type", tuple(_RISES))](W, m) if W else None
    down = _FALLS[as_choice(decay_type, "decay_type", tuple(_FALLS))]
    if num_stable_steps is not None:
        S = as_steps(num_stable_steps, "num_stable_steps")
        return sequence(up, s.hold(S) if S else None, down(D, m, cycles) if D else None, landing(m))
    T = as_steps(num_training_steps, "num_training_steps", least=1)
    S = T - W - D
    if W >= T:
        return over_own_length(sequence(up, landing(m)), W, T)
    late = down(D, m, cycles).skip(max(0, -S)) if D else None
    return sequence(up, s.hold(S) if S > 0 else None, late, landing(m))


def adafactor(*, warmup_init: bool = False, base_lr: float = 1.0) -> Schedule:
    """What Adafactor's own relative step is, t from 1: min(1e-2, 1 / sqrt(t)), or min(1e-6 t, 1 / sqrt(t)).

    That is with `scale_parameter=False`; otherwise the optimizer multiplies it by each tensor's own RMS, which
    no schedule knows. AdafactorSchedule only reports this rate, and raises ValueError where a group has no
    gradients. As factors of `base_lr`.
    """
    unit = as_factor(1.0, "the relative step", base_lr)
    if warmup_init:
        rise = s.linear(9999, start=1e-6 * unit, to=1e-2 * unit)
        return (rise >> s.inverse_sqrt(10_000)).after("continue")
    return s.inverse_sqrt(1, start=unit).clip(high=1e-2 * unit).after("continue")


def reduce_lr_on_plateau(
    *,
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
) -> NoReturn:
    """torch's ReduceLROnPlateau: a controller."""
    rule = {"mode": mode, "factor": factor, "patience": patience, "threshold": threshold}
    more = {"threshold_mode": threshold_mode, "cooldown": cooldown, "min_lr": min_lr, "eps": eps}
    plateau_instead(rule | more)


def greedy(
    *,
    mode: str = "min",
    factor: float = 0.95,
    patience: int = 10,
    threshold: float = 1e-6,
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: float = 1e-3,
    max_lr: float = 1.0,
    smooth: bool = False,
    window_size: int = 50,
    reset_start: int = 500,
) -> NoReturn:
    """GreedyLR: a controller, which also raises the rate. Defect: a rate below its min_lr of 1e-3 is never cut."""
    del warmup, max_lr, smooth, window_size, reset_start, min_lr  # which plateau has not, or should not have
    rule = {"mode": mode, "factor": factor, "patience": patience, "threshold": threshold}
    plateau_instead(rule | {"threshold_mode": "abs", "cooldown": cooldown}, "which never raises the rate")


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "adafactor": adafactor,
    "constant": constant,
    "constant_with_warmup": constant_with_warmup,
    "cosine": cosine,
    "cosine_warmup_with_min_lr": cosine_warmup_with_min_lr,
    "cosine_with_min_lr": cosine_with_min_lr,
    "cosine_with_restarts": cosine_with_restarts,
    "inverse_sqrt": inverse_sqrt,
    "linear": linear,
    "polynomial": polynomial,
    "warmup_stable_decay": warmup_stable_decay,
}

CONTROLLERS: Final[Mapping[str, Callable[..., Schedule]]] = {
    "greedy": greedy,
    "reduce_lr_on_plateau": reduce_lr_on_plateau,
}

_RISES: Final[Mapping[str, Callable[[int, float], Schedule]]] = {
    "linear": lambda n, m: s.linear(n, start=m, to=1.0),
    "cosine": lambda n, m: s.cosine(n, start=m, to=1.0),
    "1-sqrt": lambda n, m: s.polynomial(n, power=0.5, start=m, to=1.0),
}
_FALLS: Final[Mapping[str, Callable[[int, float, float], Schedule]]] = {
    "linear": lambda n, m, _: s.linear(n, start=1.0, to=m),
    "cosine": lambda n, m, cycles: s.cosine(n, start=1.0, to=m, cycles=cycles),
    "1-sqrt": lambda n, m, _: s.one_minus_sqrt(n, start=1.0, to=m),
}


def _warmed(num_warmup_steps: int, num_training_steps: int, decay: Callable[[int], Schedule]) -> Schedule:
    """The warmup, then the decay over the max(1, T - W) steps that remain (its end is the schedule's)."""
    W = as_steps(num_warmup_steps, "num_warmup_steps")
    T = as_steps(num_training_steps, "num_training_steps", least=1)
    n = max(1, T - W)
    down = decay(n)
    return over_own_length(sequence(ramp(W), down.body, after=down.ending), W + n, T)


def _floor(min_lr: float | None, min_lr_rate: float | None, base_lr: float) -> float:
    only_one(min_lr=min_lr, min_lr_rate=min_lr_rate)
    if min_lr is None:
        return as_number(min_lr_rate, "min_lr_rate")
    return as_factor(min_lr, "min_lr", base_lr)
