"""plateau: cut the lr when a metric stops getting better."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, get_args

from lrkit.control.arguments import (
    as_choice,
    as_count,
    as_length,
    as_name,
    as_number,
    as_rates,
    call_text,
)
from lrkit.control.protocol import Action, Observation
from lrkit.duration import Duration, Horizon, half_up
from lrkit.errors import HorizonError, MetricError, SpecError, StateError

__all__ = ["Mode", "NanPolicy", "Plateau", "PlateauState", "ThresholdMode", "plateau"]

Mode = Literal["min", "max"]
ThresholdMode = Literal["rel", "abs", "signed"]
NanPolicy = Literal["error", "bad", "skip"]

_NOW = Duration(Fraction(0), "steps")
# A change of the lr below this part of it is rounding, no reduction.
_ROUNDING = 1e-12


def plateau(
    *,
    mode: Mode = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: ThresholdMode = "rel",
    cooldown: int = 0,
    min_lr: float | Sequence[float] = 0.0,
    eps: float = 1e-8,
    every: int | str | Duration | None = None,
    smoothing: float = 0.0,
    after: int | str | Duration = 0,
    metric: str | None = None,
    nan: NanPolicy = "error",
) -> Plateau:
    r"""Multiply the lr by `factor` once the metric was not better than its best for more than `patience` decisions.

    The rule is that of torch's ReduceLROnPlateau. At each decision, with the metric m and its best so far b:

    1. m is better if it beats b by the threshold; then b = m and the count of bad decisions is 0, else it rises;
    2. during the `cooldown` decisions after a reduction the count stays 0;
    3. a count above `patience` reduces: each group's lr becomes max(lr * factor, min_lr), unless that changes it by
       no more than `eps`; the count is 0 again and the cooldown begins.

    "Better" (mode "min"): m < b - threshold * abs(b) with threshold_mode "rel", m < b - threshold with "abs", and
    m < b * (1 - threshold) with "signed", which is torch's "rel". The two differ only where b is negative: there
    torch's bound lies above b, so that a metric that stands still counts as better for ever and nothing is ever
    reduced. With "rel" it does not; everywhere else they are the same to the last bit.

    every: decide at the first observation in each stretch of so many updates ("1 epoch"), by default at each one.
    smoothing: decide on the exponential moving average a = s a + (1 - s) m over all observations, divided by
        1 - s^n after the n-th so that it does not begin at 0; from 0 (the metric itself) to below 1.
    after: what is observed before so many updates are done (a warmup, say) is not looked at.
    metric: the name of the metric, where several are observed.
    nan: what a metric that is NaN or infinite is: an "error"; "bad", compared as it is, so that NaN is never better,
        as torch has it (it does not enter the average); or to "skip", as if it had not been observed.
    min_lr: an lr, or one for each group. A schedule may take the lr below it; the Scheduler's `floor` bounds both.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau. Raises SpecError for an argument out of range.

    >>> str(plateau(patience=5, every="1 epoch"))
    'plateau(patience=5, every=1 epoch)'
    """
    return Plateau(
        mode=mode,
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=threshold_mode,
        cooldown=cooldown,
        min_lr=min_lr,  # type: ignore[arg-type]  # as all below, made plain at the door
        eps=eps,
        every=every,  # type: ignore[arg-type]
        smoothing=smoothing,
        after=after,  # type: ignore[arg-type]
        metric=metric,
        nan=nan,
    )


@dataclass(frozen=True, slots=True)
class PlateauState:
    """What `plateau` remembers: the best metric, the counts, the average, and the updates done when it last decided."""

    best: float | None = None
    bad: int = 0
    cooldown: int = 0
    decided: int = 0
    mean: float = 0.0
    seen: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plateau:
    """A call of `plateau`, which says what each field means."""

    mode: Mode = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: ThresholdMode = "rel"
    cooldown: int = 0
    min_lr: float | tuple[float, ...] = 0.0
    eps: float = 1e-8
    every: Duration | None = None
    smoothing: float = 0.0
    after: Duration = _NOW
    metric: str | None = None
    nan: NanPolicy = "error"

    def __post_init__(self) -> None:
        as_choice("mode", self.mode, get_args(Mode))
        as_choice("threshold_mode", self.threshold_mode, get_args(ThresholdMode))
        as_choice("nan", self.nan, get_args(NanPolicy))
        plain = {
            "factor": as_number("factor", self.factor, above=0.0, below=1.0),
            "patience": as_count("patience", self.patience),
            "threshold": as_number("threshold", self.threshold),
            "cooldown": as_count("cooldown", self.cooldown),
            "min_lr": as_rates("min_lr", self.min_lr),
            "eps": as_number("eps", self.eps),
            "every": None if self.every is None else as_length("every", self.every),
            "smoothing": as_number("smoothing", self.smoothing, below=1.0),
            "after": as_length("after", self.after),
            "metric": None if self.metric is None else as_name("metric", self.metric),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if self.every is not None and not self.every.amount:
            raise SpecError("plateau(every=0): leave it out to decide at each observation")
        if self.mode == "min" and self.threshold_mode != "abs" and self.threshold >= 1:
            raise SpecError(
                f"plateau(threshold={self.threshold:g}): nothing positive is better by that part of itself;"
                " give a part below 1, or threshold_mode='abs'"
            )

    def over(self, horizon: Horizon) -> Plateau:
        """The same with `every` and `after` in steps."""
        every = None if self.every is None else max(1, half_up(horizon.steps_of(self.every)))
        after = half_up(horizon.steps_of(self.after))
        return replace(self, every=None if every is None else _steps(every), after=_steps(after))

    def settled(self, *, every: Duration, metric: str) -> Plateau:
        """The same with `every` and `metric` where they are not given."""
        return replace(self, every=self.every or every, metric=self.metric or metric)

    def init(self) -> PlateauState:
        """Nothing seen yet."""
        return PlateauState()

    def restore(self, data: Mapping[str, Any]) -> PlateauState:
        """The state whose `to_dict` gave `data`."""
        names = [f.name for f in fields(PlateauState)]
        wrong = [name for name in names if name not in data or not _fits(name, data[name])]
        if wrong or len(data) != len(names):
            shown = f"its {wrong[0]!r} is {data.get(wrong[0])!r}" if wrong else f"it has {sorted(data)}"
            raise StateError(f"this is no state of {self}: {shown:.80}")
        return PlateauState(**data)

    def update(self, state: PlateauState, observation: Observation) -> tuple[PlateauState, Action]:
        """One observation: see `plateau`."""
        lrs = observation.lrs
        nothing = Action((1.0,) * len(lrs))
        if isinstance(self.min_lr, tuple) and len(self.min_lr) != len(lrs):
            raise SpecError(f"{self} has {len(self.min_lr)} min_lr for {len(lrs)} groups: give one for each")
        if observation.step < _whole(self.after, "after"):
            return state, nothing
        value = observation.metric
        if math.isfinite(value):
            mean = self.smoothing * state.mean + (1.0 - self.smoothing) * value
            state = replace(state, mean=mean, seen=state.seen + 1)
            value = mean / (1.0 - self.smoothing**state.seen)
        elif self.nan == "skip":
            return state, nothing
        elif self.nan == "error":
            raise MetricError(
                f"{self} was given the metric {value} after {observation.step} updates: mend what is measured, or"
                " say nan='bad' (as torch) or nan='skip'"
            )
        if self.every is not None:
            every = _whole(self.every, "every")
            if observation.step // every <= state.decided // every:
                return state, nothing
        return self._decide(replace(state, decided=observation.step), value, lrs)

    def _decide(
        self, state: PlateauState, value: float, lrs: tuple[float, ...]
    ) -> tuple[PlateauState, Action]:
        best, bad, cooldown = state.best, state.bad + 1, state.cooldown
        if self._is_better(value, best):
            best, bad = value, 0
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        if bad <= self.patience:
            return replace(state, best=best, bad=bad, cooldown=cooldown), Action((1.0,) * len(lrs))
        known = "usable" if best is None else f"better than {best:.6g}"
        reason = f"{self.metric or 'the metric'} was not {known} in {bad} decisions"
        factors = tuple(self._cut(lr, least) for lr, least in zip(lrs, self._floors(lrs), strict=True))
        return replace(state, best=best, bad=0, cooldown=self.cooldown), Action(factors, reason)

    def _is_better(self, value: float, best: float | None) -> bool:
        if best is None:
            return value < math.inf if self.mode == "min" else value > -math.inf
        if self.threshold_mode == "abs":
            return value < best - self.threshold if self.mode == "min" else value > best + self.threshold
        # As a product, like torch, so that not even the last bit differs from it.
        part = -self.threshold if self.threshold_mode == "rel" and best < 0 else self.threshold
        return value < best * (1.0 - part) if self.mode == "min" else value > best * (part + 1.0)

    def _floors(self, lrs: tuple[float, ...]) -> tuple[float, ...]:
        return self.min_lr if isinstance(self.min_lr, tuple) else (self.min_lr,) * len(lrs)

    def _cut(self, lr: float, least: float) -> float:
        new = max(lr * self.factor, least)
        if not lr - new > max(self.eps, _ROUNDING * lr):
            return 1.0
        return self.factor if lr * self.factor >= least else least / lr

    def __str__(self) -> str:
        return call_text("plateau", self, python=False)

    def __repr__(self) -> str:
        return call_text("plateau", self, python=True)


def _steps(count: int) -> Duration:
    return Duration(Fraction(count), "steps")


def _whole(duration: Duration, what: str) -> int:
    if duration.unit != "steps":
        raise HorizonError(f"plateau({what}={duration}) is not in steps yet: use its over(horizon)")
    return duration.amount.numerator


def _fits(name: str, value: object) -> bool:
    if name == "best" and value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int if name not in ("best", "mean") else int | float):
        return False
    if name == "best":  # an infinite one was observed, with nan="bad"
        return not (isinstance(value, float) and math.isnan(value))
    return abs(value) <= sys.float_info.max if name == "mean" else value >= 0
