"""auto: few trials, where they tell most about the lr at which the objective is lowest.

In order, each a batch of trials that may run side by side:

1. a coarse grid over the bracket, stopped before a third of the length; further out where the best is at an end, and
   halfway to neighbours that are far;
2. the rates around the best to the end, and further ones until it lies between worse ones;
3. pairs of rates, on both sides of the best, under further seeds, one at least where the budget holds it;
4. with what the budget still holds, whatever tells most.

A pair tells on which side of its middle the best rate lies, and how far; how much pairs disagree is what luck can do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from lrkit.search.curve_fit import CurveFit, Point, slope_variance
from lrkit.search.fitting import fit_results
from lrkit.search.methods.batches import SPENT, hopeful_merit, rest_of_batch, told_at_end
from lrkit.search.trials import Proposal, Result, Settings, Stop, TrialKey, round_rate

__all__ = ["AUTO", "SPACING", "least_budget", "rung_steps"]

SPACING = 0.4
"""Decades between coarse rates."""
CLOSE = 0.45
"""Decades to the best coarse rate above which a neighbour is far."""
GROWTH, MOST_GROWTH = 0.4, 3.0
"""Decades by which the bracket grows at a time, and in all, to each side."""
COARSE_FEWEST = 4
RUNGS = (0.3, 0.2, 0.1)
"""Where coarse trials stop, as parts of the length, the later ones for tight budgets: short trainings have another best
rate."""
KEPT = 3
"""Coarse rates that go on to the end."""
ASIDE = 0.35
"""Decades from the best to each rate of a pair: nearer they differ by noise, further off by the shape of the curve."""
MOST_SEEDS = 5
"""Seeds in all: two or three pairs are what the usual budget holds."""
NEAR = 0.6
"""Decades from the best within which coarse trials may go on, and single further ones lie."""
SETTLED = 0.12
"""Half-width of an interval, in decades, that is as narrow as intervals can get."""
WORTHWHILE = 0.02
"""The least part of the variance that a single further trial must take away."""


def rung_steps(settings: Settings) -> int:
    """After how many updates coarse trials stop: so that the budget holds a few, and the best ones to the end."""
    T = settings.steps
    rungs = [min(T, max(1, round(part * T), settings.earliest)) for part in RUNGS]
    fitting = [rung for rung in rungs if settings.budget >= (COARSE_FEWEST + 1) * rung + KEPT * (T - rung)]
    return next(iter(fitting), rungs[-1])


def least_budget(steps: int) -> int:
    """The smallest budget with an answer: four rates to a tenth of the length, the best one to the end."""
    rung = max(1, round(RUNGS[-1] * steps))
    return COARSE_FEWEST * rung + steps - rung


class _Auto:
    """See the module. Searches the lr alone."""

    def next_trials(self, settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
        """The trials to run now, or why there are none."""
        answer = rest_of_batch(settings, results, lambda done: _next_batch(_Board(settings, done)))
        return told_at_end(settings, results, answer) if settings.closed else answer

    def resumable(self, settings: Settings, results: Sequence[Result]) -> frozenset[TrialKey]:
        """The coarse trials of use; those near the best, when some have gone to the end."""
        board = _Board(settings, tuple(results))
        ended = {r.key for r in results if r.diverged or r.steps == settings.steps}
        began = any(r.steps == settings.steps for r in results)
        return frozenset(
            r.key
            for r in results
            if r.key not in ended
            and r.seed == settings.seed
            and board.merit(r) < math.inf
            and (not began or abs(math.log10(r.lr) - board.best_full) <= 2 * NEAR)
        )


AUTO = _Auto()


@dataclass(frozen=True, slots=True)
class _Board:
    """What is known after finished batches."""

    settings: Settings
    results: tuple[Result, ...]

    @property
    def left(self) -> int:
        return self.settings.budget - sum(r.cost for r in self.results)

    @property
    def rung(self) -> int:
        return rung_steps(self.settings)

    @property
    def rest(self) -> int:
        """From the rung to the end."""
        return self.settings.steps - self.rung

    def merit(self, result: Result) -> float:
        return hopeful_merit(self.settings, result)

    def at(self, steps: int, seed: int | None = None) -> dict[float, float]:
        """Merit by rate, ascending, of a seed's trials at just `steps` updates, or diverged on the way there."""
        seed = self.settings.seed if seed is None else seed
        found = [r for r in self.results if r.seed == seed]
        reached = [r for r in found if r.steps == steps or (r.diverged and r.steps < steps)]
        return {r.lr: self.merit(r) for r in sorted(reached, key=lambda r: r.lr)}

    @property
    def burst(self) -> float:
        """The lowest rate that diverged, inf without one."""
        return min((r.lr for r in self.results if r.diverged), default=math.inf)

    @property
    def best_full(self) -> float:
        """log10 of the best rate of the first seed at full length."""
        full = self.at(self.settings.steps)
        return math.log10(min(full, key=lambda lr: (full[lr], lr)))

    @property
    def ended(self) -> bool:
        """Whether some rate of the first seed has been trained to the end and was of use."""
        return any(value < math.inf for value in self.at(self.settings.steps).values())

    @property
    def replicated(self) -> bool:
        """Whether a further seed tells how two rates compare at the end."""
        s = self.settings
        ended = [r.seed for r in self.results if r.seed != s.seed and r.steps == s.steps and not r.diverged]
        return len(set(ended)) < len(ended)

    def fit(self) -> CurveFit:
        return fit_results(self.settings, self.results)[1]


def _next_batch(board: _Board) -> tuple[Proposal, ...] | Stop:
    for stage in (_coarse, _grow, _halve, _finish, _enclose):
        if batch := _within(board, stage(board)):
            return batch
    if all(r.diverged for r in board.results):
        return Stop("every rate tried diverged")
    if not any(board.merit(r) < math.inf for r in board.results):
        return Stop("no rate does better than the untrained model")
    if not board.ended:
        return SPENT if board.left < board.rest else Stop("no rate lasted to the end")
    fit = board.fit()
    narrow = max(fit.best - fit.low, fit.high - fit.best) <= SETTLED
    if narrow:
        # How far luck moves one seed's rates is known for sure by another seed's alone.
        pair = () if board.replicated else _within(board, islice(_pairs(board, fit), 2))
        short = not board.replicated and board.left < 2 * board.settings.steps
        return pair or (SPENT if short else Stop("further trials would tell little"))
    return _within(board, _pairs(board, fit)) or _most_telling(board, fit)


def _within(board: _Board, proposals: Iterator[Proposal]) -> tuple[Proposal, ...]:
    """Those that the ends of the range allow and the budget holds, in their order."""
    taken, budget = [], board.left
    for proposal in proposals:
        if board.settings.allows(proposal.lr) and proposal.cost <= budget:
            taken.append(proposal)
            budget -= proposal.cost
    return tuple(taken)


def _coarse(board: _Board) -> Iterator[Proposal]:
    """Evenly over the bracket, from its middle outwards, as many as leave room for one training to the end."""
    if board.results:
        return
    s = board.settings
    low, high = math.log10(s.low), math.log10(s.high)
    most = (s.budget - board.rest) // board.rung
    count = max(COARSE_FEWEST, min(round((high - low) / SPACING) + 1, most))
    for i in sorted(range(count), key=lambda i: (abs(2 * i - count + 1), i)):
        yield _new(s, low + (high - low) * i / (count - 1), board.rung)


def _grow(board: _Board) -> Iterator[Proposal]:
    """Beyond the best coarse rate where it is the outermost; lower when none is of use."""
    s, merits = board.settings, board.at(board.rung)
    if board.left < board.rung + board.rest:
        return
    best = _best(merits)
    lowest, highest = math.log10(min(merits)), math.log10(max(merits))
    if merits[best] == math.inf or best == min(merits):
        if lowest - GROWTH >= math.log10(s.low) - MOST_GROWTH:
            yield _new(s, lowest - GROWTH, board.rung)
    elif best == max(merits) and highest + GROWTH <= math.log10(s.high) + MOST_GROWTH:
        yield _new(s, highest + GROWTH, board.rung)


def _halve(board: _Board) -> Iterator[Proposal]:
    """Between the best coarse rate and neighbours that are far."""
    merits = board.at(board.rung)
    best = _best(merits)
    if merits[best] == math.inf or board.left < 2 * board.rung + KEPT * board.rest:
        return
    for neighbour in _neighbours(list(merits), best):
        if abs(gap := math.log10(neighbour / best)) > CLOSE:
            yield _new(board.settings, math.log10(best) + gap / 2, board.rung)


def _finish(board: _Board) -> Iterator[Proposal]:
    """The coarse rates around the best to full length, the nearest first."""
    s = board.settings
    living = {lr: value for lr, value in board.at(board.rung).items() if value < math.inf}
    if not living or not board.rest or any(r.steps > board.rung for r in board.results):
        return
    x = board.fit().best
    for lr in sorted(living, key=lambda lr: (round(abs(math.log10(lr) - x), 6), lr))[:KEPT]:
        yield Proposal(lr, s.seed, board.rung, s.steps)


def _enclose(board: _Board) -> Iterator[Proposal]:
    """The neighbours of the best full trial, until it is better than both."""
    if not board.ended:
        return
    s, full, coarse = board.settings, board.at(board.settings.steps), board.at(board.rung)
    best = _best(full)
    tried = sorted(full.keys() | coarse.keys())
    sides = _neighbours(tried, best)
    for lr in sides:
        if lr not in full and coarse[lr] < math.inf:
            yield Proposal(lr, s.seed, board.rung, s.steps)
    if len(sides) == 1:
        further = _new(s, math.log10(best) + (GROWTH if best == max(tried) else -GROWTH), s.steps)
        if further.lr < board.burst:
            yield further


def _pairs(board: _Board, fit: CurveFit) -> Iterator[Proposal]:
    """Both sides of the best under each further seed, two seeds at a time; the upper one below all that diverged, and
    neither beyond an end that is closed.
    """
    s = board.settings
    known = {r.seed for r in board.results}
    further = [seed for seed in range(s.seed, s.seed + MOST_SEEDS) if seed not in known]
    ends = (math.log10(s.low), math.log10(s.high)) if s.closed else (-math.inf, math.inf)
    lower = max(fit.best - ASIDE, ends[0])
    upper = min(fit.best + ASIDE, math.log10(board.burst) - 0.1, ends[1])
    upper = max(fit.best, upper)
    if round_rate(10.0**lower) == round_rate(10.0**upper):
        return  # between a closed end and a divergence there is no room for two
    for seed in further[: min(2, board.left // (2 * s.steps))]:
        yield _new(s, lower, s.steps, seed)
        yield _new(s, upper, s.steps, seed)


def _most_telling(board: _Board, fit: CurveFit) -> tuple[Proposal, ...] | Stop:
    """The one trial that lowers the variance of the slope across the best rate most, for its updates."""
    s = board.settings
    candidates = [p for p in _single_trials(board, fit) if s.allows(p.lr) and p.cost <= board.left]
    if not candidates:
        return SPENT if board.left < s.steps else Stop("the range has no further rate that would tell more")
    points = fit_results(s, board.results)[0].points(board.results)
    further = [[Point(math.log10(p.lr), 0.0, p.seed, 0.0)] for p in candidates]
    now, after = slope_variance(points, further, at=fit.best, noise=fit.noise)
    gains = [(1 - variance / now) / p.cost for variance, p in zip(after, candidates, strict=True)]
    chosen = max(range(len(candidates)), key=lambda i: (gains[i], -i))
    if 1 - after[chosen] / now < WORTHWHILE:
        return Stop("further trials would tell little")
    return (candidates[chosen],)


def _single_trials(board: _Board, fit: CurveFit) -> Iterator[Proposal]:
    s = board.settings
    for seed in sorted({r.seed for r in board.results}):
        full, short = board.at(s.steps, seed), board.at(board.rung, seed)
        for lr, value in short.items():
            if lr not in full and value < math.inf and abs(math.log10(lr) - fit.best) <= NEAR:
                yield Proposal(lr, seed, board.rung, s.steps)
        for offset in (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4):
            x = fit.best + offset
            if (
                all(abs(x - math.log10(lr)) > 0.05 for lr in full.keys() | short.keys())
                and 10.0**x < board.burst
            ):
                yield _new(s, x, s.steps, seed)


def _new(settings: Settings, x: float, stop: int, seed: int | None = None) -> Proposal:
    return Proposal(round_rate(10.0**x), settings.seed if seed is None else seed, 0, stop)


def _best(merits: dict[float, float]) -> float:
    return min(merits, key=lambda lr: (merits[lr], lr))


def _neighbours(rates: list[float], best: float) -> list[float]:
    i = rates.index(best)
    return rates[max(0, i - 1) : i] + rates[i + 1 : i + 2]
