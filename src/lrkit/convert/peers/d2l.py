"""The schedules of Dive into Deep Learning (d2l.ai, "Learning Rate Scheduling"), which count epochs or updates alike.

They are given absolute rates; as factors those are divided by the rate that the page calls base_lr or lr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_items, as_steps
from lrkit.convert.pieces import ramp, sequence
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["ENTRIES"]


def factor_scheduler(*, factor: float = 1.0, stop_factor_lr: float = 1e-7, base_lr: float = 0.1) -> Schedule:
    """max(stop_factor_lr, base_lr factor^(t + 1)): the first call multiplies already.

    Defects: update 0 does not get the base lr, and the object multiplies at each *call*, so that a rate asked
    for twice decays twice. The spec without them: `exponential(rate=factor).clip(low=absolute(stop_factor_lr))`.
    """
    rate = as_number(factor, "factor", above=0.0)
    low = as_factor(stop_factor_lr, "stop_factor_lr", base_lr)
    return s.exponential(rate=rate, start=rate).clip(low=low).after("continue")


def square_root_scheduler(*, lr: float = 0.1) -> Schedule:
    """lr / sqrt(t + 1), as a factor of lr."""
    as_number(lr, "lr", above=0.0)
    return s.inverse_sqrt(1).after("continue")


def multi_factor_scheduler(
    *, milestones: Sequence[int] = (15, 30), gamma: float = 0.5, lr: float = 0.5
) -> Schedule:
    """lr gamma^(milestones at or before t), as a factor of lr; the page takes torch's MultiStepLR for it."""
    as_number(lr, "lr", above=0.0)
    marks = sorted(as_steps(mark, "milestones") for mark in as_items(milestones, "milestones"))
    drop = as_number(gamma, "gamma")
    return s.milestones(marks, factor=drop).after("continue") if marks else s.hold()


def cosine_scheduler(
    *,
    max_update: int,
    base_lr: float = 0.01,
    final_lr: float = 0.0,
    warmup_steps: int = 0,
    warmup_begin_lr: float = 0.0,
) -> Schedule:
    """From warmup_begin_lr up in W steps, then half a wave to final_lr at step max_update, which holds.

    The object remembers its last rate, so the value after `max_update` is right only if every step was asked for.
    """
    T, W = as_steps(max_update, "max_update", least=1), as_steps(warmup_steps, "warmup_steps")
    if W >= T:
        raise SpecError(f"warmup_steps={W} must lie below max_update={T}: the peer would divide by 0")
    begin = as_factor(warmup_begin_lr, "warmup_begin_lr", base_lr)
    final = as_factor(final_lr, "final_lr", base_lr)
    return sequence(ramp(W, start=begin), s.cosine(T - W, to=final), s.hold())


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "CosineScheduler": cosine_scheduler,
    "FactorScheduler": factor_scheduler,
    "MultiFactorScheduler": multi_factor_scheduler,
    "SquareRootScheduler": square_root_scheduler,
}
