"""OLMo-core's schedulers. They count from 1: update t has c = t + 1, so that the last of T updates has c = T.

Lengths are in steps (the peer counts tokens alike). Exactly one of `warmup` and `warmup_fraction` is given, likewise
`decay` and `decay_fraction` (0.1, where that is not set to None); a fraction is of the run and rounds halves to even.
`t_max` is the run's length, or what stands in its place. `warmup_min_lr` and `decay_min_lr` are absolute: `base_lr`
makes factors of them. Checked against ai2-olmo-core 3.0.0. Its ComposableScheduler and SequentialScheduler are `>>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_items, as_numbers, as_share, as_steps
from lrkit.convert.pieces import landing, ramp, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["ENTRIES"]


def constant() -> Schedule:
    """1 for ever."""
    return s.hold()


def constant_with_warmup(
    *,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    t_max: int | None = None,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, then 1; `t_max` only for a fraction to be of."""
    W = _length(warmup, warmup_fraction, t_max, "warmup")
    return sequence(ramp(W, start=as_factor(warmup_min_lr, "warmup_min_lr", base_lr)), s.hold()).skip(1)


def linear_with_warmup(
    *,
    t_max: int,
    alpha_f: float = 0.1,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, then a line to alpha_f at c = t_max, which holds: the last update has it."""
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    return sequence(up, s.linear(T - W, start=1.0, to=as_number(alpha_f, "alpha_f")), s.hold()).skip(1)


def cos_with_warmup(
    *,
    t_max: int,
    alpha_f: float = 0.1,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, then half a wave to alpha_f at c = t_max, which holds: the last update has it."""
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    return sequence(up, s.cosine(T - W, start=1.0, to=as_number(alpha_f, "alpha_f")), s.hold()).skip(1)


def half_cos_with_warmup(
    *,
    t_max: int,
    alpha_f: float = 0.1,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up to the middle between 1 and alpha_f, then the second half of a half wave.

    So it peaks at 0.55 of the lr, which is that of the whole wave.
    """
    low = as_number(alpha_f, "alpha_f")
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr, top=low + (1.0 - low) / 2)
    return sequence(up, s.cosine(2 * (T - W), start=1.0, to=low).skip(T - W), s.hold()).skip(1)


def inv_sqrt_with_warmup(
    *,
    t_max: int,
    alpha_f: float = 0.1,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, then alpha_f + (1 - alpha_f) sqrt(W / c) for ever; alpha_f at once where W is 0."""
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    low = as_number(alpha_f, "alpha_f")
    if not W:
        return s.hold(level=low)
    end = low + (1.0 - low) * (W / (T + 1)) ** 0.5
    down = s.inverse_sqrt(W, start=1.0, to=end, duration=T + 1 - W)
    return sequence(up, down, after="continue").skip(1)


def power_lr(
    *,
    t_max: int,
    b: float = -0.51,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    decay: int | None = None,
    decay_fraction: float | None = 0.1,
    warmup_min_lr: float = 0.0,
    decay_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, (c / W)^b, and in the last D steps a line from where that is to decay_min_lr.

    Source: Shen et al., arXiv:2408.13359. Without a warmup the peer divides by 0: a SpecError.
    """
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    D = _length(decay, decay_fraction, T, "decay")
    if not W or W > T - D:
        raise SpecError(f"warmup={W} must lie above 0 (the peer would divide by it) and end before the decay")
    k = as_number(-b, "-b", above=0.0)
    trunk = s.power(W, exponent=k, start=1.0, duration=T - D - W) if T - D > W else None
    return _declining((up, trunk), D, ((T - D) / W) ** -k, as_factor(decay_min_lr, "decay_min_lr", base_lr))


def wsd(
    *,
    t_max: int,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    decay: int | None = None,
    decay_fraction: float | None = 0.1,
    warmup_min_lr: float = 0.0,
    decay_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """W steps up, 1, and in the last D steps a line to decay_min_lr at c = t_max.

    Defects: with a floor of 0 the last update has rate 0; past t_max the line goes on to negative rates (here it
    stays at 0). The spec without them: `warmup(W) >> hold() >> linear(D, to=0)`.
    """
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    D = _length(decay, decay_fraction, T, "decay")
    if W > T - D:
        raise SpecError(f"warmup={W} and decay={D} do not fit into t_max={T}")
    trunk = s.hold(T - D - W, level=1.0) if T - D > W else None
    return _declining((up, trunk), D, 1.0, as_factor(decay_min_lr, "decay_min_lr", base_lr))


def cos_with_warmup_and_linear_decay(
    *,
    t_max: int,
    alpha_f: float = 0.1,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    decay: int | None = None,
    decay_fraction: float | None = 0.1,
    warmup_min_lr: float = 0.0,
    decay_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """`CosWithWarmup`, cut off D steps before the end by a line to decay_min_lr. Past t_max as `WSD`."""
    T, W, up = _start(t_max, warmup, warmup_fraction, warmup_min_lr, base_lr)
    D = _length(decay, decay_fraction, T, "decay")
    if W > T - D:
        raise SpecError(f"warmup={W} and decay={D} do not fit into t_max={T}")
    low, n = as_number(alpha_f, "alpha_f"), T - D - W
    part = s.cosine(n, start=1.0, to=low, cycles=0.5 * n / (T - W)) if n else None
    level = s.cosine(T - W, start=1.0, to=low).over(T - W)(n)
    return _declining((up, part), D, level, as_factor(decay_min_lr, "decay_min_lr", base_lr))


def wsds(
    *,
    period_lengths: Sequence[int],
    period_lr_multipliers: Sequence[float] | None = None,
    warmup: int | None = None,
    warmup_fraction: float | None = None,
    decay: int | None = None,
    decay_fraction: float | None = None,
    warmup_min_lr: float = 0.0,
    decay_min_lr: float = 0.0,
    base_lr: float = 1.0,
) -> Schedule:
    """Periods of a stable part and a line to decay_min_lr, the first with a warmup; each begins at its own peak.

    Fractions are of a period (the warmup's of the first). Source: Wen et al., arXiv:2410.05192.
    """
    lengths = [as_steps(n, "period_lengths", least=1) for n in as_items(period_lengths, "period_lengths")]
    peaks = (
        [1.0] * len(lengths)
        if period_lr_multipliers is None
        else as_numbers(period_lr_multipliers, "multipliers")
    )
    if not lengths or len(peaks) != len(lengths):
        raise SpecError("period_lengths takes a list of lengths, and period_lr_multipliers as many numbers")
    floor = as_factor(decay_min_lr, "decay_min_lr", base_lr)
    W = _length(warmup, warmup_fraction, lengths[0], "warmup")
    parts = [ramp(W, start=as_factor(warmup_min_lr, "warmup_min_lr", base_lr), to=peaks[0])]
    for number, (length, peak) in enumerate(zip(lengths, peaks, strict=True)):
        D = _length(decay, decay_fraction, length, "decay")
        S = length - D - (0 if number else W)
        if S < 0 or not D:
            raise SpecError(
                f"period {number} of {length} steps has a decay of {D}: it needs one, and room for it"
            )
        whole = sequence(s.hold(S, level=peak) if S else None, s.linear(D, start=peak, to=floor))
        # The step on which a period begins belongs to the one before it, which ends there.
        parts += [whole.skip(1) if number else whole, s.hold(1, level=floor)]
    return sequence(*parts).skip(1)


def exponential(*, t_max: int, lr_min: float = 1e-9, base_lr: float = 1.0) -> Schedule:
    """lr_min (base_lr / lr_min)^(c / t_max), upwards (a range test), and base_lr from c = t_max on."""
    T, low = as_steps(t_max, "t_max", least=1), as_factor(lr_min, "lr_min", base_lr)
    if not low > 0.0:
        raise SpecError("lr_min takes a rate above 0")
    return sequence(s.exponential(T, start=low, to=1.0), s.hold()).skip(1)


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "ConstantScheduler": constant,
    "ConstantWithWarmup": constant_with_warmup,
    "CosWithWarmup": cos_with_warmup,
    "CosWithWarmupAndLinearDecay": cos_with_warmup_and_linear_decay,
    "ExponentialScheduler": exponential,
    "HalfCosWithWarmup": half_cos_with_warmup,
    "InvSqrtWithWarmup": inv_sqrt_with_warmup,
    "LinearWithWarmup": linear_with_warmup,
    "PowerLR": power_lr,
    "WSD": wsd,
    "WSDS": wsds,
}


def _length(whole: int | None, fraction: float | None, of: int | None, name: str) -> int:
    """A length, given as such or as a fraction of the run."""
    if (whole is None) == (fraction is None):
        raise SpecError(f"exactly one of {name} and {name}_fraction is to be given, the other None")
    if whole is not None:
        return as_steps(whole, name)
    if of is None:
        raise SpecError(f"{name}_fraction={brief(fraction)} needs t_max, the length of the run")
    return round(as_steps(of, "t_max", least=1) * as_share(fraction, f"{name}_fraction"))


def _start(
    t_max: int, warmup: int | None, fraction: float | None, least: float, base_lr: float, top: float = 1.0
) -> tuple[int, int, Schedule | None]:
    """The run's length, the warmup's, and the warmup."""
    T = as_steps(t_max, "t_max", least=1)
    W = _length(warmup, fraction, T, "warmup")
    if W >= T:
        raise SpecError(f"warmup={W} leaves no step of t_max={T}")
    return T, W, ramp(W, start=as_factor(least, "warmup_min_lr", base_lr), to=top)


def _declining(before: Sequence[Schedule | None], D: int, level: float, low: float) -> Schedule:
    """A line from `level` to `low` in D steps, whose end the last update has, and which goes on down to 0."""
    if not D:
        raise SpecError("a decay of 0 steps divides by 0 there: give it some")
    further = level + (low - level) * (D + 1) / D
    if further < 0.0:
        return sequence(*before, s.linear(D, start=level, to=low), s.hold(1, level=low), landing(0.0)).skip(1)
    return sequence(*before, s.linear(D + 1, start=level, to=further), after="continue").skip(1)
