"""Search: what a search found, as a value, and how the trials come to it. Nothing is trained or stored here."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrkit.range_test import RangeTest
from lrkit.search.curve_fit import CurveFit
from lrkit.search.fitting import fit_results
from lrkit.search.joint import Joint, best_values, only
from lrkit.search.scale import Scale, merit
from lrkit.search.space import Range
from lrkit.search.trials import Result, Settings, Stop, StopCause, Trial, TrialStatus, Values, round_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FittedCurve", "Search", "SearchStatus", "conclude"]

SearchStatus = Literal["settled", "not settled", "could not tell"]

GRID_RATES = 32
"""What a search is compared with: an exhaustive grid of so many rates at full length."""
GOOD, NEARLY_BEST = 0.02, 0.01
"""How much worse than the answer, as a part of its objective, a rate may be and count as good or as nearly the best."""
DRIFTING = 0.3
"""Decades from a third of the length to its whole above which the best rate is on the move."""
OUTSIDE = 0.1
"""Decades by which the fit may expect the best rate outside of those trained to the end."""
FEWEST_RATES = 3
"""Through fewer there is no curve: then the interval is all that was searched."""
AT_END = 0.01
"""Part of a range that is its end."""
WIDE = 1.0
"""Decades above which an interval says too little to call the search settled."""


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """The objective that a full training is expected to end with, against the rate: mean and 90 % band of the fit."""

    lrs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The best learning rate as far as it can be told, and on what that rests.

    lr: the mean, in decades, of where the fitted objective may be best, between the lowest and the highest rate
        trained to the end; it is the peak of the schedule.
    interval: holds the best rate with 90 % probability, by the fit and the errors that such fits were seen to
    make.
    good: the rates around `lr` whose fitted objective is within 2 % of the one there; where the objective is not a
        positive one that is minimised, within one deviation between seeds. `nearly_best`: within 1 %, or half of that.
    values: the best values of what was searched beside the lr; `joint` has their rank and what each is worth. The lr,
        its curve and its interval are those of trials with these values.
    objective: the fitted objective at `lr`; `objective_name` says of what.
    trials: every rate tried, by seed, as far as it was trained.
    member_steps: updates that all of it took, range test, replicates and diverged trials included (at the task's own
        batch size, as samples go: where the size is searched, larger batches took fewer);
        `grid_steps` is what 32 full trainings would have taken.
    best_by_steps: the best rate of the first seed's trials at each length, in updates: whether it still moves.
    best_by_seed: the best rate of each seed among those it was trained with to the end: how far luck moves it.
    drift: decades by which three times the length moves the best rate down, by the fit.
    route: how trials of one batch were trained: "loop", one after the other; "side by side", two at a time in threads;
        or stacked (see Population).
    status: "settled"; "not settled" where the best rate still moves with the length of training or may lie
        beyond what was tried; "could not tell" where the trials do not tell the rates apart. `reason` says
        why. `ended_by`: what ended the search, its "method", or "budget" or "time", of which more would go on.
    seconds: what range test and trials took, those of earlier sessions included; of trials side by side in several
        processes each counts by itself, two in threads share the time.
    """

    lr: float
    interval: tuple[float, float]
    good: tuple[float, float]
    nearly_best: tuple[float, float]
    objective: float
    objective_name: str
    trials: tuple[Trial, ...]
    member_steps: int
    seconds: float
    status: SearchStatus
    reason: str
    ended_by: StopCause
    curve: FittedCurve
    range_test: RangeTest | None
    steps: int
    best_by_steps: tuple[tuple[int, float], ...] = ()
    best_by_seed: tuple[tuple[int, float], ...] = ()
    drift: float = 0.0
    route: str = ""
    values: Values = ()
    joint: Joint | None = None

    @property
    def open_ends(self) -> tuple[bool, bool]:
        """Whether the interval ends, below and above, where the trials with the best other values do: the best rate may
        lie beyond such an end. Above rates that diverged nothing is expected.
        """
        own = [trial for trial in self.trials if trial.values == self.values]
        tried = [trial.lr for trial in own if trial.status != "diverged"]
        burst = [trial.lr for trial in own if trial.status == "diverged"]
        low, high = self.interval
        if not tried:  # all burst after they were measured once
            return True, False
        return low <= min(tried), high >= max(tried) and not any(lr > max(tried) for lr in burst)

    @property
    def grid_steps(self) -> int:
        """Updates of an exhaustive grid of 32 rates at this length."""
        return GRID_RATES * self.steps

    def plot(self) -> Figure:
        """The search as a figure: trials, fitted curve, answer. Raises MissingExtra without matplotlib."""
        from lrkit.plot import search_figure

        return search_figure(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data; objectives of diverged trials are None. "objective" is the name of what was measured."""
        return {
            "lr": self.lr,
            "interval": list(self.interval),
            "open_ends": list(self.open_ends),
            "good": list(self.good),
            "nearly_best": list(self.nearly_best),
            "objective": self.objective_name,
            "fitted": self.objective,
            "trials": [_trial_data(trial) for trial in self.trials],
            "member_steps": self.member_steps,
            "grid_steps": self.grid_steps,
            "steps": self.steps,
            "seconds": self.seconds,
            "status": self.status,
            "reason": self.reason,
            "ended_by": self.ended_by,
            "curve": {name: list(values) for name, values in asdict(self.curve).items()},
            "range_test": None if self.range_test is None else self.range_test.to_dict(),
            "best_by_steps": [list(pair) for pair in self.best_by_steps],
            "best_by_seed": [list(pair) for pair in self.best_by_seed],
            "drift": self.drift,
            "route": self.route,
            "values": dict(self.values),
            "joint": None if self.joint is None else self.joint.to_dict(),
        }


def conclude(
    settings: Settings,
    results: Sequence[Result],
    stop: Stop,
    *,
    objective_name: str,
    range_test: RangeTest | None,
    seconds: float,
    route: str = "",
) -> Search:
    """What these results say. `seconds` is what came before them; one at least must be finite."""
    spent, before = sum(result.cost for result in results), seconds + sum(r.seconds for r in results)
    every, joint = results, None
    if settings.space is not None:
        joint = best_values(settings, results)
        results = only(results, joint.best.values)
    scale, fit = fit_results(settings, results)
    status, reason = _status(settings, results, scale, fit)
    interval = (fit.low, fit.high)
    rates = [math.log10(result.lr) for result in results if not result.diverged]
    if len(set(rates)) < FEWEST_RATES:
        status, reason = "could not tell", f"fewer than {FEWEST_RATES} rates were trained"
        interval = min(*rates, math.log10(settings.low)), max(*rates, math.log10(settings.high))
    # Beyond the worst that was measured the compressed scale of the fit says nothing about objectives.
    worst = max(point.y for point in scale.points(results))
    values = scale.objective(np.minimum(np.stack([fit.mean, fit.band_low, fit.band_high]), worst))
    low, high = np.sort(values[1:], axis=0)
    # A loss stays above 0 by its scale; other objectives have bounds of their own.
    mean = values[0] if scale.logarithmic else _no_better_than_seen(settings, results, values[0])
    best = int(np.argmin(np.abs(fit.xs - fit.best)))
    return Search(
        lr=round_rate(10.0**fit.best),
        interval=(round_rate(10.0 ** interval[0]), round_rate(10.0 ** interval[1])),
        good=_within(scale, fit, GOOD),
        nearly_best=_within(scale, fit, NEARLY_BEST),
        objective=float(mean[best]),
        objective_name=objective_name,
        trials=_trials(settings, every),
        member_steps=spent + (0 if range_test is None else range_test.steps),
        seconds=before,
        status=status,
        reason="; ".join([reason, *_at_ends(settings, joint), stop.reason]),
        ended_by=stop.cause,
        curve=FittedCurve(
            tuple((10.0**fit.xs).tolist()),
            tuple(mean.tolist()),
            tuple(np.minimum(low, mean).tolist()),
            tuple(np.maximum(high, mean).tolist()),
        ),
        range_test=range_test,
        steps=settings.steps,
        best_by_steps=_best_by_steps(settings, results),
        best_by_seed=_best_by_seed(settings, results),
        drift=fit.drift,
        route=route,
        values=() if joint is None else joint.best.values,
        joint=joint,
    )


def _no_better_than_seen(
    settings: Settings, results: Sequence[Result], fitted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Between trials a fit may dip below all of them: an accuracy above 1 is nothing to promise."""
    finite = [r for r in results if not r.diverged and math.isfinite(r.objective)]
    seen = [r.objective for r in finite if r.steps == settings.steps] or [r.objective for r in finite]
    return np.maximum(fitted, min(seen)) if settings.direction == "min" else np.minimum(fitted, max(seen))


def _status(
    settings: Settings, results: Sequence[Result], scale: Scale, fit: CurveFit
) -> tuple[SearchStatus, str]:
    tried = [math.log10(result.lr) for result in results if not result.diverged]
    last = max(tried)
    at_low, at_high = fit.low <= min(tried), fit.high >= last
    if scale.unit == 0.0:
        return "could not tell", "all rates end the same"
    if at_low and at_high:
        return "could not tell", "the trials do not tell the rates apart"
    if settings.untrained < math.inf and _all_hopeless(settings, results):
        return "could not tell", "no rate does better than the untrained model"
    if not any(result.steps == settings.steps for result in results):
        return "not settled", "no trial reached the full length"
    burst = [math.log10(r.lr) for r in results if r.diverged]
    if at_low or (at_high and not any(x > last for x in burst)):
        return "not settled", f"the best rate may lie {'below' if at_low else 'above'} all that were tried"
    if fit.outside > OUTSIDE:
        return "not settled", "the best rate is expected where none was trained to the end"
    if abs(fit.drift) > DRIFTING:
        way, by = "down" if fit.drift > 0 else "up", abs(fit.drift)
        return (
            "not settled",
            f"longer trainings move the best rate {way}, by {by:.2f} decades for 3 times the length",
        )
    if settings.space is not None and len({r.seed for r in results if r.steps == settings.steps}) == 1:
        return "not settled", "one seed alone cannot tell luck from shape"
    if fit.high - fit.low > WIDE:
        return (
            "not settled",
            f"the best rate is known to a factor of {10 ** (fit.high - fit.low):.0f} only",
        )
    return "settled", "the best rate lies between worse ones"


def _at_ends(settings: Settings, joint: Joint | None) -> list[str]:
    """Which of the best values lie at an end of what was searched: a wider range may hold better ones."""
    if settings.space is None or joint is None:
        return []
    told = []
    for name, value in joint.best.values:
        parameter = settings.space[name]
        if isinstance(parameter, Range) and not AT_END < parameter.place(value) < 1 - AT_END:
            end = "lower" if parameter.place(value) < 0.5 else "upper"
            told.append(f"the best {name} is at the {end} end of its range")
    return told


def _all_hopeless(settings: Settings, results: Sequence[Result]) -> bool:
    worse = operator.gt if settings.direction == "min" else operator.lt
    return all(result.diverged or worse(result.objective, settings.untrained) for result in results)


def _best_by_steps(settings: Settings, results: Sequence[Result]) -> tuple[tuple[int, float], ...]:
    own = [r for r in results if r.seed == settings.seed and not r.diverged]
    lengths = sorted({r.steps for r in own})
    return tuple((steps, _best_rate(settings, [r for r in own if r.steps == steps])) for steps in lengths)


def _best_by_seed(settings: Settings, results: Sequence[Result]) -> tuple[tuple[int, float], ...]:
    full = [r for r in results if r.steps == settings.steps and not r.diverged]
    seeds = sorted({r.seed for r in full})
    return tuple((seed, _best_rate(settings, [r for r in full if r.seed == seed])) for seed in seeds)


def _best_rate(settings: Settings, results: Sequence[Result]) -> float:
    return min(results, key=lambda r: (merit(r, settings.direction, logarithmic=False), r.lr)).lr


def _within(scale: Scale, fit: CurveFit, part: float) -> tuple[float, float]:
    """The stretch around the answer whose fitted values exceed its own by less than `part` of the objective."""
    margin = fit.noise * part / GOOD
    if scale.logarithmic and scale.unit:
        margin = math.log1p(part) / scale.unit
    best = int(np.argmin(np.abs(fit.xs - fit.best)))
    worse = np.flatnonzero(fit.mean > fit.mean[best] + margin)
    below, above = worse[worse < best], worse[worse > best]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(fit.xs) - 1
    return round_rate(10.0 ** float(fit.xs[first])), round_rate(10.0 ** float(fit.xs[last]))


def _trials(settings: Settings, results: Sequence[Result]) -> tuple[Trial, ...]:
    latest = {r.key: r for r in sorted(results, key=lambda r: r.steps)}
    return tuple(_trial(settings, latest[key]) for key in sorted(latest))


def _trial(settings: Settings, r: Result) -> Trial:
    if r.diverged:
        return Trial(r.lr, r.seed, r.steps, math.nan, "diverged", r.metrics, r.values)
    status: TrialStatus = "finished" if r.steps == settings.steps else "stopped"
    return Trial(r.lr, r.seed, r.steps, r.objective, status, r.metrics, r.values)


def _trial_data(trial: Trial) -> dict[str, Any]:
    objective = trial.objective if math.isfinite(trial.objective) else None
    plain = {"objective": objective, "metrics": dict(trial.metrics), "values": dict(trial.values)}
    return asdict(trial) | plain
