"""torchtitan's one schedule, a linear warmup, a stable part and a decay, counted so that no update has rate 0.

Checked against the formula of torchtitan 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_share, as_steps
from lrkit.convert.pieces import for_ever, ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice

__all__ = ["ENTRIES"]


def linear_warmup_stable_decay(
    *,
    total_steps: int,
    warmup_steps: int = 200,
    decay_ratio: float | None = None,
    decay_type: str = "linear",
    min_lr_factor: float = 0.0,
) -> Schedule:
    """(t + 1) / W for t < W, 1 until T - D, then with q = (t - (T - D)) / D from 1 to m = min_lr_factor.

    T = total_steps, W = warmup_steps, D = round(T decay_ratio), halves to even, or T - W without a ratio (and at
    most that). "linear" 1 - q, "sqrt" 1 - sqrt(q), "cosine" (1 + cos(pi q)) / 2, times (1 - m), plus m.

    Defect: after T the formula goes on, "linear" and "sqrt" to negative rates (here they stay at 0) and "cosine"
    up again. The spec without it is the same without `.after(continue)`.
    """
    T, W = as_steps(total_steps, "total_steps", least=1), as_steps(warmup_steps, "warmup_steps")
    if W > T:
        raise SpecError(f"warmup_steps={W} is longer than total_steps={T}")
    D = T - W if decay_ratio is None else min(T - W, round(T * as_share(decay_ratio, "decay_ratio")))
    m = as_share(min_lr_factor, "min_lr_factor")
    up = ramp(W, start=1 / max(1, W), to=1 + 1 / max(1, W))
    if not D:
        return sequence(up, for_ever(1.0))
    trunk = s.hold(T - D - W, level=1.0) if T - D > W else None
    down = _DECAYS[as_choice(decay_type, "decay_type", tuple(_DECAYS))](D, m)
    return sequence(up, trunk, down, after="continue")


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "linear_warmup_stable_decay": linear_warmup_stable_decay
}

_DECAYS: Final[Mapping[str, Callable[[int, float], Schedule]]] = {
    "linear": lambda n, m: s.linear(n, start=1.0, to=m),
    "sqrt": lambda n, m: s.one_minus_sqrt(n, start=1.0, to=m),
    "cosine": lambda n, m: s.cosine(n, start=1.0, to=m),
}
