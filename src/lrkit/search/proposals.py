"""What to train next: a pure function of the settings and the results so far; resuming is asking again.

In order: a coarse grid over the bracket, stopped at a third of full length; further out where the best is at an
end; halfway to its neighbours where these are far; another seed on both sides of the best; then the rate that the
fit holds best, and its neighbours, to full length, until the best is enclosed by worse ones; then, with what the
budget still holds, whatever tells most about where the curve is lowest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lrkit.search.curve_fit import CurveFit, Point, fit_curve, slope_variance
from lrkit.search.scale import Scale, merit
from lrkit.search.trials import Proposal, Result, Settings, Stop, round_rate

__all__ = ["fit_results", "least_budget", "next_trials", "resumable", "rung_steps"]

SPACING = 0.4
"""Decades between coarse rates; halved around the best one where a neighbour is further off than `CLOSE`."""
CLOSE = 0.3
GROWTH, MOST_GROWTH = 0.5, 3.0
"""Decades by which the bracket grows at a time, and in all, to each side."""
COARSE_FEWEST, COARSE_USUAL = 4, 7
ENCLOSING = 3
FIRST_RUNGS = (3, 5, 10)
"""Where coarse trials stop, as T/n: rates rank reliably from a third on, below a tenth they do not."""
ASIDE = 0.3
"""Decades from the best at which replicates tell its place: nearer they differ by noise alone."""
REACH = 0.7
"""Decades from the best coarse rate beyond which no trial is kept to go on."""
WINDOW = (1.6, 1.3)
"""Decades below and above the best that the fit looks at."""
SETTLED = 0.12
"""Half-width of an interval, in decades, that is as narrow as intervals can get."""
WORTHWHILE = 0.02
"""The least part of the variance that a further trial must take away."""
MOST_SEEDS = 4


def next_trials(settings: Settings, results: Sequence[Result]) -> tuple[Proposal, ...] | Stop:
    """The trials to run now, which may run side by side, or why there are none.

    Always within the budget, and the same for the same results, in whatever order these are. Whoever runs
    only the first and asks again gets a valid search too: that is what `search_lr` does.
    """
    board = _Board.of(settings, results)
    for stage in (_coarse, _grow, _halve, _replicate, _enclose):
        proposals = tuple(p for p in stage(board) if p.cost <= board.left)
        while sum(p.cost for p in proposals) > board.left:
            proposals = proposals[:-1]
        if proposals:
            return proposals
    if not board.alive:
        return Stop("every rate tried diverged")
    if all(board.merit(result) == math.inf for result in board.results):
        return Stop("no rate does better than the untrained model")
    return _refine(board)


def rung_steps(settings: Settings) -> int:
    """After how many updates coarse trials stop: a third of the length, less where the budget is tight."""
    T = settings.steps
    rungs = [max(1, T // part, min(settings.earliest, T)) for part in FIRST_RUNGS]
    fitting = [rung for rung in rungs if settings.budget >= COARSE_USUAL * rung + ENCLOSING * (T - rung)]
    return next(iter(fitting), rungs[-1])


def least_budget(steps: int) -> int:
    """The smallest budget with an answer: four rates to a tenth of the length, the best one to the end."""
    rung = max(1, steps // FIRST_RUNGS[-1])
    return COARSE_FEWEST * rung + steps - rung


def resumable(settings: Settings, results: Sequence[Result]) -> frozenset[tuple[float, int]]:
    """The trials, (lr, seed), that may yet go on from where they stopped; their states must be kept."""
    board = _Board.of(settings, results)
    full = board.at(settings.steps)
    waiting = [lr for lr, value in board.at(board.rung).items() if value < math.inf and lr not in full]
    began = any(r.steps == settings.steps for r in board.results)
    return frozenset((lr, settings.seed) for lr in waiting if not began or board.reaches(lr))


def fit_results(settings: Settings, results: Sequence[Result]) -> tuple[Scale, CurveFit]:
    """The curve through the results near the best, between the outermost rates tried there."""
    board = _Board.of(settings, results)
    return board.scale, board.fit()


@dataclass(frozen=True, slots=True)
class _Board:
    """The results by place: what each rate of the main seed has come to."""

    settings: Settings
    results: tuple[Result, ...]
    rung: int
    left: int
    latest: dict[float, Result]
    """Of the main seed, by rate, ascending."""
    alive: tuple[Result, ...]
    scale: Scale

    @classmethod
    def of(cls, settings: Settings, results: Sequence[Result]) -> _Board:
        ordered = tuple(sorted(results, key=lambda r: (r.lr, r.seed, r.steps)))
        own = {r.lr: r for r in ordered if r.seed == settings.seed}
        alive = tuple(r for r in ordered if not r.diverged)
        spent = sum(r.cost for r in ordered)
        scale = Scale.of(ordered, steps=settings.steps, direction=settings.direction)
        return cls(settings, ordered, rung_steps(settings), settings.budget - spent, own, alive, scale)

    def merit(self, result: Result) -> float:
        """As low as possible; inf for what diverged or ended worse than it began."""
        value = merit(result, self.settings.direction, logarithmic=False)
        worst = self.settings.untrained if self.settings.direction == "min" else -self.settings.untrained
        return math.inf if math.isfinite(worst) and value > worst else value

    def at(self, steps: int) -> dict[float, float]:
        """Merit by rate of the main seed's trials at just `steps` updates, or diverged on the way there."""
        return {
            r.lr: self.merit(r)
            for r in self.results
            if r.seed == self.settings.seed and (r.steps == steps or (r.diverged and r.steps < steps))
        }

    @property
    def burst(self) -> float:
        """The lowest rate that diverged, inf without one."""
        return min((r.lr for r in self.results if r.diverged), default=math.inf)

    def reaches(self, lr: float) -> bool:
        """Whether a coarse trial at `lr` is near enough to the best one to go on."""
        coarse = self.at(self.rung)
        best = min(coarse, key=lambda lr: (coarse[lr], lr))
        return abs(math.log10(lr / best)) <= REACH

    @property
    def finishing(self) -> int:
        """What coarse trials must leave for full ones."""
        rest = self.settings.steps - self.rung
        few = (COARSE_FEWEST + 1) * self.rung
        return rest * max(1, min(ENCLOSING, (self.settings.budget - few) // rest if rest else ENCLOSING))

    def fit(self) -> CurveFit:
        points = self.scale.points(self.results)
        longest = min(p.shortness for p in points)
        x = min((p.y, p.x) for p in points if p.shortness == longest)[1]
        near = [p for p in points if -WINDOW[0] <= p.x - x <= WINDOW[1]]
        tried = [math.log10(r.lr) for r in self.alive if -WINDOW[0] <= math.log10(r.lr) - x <= WINDOW[1]]
        full = [math.log10(r.lr) for r in self.alive if r.steps == self.settings.steps] or tried
        return fit_curve(near, low=min(tried), high=max(tried), within=(min(full), max(full)))


def _coarse(board: _Board) -> Iterator[Proposal]:
    """From the middle outwards; nothing above a rate that diverged."""
    s = board.settings
    low, high = math.log10(s.low), math.log10(s.high)
    count = max(COARSE_FEWEST, round((high - low) / SPACING) + 1)
    most = (s.budget - (s.steps - board.rung)) // board.rung
    count = max(COARSE_FEWEST, min(count, most))
    xs = [low + (high - low) * i / (count - 1) for i in range(count)]
    middle = (low + high) / 2
    for x in sorted(xs, key=lambda x: (round(abs(x - middle), 6), x)):
        yield from _at_rung(board, x)


def _grow(board: _Board) -> Iterator[Proposal]:
    """Half a decade beyond the best coarse rate where it is the outermost; lower when all diverged."""
    s = board.settings
    rates = list(board.at(board.rung))
    if not rates or board.left < board.rung + (board.finishing if board.alive else 0):
        return
    merits = board.at(board.rung)
    best = min(rates, key=lambda lr: (merits[lr], lr))
    lowest, highest = math.log10(min(board.latest)), math.log10(max(board.latest))
    if merits[best] == math.inf or best == min(rates):
        if lowest - GROWTH >= math.log10(s.low) - MOST_GROWTH:
            yield from _at_rung(board, lowest - GROWTH)
    elif best == max(rates) and highest + GROWTH <= math.log10(s.high) + MOST_GROWTH:
        yield from _at_rung(board, highest + GROWTH)


def _halve(board: _Board) -> Iterator[Proposal]:
    """Between the best coarse rate and neighbours that are far."""
    merits = board.at(board.rung)
    if not board.alive or min(merits.values(), default=math.inf) == math.inf:
        return
    best = min(merits, key=lambda lr: (merits[lr], lr))
    for neighbour in _neighbours(list(board.latest), best):
        gap = math.log10(neighbour / best)
        if abs(gap) > CLOSE and board.left >= board.rung + board.finishing:
            yield from _at_rung(board, math.log10(best) + gap / 2)


def _replicate(board: _Board) -> Iterator[Proposal]:
    """Another seed on both sides of the best coarse rate: one seed alone cannot tell luck from shape."""
    s, seed = board.settings, board.settings.seed + 1
    done = [r for r in board.results if r.seed == seed]
    began = any(r.steps > board.rung for r in board.results)
    if board.rung == s.steps or began or not any(v < math.inf for v in board.at(board.rung).values()):
        return
    if board.left < (2 - len(done)) * board.rung + board.finishing:
        return
    coarse = board.at(board.rung)
    best = math.log10(min(coarse, key=lambda lr: (coarse[lr], lr)))
    for lr in (round_rate(10.0 ** (best - ASIDE)), round_rate(10.0 ** (best + ASIDE))):
        if lr not in {r.lr for r in done} and lr < board.burst:
            yield Proposal(lr, seed, 0, board.rung)


def _enclose(board: _Board) -> Iterator[Proposal]:
    """The best to full length, and its neighbours, until it is better than both."""
    T = board.settings.steps
    full, coarse = board.at(T), board.at(board.rung)
    living = {lr: value for lr, value in coarse.items() if value < math.inf}
    if not any(value < math.inf for value in full.values()):
        waiting = [lr for lr in living if lr not in full and board.reaches(lr)]
        if waiting:
            x = board.fit().best
            yield _continue(board, min(waiting, key=lambda lr: (abs(math.log10(lr) - x), lr)))
        return
    best = min(full, key=lambda lr: (full[lr], lr))
    sides = _neighbours(list(board.latest), best)
    for lr in sorted(sides, key=lambda lr: (coarse.get(lr, math.inf), lr)):
        if lr not in full and coarse.get(lr, math.inf) < math.inf:
            yield _continue(board, lr)
    if len(sides) == 1:
        outward = 1 if best == max(board.latest) else -1
        yield from _new(board, math.log10(best) + outward * SPACING / 2, T)


def _refine(board: _Board) -> tuple[Proposal, ...] | Stop:
    """What lowers the uncertainty of the lowest point most, for its updates."""
    s = board.settings
    fit = board.fit()
    if max(fit.best - fit.low, fit.high - fit.best) <= SETTLED:
        return Stop("further trials would tell little")
    points = board.scale.points(board.results)
    bundles = [b for b in _bundles(board, fit) if sum(p.cost for p in b) <= board.left]
    if not bundles:
        return Stop(f"the budget of {s.budget} updates is spent")
    now, after = slope_variance(
        points, [[_point(s, p) for p in b] for b in bundles], at=fit.best, noise=fit.noise
    )
    gains = [(1 - v / now) / sum(p.cost for p in b) for v, b in zip(after, bundles, strict=True)]
    chosen = max(range(len(bundles)), key=lambda i: (gains[i], -i))
    if 1 - after[chosen] / now < WORTHWHILE:
        return Stop("further trials would tell little")
    return bundles[chosen]


def _bundles(board: _Board, fit: CurveFit) -> Iterator[tuple[Proposal, ...]]:
    s = board.settings
    coarse, full = board.at(board.rung), board.at(s.steps)
    for lr in coarse:
        if lr not in full and coarse[lr] < math.inf and abs(math.log10(lr) - fit.best) <= 0.6:
            yield (_continue(board, lr),)
    offsets = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
    for seed in range(s.seed, s.seed + MOST_SEEDS):
        done = {r.lr for r in board.results if r.seed == seed}
        # New coarse trials of the main seed could move the best of them, from which others are kept to go on.
        for length in {s.steps} if seed == s.seed else sorted({board.rung, s.steps}):
            fresh = {d: p for d in offsets for p in _fresh(s, fit.best + d, seed, length, done)}
            for p in fresh.values():
                if seed == s.seed or done:
                    yield (p,)
            if seed > s.seed and not done:
                for d in (0.1, 0.2, 0.3):
                    if -d in fresh and d in fresh:
                        yield (fresh[-d], fresh[d])
        if not done:
            return


def _fresh(s: Settings, x: float, seed: int, length: int, done: set[float]) -> Iterator[Proposal]:
    if all(abs(x - math.log10(lr)) > 0.05 for lr in done):
        yield Proposal(round_rate(10.0**x), seed, 0, length)


def _point(s: Settings, p: Proposal) -> Point:
    return Point(math.log10(p.lr), math.log(s.steps / p.stop), p.seed, 0.0)


def _at_rung(board: _Board, x: float) -> Iterator[Proposal]:
    yield from _new(board, x, board.rung)


def _new(board: _Board, x: float, stop: int) -> Iterator[Proposal]:
    lr = round_rate(10.0**x)
    if lr not in board.latest and lr < board.burst:
        yield Proposal(lr, board.settings.seed, 0, stop)


def _continue(board: _Board, lr: float) -> Proposal:
    return Proposal(lr, board.settings.seed, board.rung if board.reaches(lr) else 0, board.settings.steps)


def _neighbours(rates: list[float], best: float) -> list[float]:
    i = rates.index(best)
    return rates[max(0, i - 1) : i] + rates[i + 1 : i + 2]
