"""Each rule against a slow twin written from its source's description; the laws that lrkit's own keep."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrkit.errors import SpecError
from lrkit.range_test.rules import RULES

GRID = np.geomspace(1e-7, 10, 100)

positive_losses = arrays(np.float64, st.integers(40, 100), elements=st.floats(0.0078125, 50, width=32))


@st.composite
def wanderings(draw: st.DrawFn) -> np.ndarray:
    """Up to 100 losses without ties, which rounding would break one way or the other: a random walk."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = rng.normal(size=draw(st.integers(0, 100))) * 10 ** draw(st.floats(-3, 1))
    return draw(st.floats(-5, 20)) + np.cumsum(steps)


def bathtub(points: int, *, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A sweep as they look: flat, a fall about 1e-3, a rise about 0.3. Its lowest point is at 2.04e-2."""
    x = np.linspace(-7, 1, points)
    y = 2.3 - 2 / (1 + np.exp(-4 * (x + 3))) + np.exp(4 * (x + 0.5))
    return 10**x, y + noise * np.random.default_rng(seed).normal(size=points)


def fastai_twin(lrs, losses):
    """The list that fastai's suggestion functions get."""
    value, best, shown = 0.0, math.inf, []
    for count, loss in enumerate(losses, start=1):
        value = loss + (value - loss) * 0.98
        shown.append(value / (1 - 0.98**count))
        best = min(best, shown[-1])
        if shown[-1] > 4 * best:
            break
    skip = len(lrs) // 10
    return list(zip(lrs, shown, strict=False))[skip:-5]


def twin_steep(lrs, losses):
    points = fastai_twin(lrs, losses)
    slopes = [
        ((b[1] - a[1]) / (math.log(b[0]) - math.log(a[0])), a[0]) for a, b in itertools.pairwise(points)
    ]
    return min(slopes, key=lambda slope: slope[0])[1] if slopes else None


def twin_min_over_10(lrs, losses):
    points = fastai_twin(lrs, losses)
    return min(points, key=lambda point: point[1])[0] / 10 if points else None


def twin_valley(lrs, losses):
    points = fastai_twin(lrs, losses)
    longest = [1] * len(points)
    for i in range(len(points)):
        for j in range(i):
            if points[i][1] < points[j][1]:
                longest[i] = max(longest[i], longest[j] + 1)
    if not points or max(longest) == 1:
        return None
    end = longest.index(max(longest))
    third = max(longest) / 3
    return points[end - max(longest) + int(third) + int(third / 2)][0]


def twin_slide(lrs, losses):
    points = fastai_twin(lrs, losses)
    if len(points) < 16:
        return None
    gradient = np.gradient([loss for _, loss in points])
    right, left = -1, -16
    found = points[left][0]
    while left >= -len(points) and abs(gradient[right] - gradient[left]) > 0.005:
        found, right, left = points[left][0], right - 1, left - 1
    return found


def twin_lightning(lrs, losses):
    average, best, shown = 0.0, 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = 0.98 * average + 0.02 * loss
        shown.append(average / (1 - 0.98 ** (step + 1)))
        stops = step > 1 and shown[-1] > 4 * best
        if shown[-1] < best or step == 1:
            best = shown[-1]
        if stops:
            break
    kept = torch.tensor(shown[10:-1], dtype=torch.float64)
    rates = torch.tensor(lrs[: len(shown)][10:-1], dtype=torch.float64)
    if len(kept) < 2:
        return None
    return rates[torch.gradient(kept, spacing=(rates,))[0].argmin()].item()


def twin_torch_lr_finder(lrs, losses):
    shown: list[float] = []
    best = math.inf
    for loss in losses:
        shown.append(loss if not shown else 0.05 * loss + 0.95 * shown[-1])
        best = min(best, shown[-1])
        if shown[-1] > 5 * best:
            break
    kept = np.array(shown[10:-5])
    return lrs[10:][np.gradient(kept).argmin()] if len(kept) > 1 else None


def kernel_twin(lrs, losses):
    """The Gaussian average about every point, one weight at a time."""
    x = [math.log10(lr) for lr in lrs]
    width = max(0.3, 3 * (x[1] - x[0]))
    smoothed = []
    for centre in x[: len(losses)]:
        weights = [math.exp(-0.5 * ((other - centre) / width) ** 2) for other in x[: len(losses)]]
        smoothed.append(sum(w * y for w, y in zip(weights, losses, strict=True)) / sum(weights))
    return np.array(smoothed)


def twin_kmin(lrs, losses):
    return lrs[kernel_twin(lrs, np.minimum(losses, 2 * losses[0])).argmin()]


TWINS = {
    "steep": twin_steep,
    "valley": twin_valley,
    "slide": twin_slide,
    "min/10": twin_min_over_10,
    "lightning": twin_lightning,
    "torch-lr-finder": twin_torch_lr_finder,
}


@pytest.mark.parametrize("name", TWINS)
@given(losses=wanderings())
@settings(max_examples=200, deadline=None)
def test_a_peers_rule_says_what_its_twin_says(name, losses):
    ours, twins = RULES[name](GRID, losses), TWINS[name](GRID, losses)
    if ours is None or twins is None:
        assert ours == twins
    else:
        assert ours == pytest.approx(twins, rel=1e-12)


@pytest.mark.parametrize("name", [*TWINS, "kmin"])
@pytest.mark.parametrize("points", [60, 100, 300])
def test_rules_agree_with_their_twins_on_sweeps_as_they_look(name, points):
    lrs, losses = bathtub(points, noise=0.03, seed=points)
    twin = {**TWINS, "kmin": twin_kmin}[name]
    assert RULES[name](lrs, losses) == pytest.approx(twin(lrs, losses), rel=1e-12)


@pytest.mark.parametrize("points", [50, 100, 300, 1000])
def test_kmin_stays_at_the_minimum_whatever_the_length(points):
    lrs, losses = bathtub(points)
    true = lrs[losses.argmin()]
    # The rise is steeper than the fall: a symmetric average moves the minimum a little away from it.
    assert -0.3 < math.log10(RULES["kmin"](lrs, losses) / true) < 0.05


@given(losses=positive_losses, scale=st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_kmin_and_edge_do_not_know_the_unit_of_the_loss(losses, scale):
    for name in ("kmin", "edge"):
        assert RULES[name](GRID, losses) == RULES[name](GRID, losses * 2.0 ** round(math.log2(scale)))


@given(losses=positive_losses)
@settings(max_examples=60, deadline=None)
def test_kmin_is_a_rate_of_the_grid_and_edge_is_not_below_it(losses):
    lowest, last = RULES["kmin"](GRID, losses), RULES["edge"](GRID, losses)
    assert lowest in GRID[: len(losses)]
    assert last is None or last >= lowest


def test_one_enormous_loss_does_not_move_kmin():
    lrs, losses = bathtub(300)
    broken = losses.copy()
    broken[150] = 1e30
    assert abs(math.log10(RULES["kmin"](lrs, broken) / RULES["kmin"](lrs, losses))) < 0.05


def test_kmin_reads_losses_below_zero_as_those_above():
    lrs, losses = bathtub(300)
    # The same curve far below zero: the cap is then the fall above the start, not twice the first loss.
    shifted = RULES["kmin"](lrs, losses - 100)
    assert abs(math.log10(shifted / RULES["kmin"](lrs, losses))) < 0.15


def test_edge_is_the_last_rate_with_nine_tenths_of_the_fall():
    lrs, losses = bathtub(1000)
    smoothed = kernel_twin(lrs, np.minimum(losses, 2 * losses[0]))
    limit = smoothed.min() + 0.1 * (smoothed[0] - smoothed.min())
    assert RULES["edge"](lrs, losses) == lrs[np.flatnonzero(smoothed <= limit).max()]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_no_answer_to_nothing(name):
    assert RULES[name](GRID, []) is None


@pytest.mark.parametrize("name", ["edge", "valley"])
def test_a_loss_that_never_falls_gives_no_answer(name):
    assert RULES[name](GRID, np.linspace(1, 2, 100)) is None


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("lrs", "losses", "told"),
    [
        (GRID, [1.0, math.nan], "loss nan at point 1"),
        (GRID, [math.inf], "loss inf at point 0"),
        (GRID[::-1], [1.0], "rising"),
        ([-1.0, 1.0], [1.0], "positive"),
        (GRID[:2], [1.0, 1.0, 1.0], "at most as many losses"),
    ],
)
def test_a_rule_refuses_what_is_no_sweep(name, lrs, losses, told):
    with pytest.raises(SpecError, match=told):
        RULES[name](lrs, losses)
