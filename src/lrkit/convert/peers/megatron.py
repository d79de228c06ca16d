"""Megatron-LM's OptimizerParamScheduler: the lr, and the weight decay that ramps beside it.

It counts samples: each update adds `increment` (the global batch size; 1 counts updates) to n, and lengths are in
the same unit. In the formulas W = lr_warmup_steps, T = lr_decay_steps, D = wsd_decay_steps, p = (n - W) / (T - W).
Checked against megatron-core 0.16.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_steps
from lrkit.convert.pieces import every_nth, landing, ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice

__all__ = ["ENTRIES"]


def optimizer_param_scheduler(
    *,
    max_lr: float,
    min_lr: float,
    lr_warmup_steps: int,
    lr_decay_steps: int,
    lr_decay_style: str,
    init_lr: float = 0.0,
    wsd_decay_steps: int | None = None,
    lr_wsd_decay_style: str = "exponential",
    increment: int = 1,
    base_lr: float = 1.0,
) -> Schedule:
    """init + (max - init) n / W up to n = W, then by style, and `min_lr` for n > T.

    "constant": max for ever. "linear": 1 - p, "cosine": (1 + cos(pi p)) / 2 of the way from min to max.
    "inverse-square-root": max sqrt(max(W, 1)) / sqrt(max(n, 1)), at least min. "WSD": max until n = T - D, then
    with q = (n - (T - D)) / D "linear" 1 - q, "cosine", "exponential" 2 0.5^q - 1 or "minus_sqrt" 1 - sqrt(q).

    Defects: "inverse-square-root" drops to min after T as over a cliff (without: `warmup(W) >> inverse_sqrt(W)`);
    a D above T - W jumps down right after the warmup; loading a state adds its count to n, so a second load
    doubles it. Lengths that are no multiples of `increment` are baked into a table of updates.
    """
    W, T = as_steps(lr_warmup_steps, "lr_warmup_steps"), as_steps(lr_decay_steps, "lr_decay_steps", least=1)
    style = as_choice(lr_decay_style, "lr_decay_style", _STYLES)
    D = as_steps(wsd_decay_steps, "wsd_decay_steps", least=1) if style == "WSD" else 0
    init, low, high = (
        as_factor(rate, name, base_lr)
        for name, rate in (("init_lr", init_lr), ("min_lr", min_lr), ("max_lr", max_lr))
    )
    if W >= T or low > high or init > high:
        raise SpecError("it takes lr_warmup_steps below lr_decay_steps, and init_lr and min_lr up to max_lr")
    kind = as_choice(lr_wsd_decay_style, "lr_wsd_decay_style", tuple(_WSD))
    each = as_steps(increment, "increment", least=1)
    if any(length % each for length in (W, T, D)) or (style == "inverse-square-root" and not W and each > 1):
        return every_nth(_in_samples(style, kind, (W, T, D), (init, low, high)), T, each)
    return _in_samples(style, kind, (W // each, T // each, D // each), (init, low, high))


def weight_decay(
    *,
    start_wd: float,
    end_wd: float,
    wd_incr_steps: int,
    wd_incr_style: str = "constant",
    increment: int = 1,
    base_wd: float = 1.0,
) -> Schedule:
    """The weight decay, as a factor of `base_wd`: from start to end over wd_incr_steps, "linear" or a half wave.

    Give it to the Scheduler as {"weight_decay": ...}.
    """
    start, end = as_factor(start_wd, "start_wd", base_wd), as_factor(end_wd, "end_wd", base_wd)
    n, each = as_steps(wd_incr_steps, "wd_incr_steps", least=1), as_steps(increment, "increment", least=1)
    style = as_choice(wd_incr_style, "wd_incr_style", ("constant", "linear", "cosine"))
    if end < start or (style == "constant" and start != end):
        raise SpecError(f"start_wd={start_wd} and end_wd={end_wd}: it may rise, and a constant one may not")
    if style == "constant":
        return s.hold(level=end)
    shape = s.linear if style == "linear" else s.cosine
    if n % each:
        return every_nth(shape(n, start=start, to=end), n, each)
    return shape(n // each, start=start, to=end) >> s.hold()


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "OptimizerParamScheduler": optimizer_param_scheduler,
    "WeightDecay": weight_decay,
}

_STYLES = ("constant", "linear", "cosine", "inverse-square-root", "WSD")
_WSD: Final[Mapping[str, Callable[[int, float, float], Schedule]]] = {
    "linear": lambda n, high, low: s.linear(n, start=high, to=low),
    "cosine": lambda n, high, low: s.cosine(n, start=high, to=low),
    "exponential": lambda n, high, low: s.shifted_exponential(n, ratio=0.5, start=high, to=low),
    "minus_sqrt": lambda n, high, low: s.one_minus_sqrt(n, start=high, to=low),
}


def _in_samples(
    style: str, kind: str, lengths: tuple[int, int, int], levels: tuple[float, float, float]
) -> Schedule:
    """The schedule over n itself."""
    (W, T, D), (init, low, high) = lengths, levels
    up = ramp(W, start=init, to=high)
    match style:
        case "constant":
            return sequence(up, s.hold() if up else s.hold(level=high))
        case "linear":
            return sequence(up, s.linear(T - W, start=high, to=low), s.hold())
        case "cosine":
            return sequence(up, s.cosine(T - W, start=high, to=low), s.hold())
        case "inverse-square-root":
            # The cliff lies one step after the end, where no phase is any more: a staircase that falls to 0 once.
            first, scale = (None, W) if W else (s.hold(1, level=high), 1)
            down = s.inverse_sqrt(scale, start=high) * s.staircase(T - (W or 1) + 1, factor=0.0)
            return sequence(up, first, down.clip(low=low), after="continue")
        case _:
            decay = _WSD[kind](D, high, low)
            late = T - D
            if late >= W:
                return sequence(up, s.hold(late - W, level=high) if late > W else None, decay, s.hold())
            # The warmup keeps step W, then the decay is entered where it would be by then.
            peak = s.hold(1, level=high) if W else None
            return sequence(up, peak, decay.skip(W - late + (W > 0)), landing(low), s.hold())
