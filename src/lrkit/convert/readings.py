"""What torch's scheduler classes say about one parameter group: which schedule it follows, and how far it is.

Everything is read by attributes, as the classes name them in torch 2.4 to 2.13; torch is not imported.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from lrkit.convert.excerpt import excerpt
from lrkit.convert.members import anew, head, natural_length
from lrkit.convert.peers import torch as peer
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule, from_function, hold
from lrkit.schedule.curve import Ending

__all__ = ["Reading", "read"]

_SAME: Final = 1e-9
"""How far, relatively, a rate may lie from the formula before it counts as changed: torch's own drift is less."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A group under a scheduler: its whole schedule in units of `base`, and how far along it is.

    `rate` is the lr that the group holds. A `chainable` scheduler goes on from it by the ratio of its factors, any
    other overwrites it at the next step. `bottom` is an absolute rate that a chainable one approaches: there the
    ratio is that of the distances from it, and `over` gives the schedule for another base lr.
    """

    whole: Schedule
    step: int
    base: float
    rate: float
    chainable: bool = True
    bottom: float = 0.0
    over: Callable[[float], Schedule] | None = None

    def schedule(self) -> Schedule:
        """The rest of it."""
        if not self.base:
            if self.rate or self.bottom:
                raise SpecError(f"a base lr of 0, of which no factor is {self.rate or self.bottom:.6g}")
            return hold(level=0.0)
        due, now = self._due(), self.rate / self.base
        if math.isclose(due, now, rel_tol=_SAME, abs_tol=1e-15):
            return self._rest(self.step)
        if not self.chainable:
            return hold(1, level=now) >> self._rest(self.step + 1)
        low = self.bottom / self.base
        if math.isclose(due, low, rel_tol=_SAME, abs_tol=1e-15):
            if self.whole.ending == "hold":
                return hold(level=now)
            raise SpecError(
                f"the lr was set to {self.rate:.6g} at the bottom of {self.whole}, where no ratio leads on from it:"
                " let it take one more step, or write the schedule that is to follow"
            )
        if self.over is None or not low:
            return self._rest(self.step, now / due)
        base = self.bottom + (self.rate - self.bottom) * (1.0 - low) / (due - low)
        other = self.over(base)
        return excerpt(other, natural_length(other), first=self.step, scale=base / self.base)

    def _due(self) -> float:
        return float(self.whole.over(natural_length(self.whole), base_lr=self.base)(self.step))

    def _rest(self, step: int, scale: float = 1.0) -> Schedule:
        if not step and scale == 1.0:
            return self.whole
        return excerpt(self.whole, natural_length(self.whole), first=step, scale=scale)


class Restarted:
    """The cosine of warm restarts from any point of a cycle on, whole or not, in units of the base lr."""

    def __init__(self, at: float, period: float, growth: int, low: float) -> None:
        self._at, self._period, self._growth, self._low = at, period, growth, low

    def __call__(self, step: int) -> float:
        """The factor `step` steps on."""
        at, period = self._at + step, self._period
        while at >= period:
            at, period = at - period, period * self._growth
        return self._low + (1.0 - self._low) * (1.0 + math.cos(math.pi * at / period)) / 2.0


def read(scheduler: Any, place: int) -> Reading:
    """What `scheduler` says about the group at `place`. `Any`: it is known by its attributes alone."""
    kind = _kind(scheduler)
    group = scheduler.optimizer.param_groups[place]
    rate = float(group["lr"])
    if kind in _JOINTS:
        return _JOINTS[kind](scheduler, place, rate)
    bases = scheduler.base_lrs
    base = float(bases[place] if place < len(bases) else group.get("initial_lr", rate))
    return _CLASSES[kind](scheduler, place, base, rate)


def _kind(scheduler: Any) -> str:
    """The torch class that it is, if nothing of it was overridden."""
    for part in type(scheduler).__mro__:
        foreign = part.__module__.partition(".")[0] not in ("torch", "lrkit")
        if part.__name__ in peer.CONTROLLERS and not foreign:
            lows = scheduler.min_lrs
            asked = {name: getattr(scheduler, name) for name in _PLATEAU}
            peer.CONTROLLERS[part.__name__](**asked, min_lr=lows[0] if len(set(lows)) == 1 else list(lows))
        if part.__name__ in _NAMES and not foreign:
            return part.__name__
        if foreign and vars(part).keys() & {"get_lr", "step", "_get_closed_form_lr"}:
            break
    raise SpecError(
        f"{brief(type(scheduler).__name__)} computes rates of its own, which its attributes do not tell:"
        " write it as from_function(f)"
    )


def _lambda(s: Any, place: int, base: float, rate: float) -> Reading:
    function = s.lr_lambdas[place if place < len(s.lr_lambdas) else -1]
    return Reading(peer.lambda_lr(function), s.last_epoch, base, rate, chainable=False)


def _multiplicative(s: Any, place: int, base: float, rate: float) -> Reading:
    function = s.lr_lambdas[place if place < len(s.lr_lambdas) else -1]
    return Reading(peer.multiplicative_lr(function), s.last_epoch, base, rate)


def _step(s: Any, place: int, base: float, rate: float) -> Reading:
    return Reading(peer.step_lr(s.step_size, s.gamma), s.last_epoch, base, rate)


def _multi_step(s: Any, place: int, base: float, rate: float) -> Reading:
    marks = sorted(cast("Mapping[int, int]", s.milestones))
    repeated = [mark for mark in marks for _ in range(s.milestones[mark])]
    return Reading(peer.multi_step_lr(repeated, s.gamma), s.last_epoch, base, rate)


def _constant(s: Any, place: int, base: float, rate: float) -> Reading:
    return Reading(peer.constant_lr(s.factor, s.total_iters), s.last_epoch, base, rate)


def _linear(s: Any, place: int, base: float, rate: float) -> Reading:
    whole = peer.linear_lr(s.start_factor, s.end_factor, s.total_iters)
    return Reading(whole, s.last_epoch, base, rate)


def _exponential(s: Any, place: int, base: float, rate: float) -> Reading:
    return Reading(peer.exponential_lr(s.gamma), s.last_epoch, base, rate)


def _polynomial(s: Any, place: int, base: float, rate: float) -> Reading:
    return Reading(peer.polynomial_lr(s.total_iters, s.power), s.last_epoch, base, rate)


def _cosine(s: Any, place: int, base: float, rate: float) -> Reading:
    bottom = float(s.eta_min)

    def over(base_lr: float | None) -> Schedule:
        whole = peer.cosine_annealing_lr(s.T_max, bottom, base_lr=base_lr)
        return whole.after(_ending(s, "continue"))

    # torch lets the lr rise to an eta_min above the base lr; as an absolute level that is refused.
    whole = over(base if 0.0 < base < bottom else None)
    return Reading(whole, s.last_epoch, base, rate, bottom=bottom, over=over)


def _warm_restarts(s: Any, place: int, base: float, rate: float) -> Reading:
    bottom = float(s.eta_min)
    at, period = s.T_cur, s.T_0
    begun = 0
    while period < s.T_i and s.T_mult > 1:
        begun, period = begun + period, period * s.T_mult
    if at == int(at) and period == s.T_i:
        base_lr = base if 0.0 < base < bottom else None
        whole = peer.cosine_annealing_warm_restarts(s.T_0, s.T_mult, bottom, base_lr=base_lr)
        return Reading(whole, max(0, begun + int(at)), base, rate, chainable=False)
    rest = from_function(Restarted(at, s.T_i, s.T_mult, bottom / (base or 1.0))).after("continue")
    return Reading(rest, 0, base, rate, chainable=False)


def _cyclic(s: Any, place: int, base: float, rate: float) -> Reading:
    up = _whole_if_close(s.total_size * s.step_ratio)
    custom = getattr(s, "_scale_fn_custom", None)
    whole = peer.cyclic_lr(
        base,
        float(s.max_lrs[place if place < len(s.max_lrs) else -1]),
        up,
        _whole_if_close(s.total_size - up),
        s.mode if custom is None else "triangular",
        s.gamma,
        custom,
        s.scale_mode,
    )
    return Reading(whole, s.last_epoch, base, rate, chainable=False)


def _one_cycle(s: Any, place: int, base: float, rate: float) -> Reading:
    group = s.optimizer.param_groups[place]
    start, peak, end = (float(group[key]) for key in ("initial_lr", "max_lr", "min_lr"))
    whole = peer.one_cycle_lr(
        peak,
        s.total_steps,
        pct_start=min(1.0, max(0.0, (s._schedule_phases[0]["end_step"] + 1.0) / s.total_steps)),
        anneal_strategy=s._anneal_func_type,
        div_factor=peak / start,
        final_div_factor=start / end,
        three_phase=len(s._schedule_phases) == 3,
        base_lr=base,
    )
    return Reading(whole, s.last_epoch, base, rate, chainable=False)


def _swalr(s: Any, place: int, base: float, rate: float) -> Reading:
    group = s.optimizer.param_groups[place]
    swa_lr, n, step = float(group["swa_lr"]), s.anneal_epochs, s._step_count - 1
    function = getattr(s, "anneal_func", None)
    linear = getattr(s, "_anneal_strategy", None) == "linear" or "linear" in getattr(function, "__name__", "")
    p = min(1.0, step / n) if n else 1.0
    share = p if linear else (1.0 - math.cos(math.pi * p)) / 2.0
    if share == 1.0:
        return Reading(hold(level=swa_lr / (base or 1.0)), 0, base, rate, chainable=False)
    # It starts from the lr that it found, which is the base lr only where nothing came before it.
    found = (rate - share * swa_lr) / (1.0 - share)
    rest = peer.swalr(swa_lr, n, "linear" if linear else "cos", base_lr=found)
    return (
        Reading(excerpt(rest, n + 1, scale=found / (base or 1.0)), step, base, rate)
        if step
        else Reading(hold(level=found / (base or 1.0)) * rest if found != base else rest, 0, base, rate)
    )


def _sequential(s: Any, place: int, rate: float) -> Reading:
    members = [read(member, place) for member in s._schedulers]
    marks, now = list(s._milestones), s.last_epoch
    current = bisect_right(marks, now)
    base = members[0].base
    if now == 0 and math.isclose(members[0]._due() * base, rate, rel_tol=_SAME):
        wholes = [_in_units(member.whole, member.base, base) for member in members]
        return Reading(_in_order(s, wholes, place, base, [0, *marks]), 0, base, rate)
    at_work = members[current]
    rests = [_in_units(at_work.schedule(), at_work.base, base)]
    rests += [_in_units(member.whole, member.base, base) for member in members[current + 1 :]]
    ends = [0, *(mark - now for mark in marks[current:])]
    joined = _in_order(s, rests, place, base, ends, first=current)
    return Reading(joined, 0, base, rate, chainable=False)


def _in_order(
    s: Any, wholes: list[Schedule], place: int, base: float, ends: list[int], *, first: int = 0
) -> Schedule:
    """Each until the next one begins; a MultiplicativeLR goes on from the lr that it finds, times f(0)."""
    joined = wholes[0] if len(wholes) == 1 else head(wholes[0], ends[1])
    for k, whole in enumerate(wholes[1:], 1):
        member = s._schedulers[first + k]
        if _kind(member) == "MultiplicativeLR":
            left = float(joined.over(ends[k], base_lr=base)(ends[k] - 1))
            whole = excerpt(whole, 1, scale=left * float(member.lr_lambdas[place](0)))
        joined = joined >> (anew(whole) if k == len(wholes) - 1 else head(whole, ends[k + 1] - ends[k]))
    return joined


def _chained(s: Any, place: int, rate: float) -> Reading:
    for member in s._schedulers if len(s._schedulers) > 1 else ():
        if _kind(member) == "SequentialLR" and any(mark > member.last_epoch for mark in member._milestones):
            raise SpecError(
                "a chain with a sequence in it that has members to come: each of them begins by overwriting what the"
                " chain did, so it is no product of schedules"
            )
    members = [read(member, place) for member in s._schedulers]
    # One that is not chainable overwrites whatever those before it wrote.
    last = max((k for k, member in enumerate(members) if not member.chainable), default=0)
    acting = members[last:]
    if len(acting) > 1 and any(member.bottom for member in acting):
        raise SpecError("a chain in which eta_min is not 0 is no product of schedules")
    base = acting[0].base
    rests = [excerpt(m.whole, natural_length(m.whole), first=m.step) if m.step else m.whole for m in acting]
    whole = rests[0] if len(rests) == 1 else peer.chained_scheduler(rests)
    return Reading(whole, 0, base, rate, chainable=acting[0].chainable or len(acting) > 1)


def _in_units(schedule: Schedule, own: float, base: float) -> Schedule:
    """A schedule of factors of `own` as one of factors of `base`."""
    return schedule if own == base else hold(level=own / base) * schedule.body


def _ending(s: Any, otherwise: Ending) -> Ending:
    """What lrkit's own classes have been told about the end."""
    return "hold" if getattr(s, "after", "stock") == "hold" else otherwise


def _whole_if_close(size: float) -> float:
    """A size that was multiplied out, without the rounding of that."""
    near = float(round(size))
    return near if math.isclose(size, near, rel_tol=1e-12) else size


_CLASSES: Final[Mapping[str, Callable[[Any, int, float, float], Reading]]] = {
    "ConstantLR": _constant,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "CyclicLR": _cyclic,
    "ExponentialLR": _exponential,
    "LambdaLR": _lambda,
    "LinearLR": _linear,
    "MultiStepLR": _multi_step,
    "MultiplicativeLR": _multiplicative,
    "OneCycleLR": _one_cycle,
    "PolynomialLR": _polynomial,
    "SWALR": _swalr,
    "StepLR": _step,
}

_JOINTS: Final[Mapping[str, Callable[[Any, int, float], Reading]]] = {
    "ChainedScheduler": _chained,
    "SequentialLR": _sequential,
}

_NAMES: Final = _CLASSES.keys() | _JOINTS.keys()
_PLATEAU: Final = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
