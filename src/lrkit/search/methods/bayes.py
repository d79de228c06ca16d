"""bayes: Optuna's samplers propose the rate and all other values together, four trials at a time, each of full length.

The first trials fill the space evenly; then a Gaussian process, or TPE where there are many parameters, says where the
objective is likely to be better. The sampler is made anew for every batch, in memory, from the results of earlier
batches and under a seed of its own: nothing is remembered, and resuming is asking again. The last trials vary the rate
alone, beside the best one and under its other values, so that its place can be told.

Needs the extra `search`, which is looked for before anything is trained; Optuna is imported when it is asked.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import statistics
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from lrkit.errors import MissingExtra, StudyError
from lrkit.search.methods.batches import (
    NextBatch,
    affordable,
    batch_at_hand,
    hopeful_merit,
    told_at_end,
)
from lrkit.search.methods.design import rate_range, spread_points, values_at
from lrkit.search.scale import merit
from lrkit.search.space import Choice, Parameter, Range, Space
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey, Value, Values, round_rate
from lrkit.training.seeding import derive_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["BAYES"]

BATCH = 4
"""Trials proposed together, the later ones in the knowledge that the earlier ones are under way."""
GAUSSIAN_PARAMETERS = 3
"""Up to so many parameters, the rate among them, a Gaussian process is asked; TPE for more."""
LINEAR = 2.0
"""Median excesses over the best up to which results are told as they are; then compressed: a cliff is no slope."""
FEW_BESIDE, MANY_BESIDE = (-0.3, 0.3), (-0.2, 0.2, -0.4, 0.4)
"""Where the rates of the last trials lie, in decades from the best one; many for a budget of `MANY` trials."""
MANY = 12

_Parameters = tuple[tuple[str, Parameter], ...]
_Place = tuple[Value, ...]
"""A value for each parameter: the rate, and the space's in their order."""


@dataclass(frozen=True, slots=True)
class _Bayes:
    """See the module."""

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """See `Method`. Raises StudyError for a budget of fewer than six trials, MissingExtra without Optuna."""
        for package in ("optuna", "scipy"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, "search", "method 'bayes'")
        fewest = BATCH + len(FEW_BESIDE)
        if settings.budget < fewest * settings.steps:
            raise StudyError(
                f"method 'bayes' trains {fewest} trials of {settings.steps} updates at least, and the "
                f"budget is {settings.budget} updates: raise budget="
            )
        at_hand = batch_at_hand(results, _next_batch_of(settings))
        if isinstance(at_hand, Stop):
            return at_hand
        keys = {proposal.key for proposal in at_hand.batch}
        own = [result for result in results if result.key in keys]
        spent = sum(result.cost for result in results) - sum(result.cost for result in own)
        room = _room(settings, spent)
        left = tuple(p for p in at_hand.batch[:room] if p in at_hand.left)
        if left:
            return left
        known = {result.key for result in results}
        beside = _beside(settings, [*at_hand.done, *own])
        answer = affordable(settings, results, [p for p in beside if p.key not in known])
        return told_at_end(settings, results, answer)

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """None: every trial is trained in one piece."""
        del settings, results
        return frozenset()


BAYES = _Bayes()


def _next_batch_of(settings: Settings) -> NextBatch:
    space = Space({}) if settings.space is None else settings.space
    parameters: _Parameters = (("lr", rate_range(settings)), *space.items())
    spread = BATCH * math.ceil(2 * len(parameters) / BATCH)

    def next_batch(done: tuple[Result, ...]) -> tuple[Proposal, ...] | Stop:
        tried = tuple((r.lr, *(value for _, value in r.values)) for r in done)
        if len(done) < spread:
            points = islice(spread_points(len(parameters), seed=settings.seed), len(done), len(done) + BATCH)
            return _proposals(settings, parameters, tried, [_place(parameters, point) for point in points])
        if all(hopeful_merit(settings, result) == math.inf for result in done):
            burst = all(result.diverged for result in done)
            return Stop(
                "every rate tried diverged" if burst else "no rate does better than the untrained model"
            )
        if _room(settings, sum(result.cost for result in done)) == 0:
            return ()
        seed = derive_seed(settings.seed, len(done)) % 2**32
        places = _suggested(parameters, tried, _scores(settings, done), seed)
        return _proposals(settings, parameters, tried, places)

    return next_batch


def _offsets(settings: Settings) -> tuple[float, ...]:
    if not settings.space:
        return ()
    return MANY_BESIDE if settings.budget >= MANY * settings.steps else FEW_BESIDE


def _room(settings: Settings, spent: int) -> int:
    """For how many trials before the last ones there is budget."""
    return max(0, (settings.budget - spent) // settings.steps - len(_offsets(settings)))


def _beside(settings: Settings, known: Sequence[Result]) -> Iterator[Proposal]:
    """Rates beside the best of `known`, under its other values."""
    hopeful = [r for r in known if hopeful_merit(settings, r) < math.inf]
    if not hopeful:
        return
    best = min(hopeful, key=lambda r: (hopeful_merit(settings, r), r.key))
    for offset in _offsets(settings):
        lr = round_rate(best.lr * 10.0**offset)
        if settings.low <= lr <= settings.high:
            yield Proposal(lr, settings.seed, 0, settings.steps, best.values)


def _place(parameters: _Parameters, point: Sequence[float]) -> _Place:
    return tuple(value for _, value in values_at(parameters, point))


def _proposals(
    settings: Settings, parameters: _Parameters, tried: Sequence[_Place], places: Sequence[_Place]
) -> tuple[Proposal, ...]:
    """A place that was tried before is tried again under the next seed."""
    names = [name for name, _ in parameters[1:]]
    before, proposals = list(tried), []
    for place in places:
        seed = settings.seed + before.count(place)
        values: Values = tuple(zip(names, place[1:], strict=True))
        proposals.append(Proposal(float(place[0]), seed, 0, settings.steps, values))
        before.append(place)
    return tuple(proposals)


def _scores(settings: Settings, done: Sequence[Result]) -> tuple[float, ...]:
    """As low as possible: the excess over the best, of the logarithm where there is one, in units of its median.

    What diverged counts as the worst that did not. Told as a failure it would tell nothing, and be tried again; told
    as it is, one result far up the cliff would flatten all that the others say.
    """
    finite = [result for result in done if not result.diverged]
    logarithmic = settings.direction == "min" and all(result.objective > 0 for result in finite)
    merits = [merit(result, settings.direction, logarithmic=logarithmic) for result in done]
    best = min(merits)
    unit = statistics.median(value - best for value in merits if value < math.inf) or 1.0
    excesses = [(value - best) / unit for value in merits]
    told = [e if e <= LINEAR else LINEAR + math.log1p(e - LINEAR) for e in excesses]
    worst = max(value for value in told if value < math.inf)
    return tuple(min(value, worst) for value in told)


@functools.lru_cache(maxsize=64)
def _suggested(
    parameters: _Parameters, tried: tuple[_Place, ...], scores: tuple[float, ...], seed: int
) -> tuple[_Place, ...]:
    """Where to go next: a pure function, remembered because every ask replays all earlier batches."""
    import optuna

    names = [name for name, _ in parameters]
    distributions = {name: _distribution(parameter) for name, parameter in parameters}
    with _quiet():
        study = optuna.create_study(sampler=_sampler(len(parameters), seed))
        for place, score in zip(tried, scores, strict=True):
            known = dict(zip(names, place, strict=True))
            study.add_trial(optuna.create_trial(params=known, distributions=distributions, value=score))
        asked = [study.ask(distributions).params for _ in range(BATCH)]
    return tuple(
        tuple(p.nearest(params[name]) if isinstance(p, Range) else params[name] for name, p in parameters)
        for params in asked
    )


def _sampler(dimensions: int, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler, TPESampler

    if dimensions <= GAUSSIAN_PARAMETERS:
        return GPSampler(seed=seed, n_startup_trials=0)
    return TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says nothing of studies that nobody else sees, nor that parts of it may change."""
    import optuna

    before: Any = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
