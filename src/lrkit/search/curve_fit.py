r"""The smooth curve through the trials: objective against log10 lr, where it is lowest, and how sure that is.

The model, in units of `Scale` (about 1 at half a decade from the best rate), with u = ln(T / t):

    y(x, seed, t) = f(x - s u) + d_t(x) + e_seed(x, t)
    f(x) = level + a V(x - m) + g(x)

- `V` is a valley with its floor at 0, value 1 half a decade to the left: what losses look like over
  log lr. Depth `a`, place `m` and slope to the right are unknown, and a Gaussian process `g` (Matern-5/2) bends
  it.
- `s u` moves the curve of runs stopped at update t < T sideways, `d_t` up or down and a little out of shape:
  short runs inform the shape, and nothing forces their lowest point on the long ones.
- `e_seed`, what one seed (weights, batch order, held-out part) does: a level of its own, and a Matern-3/2
  part, for near rates of a seed share their luck. Its sd is constant left of the best rate and grows to the
  right.

Depth, place, bend, noise and s are not fitted but averaged over a grid, each setting by its marginal
likelihood
times a prior: with eight points, a single best fit is far too sure of itself. `docs/search.md` says where the
constants come from.

Knows nothing of budgets, trials or files. Pure numpy, deterministic: the draws come from a generator of fixed
seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["CurveFit", "Point", "centre_of", "difference_noise", "fit_curve", "slope_variance"]

Floats = NDArray[np.float64]

GRID_STEP = 0.02
"""Decades between the rates at which the fitted curve is known."""
MODEL_ERROR = 0.1
"""Half-width in decades that no interval goes below: what the model itself gets wrong, in quadrature."""

INTERVAL = {"measured": (0.1, 0.9), "unknown": (0.05, 0.95)}
"""Quantiles of the lowest point that the 90 % interval reaches to, with the noise measured and without: with the error
of the model, what holds the best rate of real tasks nine times in ten (docs/measurements.md).
"""

# In units of the fit and in decades. What they rest on, and what they do to the intervals: docs/search.md.
DEPTHS = (0.2, 0.5, 1.0, 2.0)
DEPTH_CENTRE, DEPTH_SPREAD = 1.2, 1.0
FLOOR = 0.25
STEEPER = (0.7, 1.4)
PLACE_STEP, PLACE_MARGIN = 0.08, 0.3
BENDS, BEND_LENGTH = (0.2, 0.6), 0.6
NOISES = (0.05, 0.12, 0.25, 0.5, 1.0, 2.0)
NOISE_CENTRE, NOISE_SPREAD = 0.35, 0.8
MEASURED_FACTORS = (0.3, 0.5, 0.75, 1.1, 1.6)
MEASURED_CENTRE, MEASURED_SPREAD = 0.95, 0.5
NOISE_LENGTH = 1.0
NOISE_MEMORY = 3.0
NOISE_GROWTH, NOISE_LIMIT = 0.2, 10.0
OWN_SHARE = 0.05
SHIFTS = (-0.5, -0.35, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35, 0.5)
SHIFT_SPREAD = 0.4
LEVEL, SEED_LEVEL = 20.0, 2.0
ROUGHNESS, ROUGHNESS_LENGTH = 0.6, 0.7

DRAWS = 2000
NEGLIGIBLE = 1e-3
"""Settings of the covariances that weigh less than this part of the likeliest one are left out."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: x = log10 lr, shortness u (0 at full length), the seed, and y in units of the fit."""

    x: float
    shortness: float
    seed: int
    y: float


@dataclass(frozen=True, slots=True, eq=False)
class CurveFit:
    """The fitted curve on a grid of x = log10 lr: mean and 90 % band in units of the fit, and where it may be
    lowest.

    `best` is the mean of that: it lies closer to the best rate, and costs less, than where the mean curve is
    lowest; an end of what was tried where most of the curves are lowest there. It is moved by `outside` decades to
    where an answer is allowed. `low` and `high` hold the lowest point with 90 % probability, model error included;
    `noise` is the sd between seeds at the best rate; `drift` is by how many decades the lowest point lies lower at
    full length than at a third of it (what the fit holds most likely on average; 0 without short trials).
    """

    xs: Floats
    mean: Floats
    band_low: Floats
    band_high: Floats
    best: float
    outside: float
    low: float
    high: float
    noise: float
    drift: float


def fit_curve(
    points: Sequence[Point],
    *,
    low: float,
    high: float,
    within: tuple[float, float] | None = None,
    noise: float | None = None,
) -> CurveFit:
    """Fit the curve between x = `low` and x = `high`; the answer lies `within` that part of it.

    `noise` is that of the seeds by the scatter of what was measured, where it is known.
    """
    posterior = _Posterior.of(points, noise)
    xs = np.linspace(low, high, max(2, round((high - low) / GRID_STEP) + 1))
    mean, curves = posterior.draw(xs, DRAWS)
    lowest = xs[np.argmin(curves, axis=1)]
    first, last = np.quantile(lowest, INTERVAL["unknown" if noise is None else "measured"])
    band_low, band_high = np.quantile(curves, (0.05, 0.95), axis=0)
    centre = _centre(lowest, xs)
    best = float(np.clip(centre, *(within or (low, high))))
    weights = np.sum(posterior.weights, axis=1)
    return CurveFit(
        xs=xs,
        mean=mean,
        band_low=band_low,
        band_high=band_high,
        best=best,
        outside=abs(centre - best),
        low=best - math.hypot(max(0.0, best - float(first)), MODEL_ERROR),
        high=best + math.hypot(max(0.0, float(last) - best), MODEL_ERROR),
        noise=float(weights @ posterior.settings.noise.ravel()),
        drift=float(weights @ posterior.settings.shift.ravel()) * math.log(3.0),
    )


def _centre(lowest: Floats, xs: Floats) -> float:
    """The mean, on the grid so that rounding in the trials hardly ever moves it; an end where most lie there."""
    middle = float(np.median(lowest))
    if middle in (xs[0], xs[-1]):
        return middle
    return float(xs[np.argmin(np.abs(xs - np.mean(lowest)))])


def slope_variance(
    points: Sequence[Point],
    bundles: Sequence[Sequence[Point]],
    *,
    at: float,
    noise: float,
    reach: float = 0.15,
) -> tuple[float, list[float]]:
    """Variance of f(at + reach) - f(at - reach) now, and after each bundle of further measurements.

    Where a curve is lowest is where this difference is 0, so its variance, over the squared curvature, is
    that of the answer. It depends on where one measures and not on what one finds: a c-optimal design
    (Elfving 1952). The shape counts as unknown here; `y` is not read.
    """
    settings = _Settings.one(bend=2.0, noise=noise)
    target = _Places.curve(np.array([at - reach, at + reach]))
    contrast = np.array([-1.0, 1.0])
    prior = contrast @ _covariance(target, target, settings)[0] @ contrast

    def variance(extra: Sequence[Point]) -> float:
        known = _Places.of([*points, *extra])
        cross = _covariance(known, target, settings)[0] @ contrast
        return float(prior - cross @ np.linalg.solve(_measured_covariance(known, settings, at)[0], cross))

    return variance(()), [variance(bundle) for bundle in bundles]


def difference_noise(p: Point, q: Point, *, centre: float) -> float:
    """The sd of the difference of two measurements of one seed and length, at a noise of 1."""
    seeds = _seeds_covariance(_Places.of([p, q]), centre)
    return math.sqrt(seeds[0, 0] + seeds[1, 1] - 2.0 * seeds[0, 1])


def centre_of(points: Sequence[Point]) -> float:
    """The x of the lowest of the longest measurements: to its right the noise grows."""
    longest = min(point.shortness for point in points)
    return min((p.y, p.x) for p in points if p.shortness == longest)[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Settings:
    """Some settings of the covariances: one along the first axis, the other two are those of a covariance."""

    bend: Floats
    noise: Floats
    shift: Floats

    @classmethod
    def grid(cls, noises: Sequence[float], shifts: Sequence[float]) -> _Settings:
        return cls(*(column[:, None, None] for column in np.array(list(product(BENDS, noises, shifts))).T))

    @classmethod
    def one(cls, *, bend: float, noise: float, shift: float = 0.0) -> _Settings:
        return cls(*(np.full((1, 1, 1), value) for value in (bend, noise, shift)))

    def __getitem__(self, which: NDArray[np.bool_]) -> _Settings:
        return _Settings(self.bend[which], self.noise[which], self.shift[which])

    def log_prior(self, measured: float | None) -> Floats:
        centre, spread = (
            (NOISE_CENTRE, NOISE_SPREAD)
            if measured is None
            else (MEASURED_CENTRE * measured, MEASURED_SPREAD)
        )
        noise = np.log(self.noise.ravel() / centre) / spread
        shift = self.shift.ravel() / SHIFT_SPREAD
        return np.asarray(-0.5 * (noise**2 + shift**2))


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where one measures, as columns."""

    x: Floats
    shortness: Floats
    seed: NDArray[np.int64]

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Places:
        return cls(
            np.array([point.x for point in points]),
            np.array([point.shortness for point in points]),
            np.array([point.seed for point in points], dtype=np.int64),
        )

    @classmethod
    def curve(cls, xs: Floats) -> _Places:
        """The curve itself, at full length and of no seed."""
        return cls(xs, np.zeros(len(xs)), np.full(len(xs), -1, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    """Settings of the covariances (rows) and valleys (columns) with their weights, given what was measured."""

    measured: _Places
    residuals: Floats
    """What each valley leaves over at each measurement, by setting: (settings, valleys, measurements)."""
    centre: float
    settings: _Settings
    valleys: Floats
    """Depth, place, and how much faster it rises to the right: one valley a row."""
    weights: Floats

    @classmethod
    def of(cls, points: Sequence[Point], noise: float | None) -> _Posterior:
        measured, y = _Places.of(points), np.array([point.y for point in points])
        centre = centre_of(points)
        noises = NOISES if noise is None else [MEASURED_CENTRE * noise * f for f in MEASURED_FACTORS]
        settings = _Settings.grid(noises, SHIFTS if np.any(measured.shortness > 0) else (0.0,))
        places = np.arange(min(measured.x) - PLACE_MARGIN, max(measured.x) + PLACE_MARGIN, PLACE_STEP)
        valleys = np.array(list(product(DEPTHS, places, STEEPER)))
        moved = measured.x - settings.shift[:, 0] * measured.shortness
        residuals = y - _valley_values(valleys, moved)
        root = np.linalg.cholesky(_measured_covariance(measured, settings, centre))
        white = np.linalg.solve(root, np.swapaxes(residuals, 1, 2))
        height = np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1)
        depth = np.log(valleys[:, 0] / DEPTH_CENTRE) / DEPTH_SPREAD
        scores = (settings.log_prior(noise) - height)[:, None] - 0.5 * (depth**2 + np.sum(white**2, axis=1))
        weights = np.exp(scores - np.max(scores))
        kept = np.sum(weights, axis=1) >= NEGLIGIBLE * np.max(np.sum(weights, axis=1))
        weights = weights[kept] / np.sum(weights[kept])
        return cls(measured, residuals[kept], centre, settings[kept], valleys, weights)

    def draw(self, xs: Floats, draws: int) -> tuple[Floats, Floats]:
        """The curve at `xs`: its mean over settings and valleys, and draws, one a row."""
        wanted = _Places.curve(xs)
        cross = _covariance(self.measured, wanted, self.settings)
        gain = np.linalg.solve(_measured_covariance(self.measured, self.settings, self.centre), cross)
        spread = _covariance(wanted, wanted, self.settings) - np.swapaxes(cross, 1, 2) @ gain
        valleys = _valley_values(self.valleys, xs[None, :])[0]
        counts = np.diff(np.rint(np.concatenate([[0.0], np.cumsum(self.weights)]) * draws)).astype(int)
        generator = np.random.Generator(np.random.PCG64(0))
        total, curves = np.zeros(len(xs)), []
        for i, many in enumerate(counts.reshape(self.weights.shape)):
            means = valleys + self.residuals[i] @ gain[i]
            total += self.weights[i] @ means
            if np.any(many):
                root = np.linalg.cholesky(spread[i] + 1e-9 * LEVEL**2 * np.eye(len(xs)))
                curves.append(np.repeat(means, many, axis=0))
                curves[-1] += generator.standard_normal(curves[-1].shape) @ root.T
        return total, np.concatenate(curves)


def _valley_values(valleys: Floats, x: Floats) -> Floats:
    """Of each valley at rows of x: (rows, valleys, columns)."""
    depth, place, steeper = (valleys[None, :, i : i + 1] for i in range(3))
    d = x[:, None, :] - place
    d = np.where(d > 0.0, steeper * d, d) / FLOOR
    return np.asarray(depth * (np.sqrt(1.0 + d**2) - 1.0) / (math.hypot(1.0, 0.5 / FLOOR) - 1.0))


def _covariance(p: _Places, q: _Places, settings: _Settings) -> Floats:
    """Of the curves, without the seeds' part: one matrix for each setting."""
    apart = p.x[:, None] - q.x[None, :]
    if not (np.any(p.shortness) or np.any(q.shortness)):
        return np.asarray(LEVEL**2 + settings.bend**2 * _matern5(np.abs(apart) / BEND_LENGTH))
    moved = apart - settings.shift * (p.shortness[:, None] - q.shortness[None, :])
    short = np.sqrt(p.shortness[:, None] * q.shortness[None, :])
    bent = settings.bend**2 * _matern5(np.abs(moved) / BEND_LENGTH)
    rough = np.where(short > 0, LEVEL**2, 0.0) + ROUGHNESS**2 * short * _matern5(
        np.abs(apart) / ROUGHNESS_LENGTH
    )
    return np.asarray(LEVEL**2 + bent + rough)


def _measured_covariance(p: _Places, settings: _Settings, centre: float) -> Floats:
    """Of measurements: the curves' and the seeds' part, some of which is each measurement's own."""
    same = p.seed[:, None] == p.seed[None, :]
    # The curve is drawn at the level of the first seed: its trials are those that one sees around it.
    levels = np.where(same & (p.seed > np.min(p.seed)), SEED_LEVEL**2, 0.0)
    seeds = settings.noise**2 * _seeds_covariance(p, centre)
    return np.asarray(_covariance(p, p, settings) + levels + seeds + 1e-6 * np.eye(len(p.x)))


def _seeds_covariance(p: _Places, centre: float) -> Floats:
    """What the seeds do, at a noise of 1, but for their levels."""
    growth = np.minimum(10.0 ** (NOISE_GROWTH * np.maximum(p.x - centre, 0.0)), NOISE_LIMIT)
    same = p.seed[:, None] == p.seed[None, :]
    apart = np.abs(p.x[:, None] - p.x[None, :]) / NOISE_LENGTH
    memory = np.exp(-np.abs(p.shortness[:, None] - p.shortness[None, :]) / NOISE_MEMORY)
    shared = np.where(same, _matern3(apart) * memory, 0.0) + OWN_SHARE * np.eye(len(p.x))
    return np.asarray(np.outer(growth, growth) * shared)


def _matern3(r: Floats) -> Floats:
    """Matern-3/2 correlation at scaled distance r."""
    s = math.sqrt(3.0) * r
    return np.asarray((1.0 + s) * np.exp(-s))


def _matern5(r: Floats) -> Floats:
    """Matern-5/2 correlation at scaled distance r."""
    s = math.sqrt(5.0) * r
    return np.asarray((1.0 + s + s**2 / 3.0) * np.exp(-s))
