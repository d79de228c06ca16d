"""Composer's schedulers, stepped per batch.

Times are "10ba", "2ep" and "0.1dur" (a share of the run), as there; `max_duration` is the Trainer's, `dataloader_len`
its batches per epoch (needed where epochs occur), `scale_schedule_ratio` its ratio. All become whole batches by
int(), which is never rounding up. Checked against mosaicml 0.32.1.

Defects: int() makes 28 batches of 0.29dur of 100, and none at all of 0.1dur of 9, so that a warmup is gone (with a
warning there). Percent in lrkit are exact and round half up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_flag, as_steps
from lrkit.convert.pieces import for_ever, over_own_length, ramp, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["ENTRIES"]

_TIME = re.compile(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(ba|ep|dur)\s*", re.ASCII)


def step(
    *,
    step_size: str,
    gamma: float = 0.1,
    max_duration: str = "1ba",
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """gamma^(t // step_size)."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    every = clock.divisor(step_size, "step_size")
    return s.staircase(every, factor=as_number(gamma, "gamma")).after("continue")


def multi_step(
    *,
    milestones: Sequence[str],
    gamma: float = 0.1,
    max_duration: str = "1ba",
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """gamma^(milestones at or before t)."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    return _drops(_marks(clock, milestones), as_number(gamma, "gamma"))


def constant(
    *,
    alpha: float = 1.0,
    t_max: str = "1dur",
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha for t < t_max, then (a surprise) 1."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    n = clock.scaled(t_max, "t_max")
    level = as_number(alpha, "alpha")
    return clock.fit(sequence(s.hold(n, level=level) if n else None, for_ever(1.0)), n)


def linear(
    *,
    alpha_i: float = 1.0,
    alpha_f: float = 0.0,
    t_max: str = "1dur",
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha_i + (alpha_f - alpha_i) min(1, t / t_max)."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    n = clock.divisor(t_max, "t_max")
    ends = as_number(alpha_i, "alpha_i"), as_number(alpha_f, "alpha_f")
    return clock.fit(sequence(s.linear(n, start=ends[0], to=ends[1]), s.hold()), n)


def exponential(
    *,
    gamma: float,
    decay_period: str = "1ep",
    max_duration: str = "1ba",
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """gamma^(t / decay_period), smoothly."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    every = clock.divisor(decay_period, "decay_period")
    return s.exponential(rate=as_number(gamma, "gamma", above=0.0), every=every).after("continue")


def cosine_annealing(
    *,
    t_max: str = "1dur",
    alpha_f: float = 0.0,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha_f + (1 - alpha_f) (1 + cos(pi t / t_max)) / 2, alpha_f after t_max."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    n = clock.divisor(t_max, "t_max")
    return clock.fit(sequence(s.cosine(n, to=as_number(alpha_f, "alpha_f")), s.hold()), n)


def cosine_annealing_warm_restarts(
    *,
    t_0: str,
    t_mult: float = 1.0,
    alpha_f: float = 0.0,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """Half waves of t_0, int(t_mult t_0), int(t_mult of that) ... batches, each from 1 to alpha_f.

    lrkit's `restarts(t_0, growth=t_mult)` rounds each length from the exact power instead; where `t_mult` is no
    whole number the peer's own lengths are baked into a table of twice the run.
    """
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    n, growth = clock.divisor(t_0, "t_0"), as_number(t_mult, "t_mult")
    low = as_number(alpha_f, "alpha_f")
    if growth < 1.0:
        raise SpecError(f"t_mult={growth:.6g}: intervals that shrink to 0 are an error there, give 1 or more")
    if growth.is_integer():
        return s.restarts(n, growth=growth, to=low).after("continue")
    lengths = [n]
    while sum(lengths) < 2 * clock.batches:
        lengths.append(int(growth * lengths[-1]))
    cycles = sequence(*(s.cosine(length, start=1.0, to=low) for length in lengths))
    return over_own_length(cycles, sum(lengths), clock.batches)


def polynomial(
    *,
    power: float,
    t_max: str = "1dur",
    alpha_f: float = 0.0,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha_f + (1 - alpha_f) (1 - min(1, t / t_max))^power."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    n, k = clock.divisor(t_max, "t_max"), as_number(power, "power", above=0.0)
    return clock.fit(sequence(s.polynomial(n, power=k, to=as_number(alpha_f, "alpha_f")), s.hold()), n)


def multi_step_with_warmup(
    *,
    t_warmup: str,
    milestones: Sequence[str],
    gamma: float = 0.1,
    scale_warmup: bool = False,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """t / t_warmup, then gamma^(milestones at or before t): those within the warmup count, too, all at once."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    W = clock.plain(t_warmup, "t_warmup")
    drops = _drops(_marks(clock, milestones), as_number(gamma, "gamma"))
    return sequence(*_climb(clock, t_warmup, 1.0, scale_warmup), drops.skip(W))


def constant_with_warmup(
    *,
    t_warmup: str,
    alpha: float = 1.0,
    t_max: str = "1dur",
    scale_warmup: bool = False,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha t / W up to W = t_warmup, then alpha for ever; the rest as in LinearWithWarmupScheduler."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    level = as_number(alpha, "alpha")
    return _then(clock, t_warmup, t_max, scale_warmup, lambda n: s.hold(n, level=level), level)


def linear_with_warmup(
    *,
    t_warmup: str,
    alpha_i: float = 1.0,
    alpha_f: float = 0.0,
    t_max: str = "1dur",
    scale_warmup: bool = False,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """alpha_i t / W up to W = t_warmup, then a line to alpha_f at t_max, which must not lie before the run's end.

    Defect (of all three with a warmup): with `scale_warmup` and a ratio below 1 the ramp is over early, but the
    decay begins at the unscaled W: a plateau lies between; with a ratio above 1 the ramp is cut off instead.
    """
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    ends = as_number(alpha_i, "alpha_i"), as_number(alpha_f, "alpha_f")
    return _then(
        clock, t_warmup, t_max, scale_warmup, lambda n: s.linear(n, start=ends[0], to=ends[1]), ends[0]
    )


def cosine_annealing_with_warmup(
    *,
    t_warmup: str,
    t_max: str = "1dur",
    alpha_f: float = 0.0,
    scale_warmup: bool = False,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """t / W up to W = t_warmup, then half a wave to alpha_f at t_max; the rest as in LinearWithWarmupScheduler."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    low = as_number(alpha_f, "alpha_f")
    return _then(clock, t_warmup, t_max, scale_warmup, lambda n: s.cosine(n, start=1.0, to=low))


def polynomial_with_warmup(
    *,
    t_warmup: str,
    power: float = 2.0,
    t_max: str = "1dur",
    alpha_f: float = 0.0,
    scale_warmup: bool = False,
    max_duration: str,
    dataloader_len: int | None = None,
    scale_schedule_ratio: float = 1.0,
) -> Schedule:
    """t / W up to W = t_warmup, then a power of what is left; the rest as in LinearWithWarmupScheduler."""
    clock = _Clock.of(max_duration, dataloader_len, scale_schedule_ratio)
    k, low = as_number(power, "power", above=0.0), as_number(alpha_f, "alpha_f")
    return _then(clock, t_warmup, t_max, scale_warmup, lambda n: s.polynomial(n, power=k, start=1.0, to=low))


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "ConstantScheduler": constant,
    "ConstantWithWarmupScheduler": constant_with_warmup,
    "CosineAnnealingScheduler": cosine_annealing,
    "CosineAnnealingWarmRestartsScheduler": cosine_annealing_warm_restarts,
    "CosineAnnealingWithWarmupScheduler": cosine_annealing_with_warmup,
    "ExponentialScheduler": exponential,
    "LinearScheduler": linear,
    "LinearWithWarmupScheduler": linear_with_warmup,
    "MultiStepScheduler": multi_step,
    "MultiStepWithWarmupScheduler": multi_step_with_warmup,
    "PolynomialScheduler": polynomial,
    "PolynomialWithWarmupScheduler": polynomial_with_warmup,
    "StepScheduler": step,
}


@dataclass(frozen=True, slots=True)
class _Clock:
    """What turns a time into batches: the run's length in them and in epochs, and the schedule's ratio."""

    batches: int
    epochs: int | None
    per_epoch: int | None
    ratio: float

    @classmethod
    def of(cls, max_duration: str, dataloader_len: int | None, ratio: float) -> _Clock:
        per_epoch = None if dataloader_len is None else as_steps(dataloader_len, "dataloader_len", least=1)
        scale = as_number(ratio, "scale_schedule_ratio", above=0.0)
        amount, unit = _read(max_duration, "max_duration")
        if unit == "dur":
            raise SpecError(f"max_duration={max_duration!r} says itself how long the run is: give ba or ep")
        length = int(amount * scale)
        batches = length * _known(per_epoch, max_duration) if unit == "ep" else length
        if batches < 1:
            raise SpecError(f"max_duration={max_duration!r} times {scale:.6g} is no batch at all")
        return cls(batches, length if unit == "ep" else None, per_epoch, scale)

    def scaled(self, time: str, name: str) -> int:
        """A time in batches, times the ratio; a share is one of the scaled run already."""
        return self._batches(time, name, self.ratio)

    def plain(self, time: str, name: str) -> int:
        """A time in batches, not times the ratio."""
        return self._batches(time, name, 1.0)

    def divisor(self, time: str, name: str) -> int:
        """A scaled time that is something to divide by."""
        steps = self.scaled(time, name)
        if not steps:
            raise SpecError(f"{name}={time!r} is no batch at all: the peer would divide by 0")
        return steps

    def fit(self, schedule: Schedule, own: int) -> Schedule:
        """A schedule that ends in a hold, for this run: as it is, unless its own part is longer."""
        return over_own_length(schedule, own, self.batches) if own > self.batches else schedule

    def _batches(self, time: str, name: str, ratio: float) -> int:
        amount, unit = _read(time, name)
        if unit == "dur":
            # In the peer's order of multiplication: int() of the float makes 29 batches of 100, or 28.
            return (
                int(amount * self.batches)
                if self.epochs is None
                else int(amount * (self.per_epoch or 1) * self.epochs)
            )
        return int(int(amount) * (_known(self.per_epoch, time) if unit == "ep" else 1) * ratio)


def _read(time: str, name: str) -> tuple[float, str]:
    match = _TIME.fullmatch(time) if isinstance(time, str) else None
    if match is None:
        raise SpecError(f"{name} takes a time such as '10ba', '2ep' or '0.1dur', not {brief(time)}")
    amount, unit = float(match[1]), match[2]
    if unit != "dur" and not amount.is_integer():
        raise SpecError(f"{name}={time!r}: only dur takes a fraction")
    return amount, unit


def _known(per_epoch: int | None, time: str) -> int:
    if per_epoch is None:
        raise SpecError(f"{time!r} needs dataloader_len, the batches in an epoch")
    return per_epoch


def _marks(clock: _Clock, milestones: Sequence[str]) -> list[int]:
    if not isinstance(milestones, (list, tuple)) or not milestones:
        raise SpecError(
            f"milestones takes a list of times, such as ['10ba', '20ba'], not {brief(milestones)}"
        )
    return [clock.scaled(time, "milestones") for time in milestones]


def _drops(marks: Sequence[int], gamma: float) -> Schedule:
    return s.milestones(list(marks), factor=gamma, start=1.0).after("continue")


def _climb(
    clock: _Clock, t_warmup: str, top: float, scale_warmup: bool
) -> tuple[Schedule | None, Schedule | None]:
    """The ramp over the unscaled warmup, which may reach its top before the end, or not at all."""
    W = clock.plain(t_warmup, "t_warmup")
    n = clock.scaled(t_warmup, "t_warmup") if as_flag(scale_warmup, "scale_warmup") else W
    if W and not n:
        raise SpecError(f"t_warmup={t_warmup!r} times the ratio is no batch: the peer would divide by 0")
    if n < W:
        return ramp(n, to=top), s.hold(W - n, level=top)
    return (ramp(W, to=top * W / n) if W else None), None


def _then(
    clock: _Clock,
    t_warmup: str,
    t_max: str,
    scale_warmup: bool,
    decay: Callable[[int], Schedule],
    top: float = 1.0,
) -> Schedule:
    """The warmup, and the decay over what remains of t_max."""
    W, T = clock.plain(t_warmup, "t_warmup"), clock.scaled(t_max, "t_max")
    if clock.batches > T:
        raise SpecError(
            f"t_max={t_max!r} ends before the run, {clock.batches} batches: the peer refuses that"
        )
    if W >= T:  # the peer's progress is 0 then, for ever
        return clock.fit(sequence(*_climb(clock, t_warmup, top, scale_warmup), for_ever(top)), W)
    return clock.fit(sequence(*_climb(clock, t_warmup, top, scale_warmup), decay(T - W), s.hold()), T)
