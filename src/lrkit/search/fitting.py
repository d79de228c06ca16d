"""From results to the fitted curve: which of them it looks at, in which units, and where its answer may lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from lrkit.search.curve_fit import CurveFit, centre_of, fit_curve
from lrkit.search.scale import Scale
from lrkit.search.scatter import measured_noise
from lrkit.search.trials import Result, Settings

__all__ = ["fit_results"]

WINDOW = (1.6, 1.3)
"""Decades below and above the best that the fit looks at."""

_fitted = lru_cache(maxsize=16)(fit_curve)
"""A method that replays its batches asks for the same fits again and again."""


def fit_results(settings: Settings, results: Sequence[Result]) -> tuple[Scale, CurveFit]:
    """The curve through the results near the best, between the outermost rates tried there.

    Its answer lies between the rates trained to the end, where there are any. One result must be finite.
    """
    ordered = sorted(results, key=lambda r: (r.lr, r.seed, r.steps))
    scale = Scale.of(ordered, steps=settings.steps, direction=settings.direction)
    points = scale.points(ordered)
    x = centre_of(points)
    near = tuple(p for p in points if -WINDOW[0] <= p.x - x <= WINDOW[1])
    alive = [(math.log10(r.lr), r.steps) for r in ordered if not r.diverged]
    tried = [place for place, _ in alive if -WINDOW[0] <= place - x <= WINDOW[1]]
    full = [place for place, steps in alive if steps == settings.steps] or tried
    noise = measured_noise(ordered, scale)
    fit = _fitted(near, low=min(tried), high=max(tried), within=(min(full), max(full)), noise=noise)
    return scale, fit
