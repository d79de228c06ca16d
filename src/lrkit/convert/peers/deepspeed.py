"""DeepSpeed's schedules, as an engine drives them: update 0 has what the constructor wrote, update u step u - 1.

So the engine's first `step()` sets index 0 again, and the Warmup schedules give updates 0 and 1 the same rate: from
0, two updates are lost (a defect; `warmup(W)` loses none). Absolute rates become factors of `base_lr`. Where W is
warmup_num_steps, the peer takes max(2, W). Checked against DeepSpeed 0.19.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_flag, as_share, as_steps
from lrkit.convert.pieces import endless_line, for_ever, landing, over_own_length, sequence
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["ENTRIES"]

_STAIRS = 1_000


def lr_range_test(
    *,
    lr_range_test_min_lr: float = 1e-3,
    lr_range_test_step_size: int = 2000,
    lr_range_test_step_rate: float = 1.0,
    lr_range_test_staircase: bool = False,
    base_lr: float = 1.0,
) -> Schedule:
    """min_lr (1 + rate u / step_size) for ever, or in stairs of step_size (1,000 of them in the table).

    It records and suggests nothing: `lrkit find` does.
    """
    size = as_steps(lr_range_test_step_size, "lr_range_test_step_size", least=1)
    low = as_factor(lr_range_test_min_lr, "lr_range_test_min_lr", base_lr)
    rate = as_number(lr_range_test_step_rate, "lr_range_test_step_rate")
    if as_flag(lr_range_test_staircase, "lr_range_test_staircase"):
        return s.table([low * (1.0 + rate * k) for k in range(_STAIRS)], every=size).after("continue")
    return endless_line(low, low * rate / size)


def one_cycle(
    *,
    cycle_min_lr: float,
    cycle_max_lr: float,
    decay_lr_rate: float = 0.0,
    cycle_first_step_size: int = 2000,
    cycle_second_step_size: int | None = None,
    cycle_first_stair_count: int = 0,
    cycle_second_stair_count: int | None = None,
    decay_step_size: int = 0,
    base_lr: float = 1.0,
) -> Schedule:
    """Up in the first steps, down in the second, then min / (1 + decay_lr_rate (u - cycle) / decay_step_size).

    With stair counts each half goes in so many stairs (up to 0.16.5 the peer ignored them). Its momentum is
    `OneCycleMomentum`; besides, the peer sets beta2 to 0.99.
    """
    low, high = (
        as_factor(cycle_min_lr, "cycle_min_lr", base_lr),
        as_factor(cycle_max_lr, "cycle_max_lr", base_lr),
    )
    halves = _halves(cycle_first_step_size, cycle_second_step_size)
    stairs = _stairs(cycle_first_stair_count, cycle_second_stair_count)
    rate, every = as_number(decay_lr_rate, "decay_lr_rate"), as_steps(decay_step_size, "decay_step_size")
    tail = s.inverse_time(rate, every=every, start=low) if rate and every else for_ever(low)
    return sequence(*_triangle(halves, stairs, low, high), tail, after="continue")


def one_cycle_momentum(
    *,
    cycle_min_mom: float = 0.8,
    cycle_max_mom: float = 0.9,
    decay_mom_rate: float = 0.0,
    cycle_first_step_size: int = 2000,
    cycle_second_step_size: int | None = None,
    cycle_first_stair_count: int = 0,
    cycle_second_stair_count: int | None = None,
    decay_step_size: int = 0,
) -> Schedule:
    """OneCycle's beta1 itself (a factor of 1): down from max while the rate rises, then up again.

    Defects: update 0 has the *low* momentum, which the constructor wrote; and a decay_mom_rate above 0 lets it
    grow without end, soon above 1. The spec without them is `one_cycle_momentum(low=...)`.
    """
    low, high = as_share(cycle_min_mom, "cycle_min_mom"), as_share(cycle_max_mom, "cycle_max_mom")
    halves = _halves(cycle_first_step_size, cycle_second_step_size)
    stairs = _stairs(cycle_first_stair_count, cycle_second_stair_count)
    rate, every = as_number(decay_mom_rate, "decay_mom_rate"), as_steps(decay_step_size, "decay_step_size")
    tail = endless_line(high, high * rate / every) if rate and every else for_ever(high)
    return sequence(
        s.hold(1, level=low), sequence(*_triangle(halves, stairs, high, low), tail).skip(1), after="continue"
    )


def warmup_lr(
    *,
    warmup_min_lr: float = 0.0,
    warmup_max_lr: float | None = None,
    warmup_num_steps: int = 1000,
    warmup_type: str = "log",
    base_lr: float = 1.0,
) -> Schedule:
    """min + (max - min) g(k), g = ln(k + 1) / ln(W) ("log") or k / W ("linear") for k < W, then max, k = max(0, u - 1).

    Defect: two updates at `warmup_min_lr`. The spec without it: `warmup(W) >> hold()`.
    """
    low = as_factor(warmup_min_lr, "warmup_min_lr", base_lr)
    high = 1.0 if warmup_max_lr is None else as_factor(warmup_max_lr, "warmup_max_lr", base_lr)
    up = _rise(warmup_num_steps, warmup_type, low, high)
    return sequence(s.hold(1, level=low), up, s.hold())


def warmup_decay_lr(
    *,
    total_num_steps: int,
    warmup_min_lr: float = 0.0,
    warmup_max_lr: float = 1e-3,
    warmup_num_steps: int = 1000,
    warmup_type: str = "log",
    base_lr: float = 1.0,
) -> Schedule:
    """The warmup of `WarmupLR`, then min + (max - min) (T - k) / (T - W) down to min, which holds.

    Defect: two updates at `warmup_min_lr`. The spec without it: `warmup(W) >> linear(to=0)`.
    """
    T, W = as_steps(total_num_steps, "total_num_steps", least=1), _length(warmup_num_steps)
    low = as_factor(warmup_min_lr, "warmup_min_lr", base_lr)
    high = as_factor(warmup_max_lr, "warmup_max_lr", base_lr)
    first, up = s.hold(1, level=low), _rise(W, warmup_type, low, high)
    if T <= W + 1:
        down = s.linear(1, start=high, to=low) if T == W + 1 else landing(low)
        return over_own_length(sequence(first, up, down), 1 + max(W, T), T)
    # One step late, so that the run ends one step before the line does; what it continues to holds.
    n = T - W - 1
    nearly = high + (low - high) * n / (n + 1)
    return sequence(first, up, s.linear(n, start=high, to=nearly).clip(low=min(low, high)), after="continue")


def warmup_cosine_lr(
    *,
    total_num_steps: int,
    warmup_min_ratio: float = 0.0,
    warmup_num_steps: int = 1000,
    cos_min_ratio: float = 1e-4,
    warmup_type: str = "log",
) -> Schedule:
    """m + (1 - m) g(k) for k < W, m = warmup_min_ratio, then c + (1 - c) (1 + cos(pi (k - W + 1) / (T - W))) / 2.

    c = cos_min_ratio holds after the end; update 0 has rate 0 whatever m is. Defects: two updates lost; a linear
    warmup never uses the peak; the base is the lr found at construction, so one built after the optimizer was
    restored takes the decayed lr for it; up to 0.16.5 the rate rose after the end, and only the first group
    began at 0. The spec without them: `warmup(W) >> cosine(to=c)`.
    """
    T, W = as_steps(total_num_steps, "total_num_steps", least=1), _length(warmup_num_steps)
    m, c = as_share(warmup_min_ratio, "warmup_min_ratio"), as_share(cos_min_ratio, "cos_min_ratio")
    first, up = s.hold(1, level=0.0), _rise(W, warmup_type, m, 1.0)
    if T <= W:
        return over_own_length(sequence(first, up, landing(c)), 1 + W, T)
    return sequence(first, up, s.cosine(T - W, start=1.0, to=c).skip(1))


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "LRRangeTest": lr_range_test,
    "OneCycle": one_cycle,
    "OneCycleMomentum": one_cycle_momentum,
    "WarmupCosineLR": warmup_cosine_lr,
    "WarmupDecayLR": warmup_decay_lr,
    "WarmupLR": warmup_lr,
}


def _length(warmup_num_steps: int) -> int:
    return max(2, as_steps(warmup_num_steps, "warmup_num_steps", least=1))


def _rise(warmup_num_steps: int, warmup_type: str, low: float, high: float) -> Schedule:
    W = _length(warmup_num_steps)
    if as_choice(warmup_type, "warmup_type", ("log", "linear")) == "linear":
        return s.linear(W, start=low, to=high)
    return s.table([low + (high - low) * (math.log(k + 1) / math.log(W)) for k in range(W)], duration=W)


def _halves(first: int, second: int | None) -> tuple[int, int]:
    up = as_steps(first, "cycle_first_step_size", least=1)
    return up, up if second is None else as_steps(second, "cycle_second_step_size", least=1)


def _stairs(first: int, second: int | None) -> tuple[int, int]:
    up = as_steps(first, "cycle_first_stair_count")
    return up, up if second is None else as_steps(second, "cycle_second_stair_count")


def _triangle(
    halves: tuple[int, int], stairs: tuple[int, int], low: float, high: float
) -> tuple[Schedule, Schedule]:
    """From low to high and back, smoothly or in stairs."""
    (up, down), (rises, falls) = halves, stairs
    smooth = s.linear(up, start=low, to=high), s.linear(down, start=high, to=low)
    stepped = (
        [low + (high - low) * ((i * rises // up) / max(1, rises)) for i in range(up)],
        [low + (high - low) * (((down - i) * falls // down) / max(1, falls)) for i in range(down)],
    )
    counts = zip(smooth, stepped, halves, stairs, strict=True)
    first, second = (s.table(values, duration=n) if count else line for line, values, n, count in counts)
    return first, second
