"""Recipes are the compositions that they print as, and have the numbers of the papers that they are named after."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.schedule import (
    Schedule,
    absolute,
    infinite,
    linear_to_zero,
    natural_exponential,
    noam,
    ramp,
    slanted_triangle,
    trapezoid,
    wsd,
)
from lrkit.schedule.core import Then
from lrkit.schedule.phase import Phase
from lrkit.spec import parse
from lrkit.spec.recipes import RECIPES
from strategies import _RECIPES, quiet


@given(st.sampled_from(sorted(_RECIPES)).flatmap(_RECIPES.__getitem__))
def test_a_recipe_is_a_composition_of_shapes(schedule: Schedule) -> None:
    assert isinstance(schedule, (Then, Phase))
    assert not {entry.name for entry in RECIPES} & {
        part.split("(")[0] for part in str(schedule).split(" >> ")
    }
    assert parse(str(schedule)) == schedule


def test_the_cooldowns_of_wsd() -> None:
    """From 1 at the start of the cooldown, which is a fifth of the run, by the formulas of the papers."""
    shapes: dict[str, Callable[[float], float]] = {
        "one_minus_sqrt": lambda q: 1 - math.sqrt(q),
        "linear": lambda q: 1 - q,
        "cosine": lambda q: (1 + math.cos(math.pi * q)) / 2,
        "exponential": lambda q: 2 * 0.5**q - 1,
    }
    for shape, left in shapes.items():
        curve = wsd(20, decay=200, shape=shape, to=0.1).over(1000)  # type: ignore[arg-type]
        assert [curve(t) for t in (0, 19, 20, 799)] == pytest.approx([1 / 21, 20 / 21, 1, 1])
        expected = [0.1 + 0.9 * left(i / 200) for i in range(200)]
        np.testing.assert_allclose(curve.chunk(800, 1000), expected, rtol=1e-12)


@given(warmup=st.integers(1, 300), steps=st.integers(300, 600))
def test_noam_has_the_paper_s_numbers(warmup: int, steps: int) -> None:
    """Times its base lr, (d_model w)^-0.5, it is d_model^-0.5 min(t^-0.5, t w^-1.5), t from 1."""
    paper = [512**-0.5 * min(t**-0.5, t * warmup**-1.5) for t in range(1, steps + 1)]
    found = (512 * warmup) ** -0.5 * quiet(noam(warmup), steps).chunk(0, steps)
    np.testing.assert_allclose(found, paper, rtol=1e-12)


@given(cut=st.integers(1, 50), rest=st.integers(1, 200), ratio=st.floats(1, 64))
def test_slanted_triangles_have_the_paper_s_numbers(cut: int, rest: int, ratio: float) -> None:
    total = cut + rest
    paper = []
    for t in range(total):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (total / cut - 1))
        paper.append((1 + p * (ratio - 1)) / ratio)
    found = slanted_triangle(cut, ratio=ratio).over(total).chunk(0, total)
    np.testing.assert_allclose(found, paper, rtol=1e-11)


@pytest.mark.parametrize("shape", ["cosine", "inverse_sqrt"])
def test_infinite_goes_on_at_its_level_until_it_is_cooled_down(shape: str) -> None:
    trunk = infinite(10, cooldown=240, constant=0.5, shape=shape).over(1000)  # type: ignore[arg-type]
    branch = infinite(10, cooldown=240, constant=0.5, shape=shape, decay=100, to=0.05).over(1000)  # type: ignore[arg-type]
    assert trunk(10) == 1.0
    assert set(trunk.chunk(250, 1000).tolist()) == {0.5}
    assert branch.chunk(0, 900).tolist() == trunk.chunk(0, 900).tolist()
    expected = [0.5 * (0.05 / 0.5) ** (i / 100) for i in range(100)]
    np.testing.assert_allclose(branch.chunk(900, 1000), expected, rtol=1e-12)


@given(st.floats(0.001, 5))
def test_natural_exponential(k: float) -> None:
    found = natural_exponential(k, every=50).over(200).chunk(0, 200)
    np.testing.assert_allclose(found, [math.exp(-k * i / 50) for i in range(200)], rtol=1e-11)


def test_a_ramp_takes_as_long_for_each_factor_of_ten() -> None:
    curve = ramp(1e-4).over(400)
    np.testing.assert_allclose(
        curve(np.array([0, 100, 200, 300, 400])), [1e-4, 1e-3, 1e-2, 0.1, 1], rtol=1e-12
    )
    straight = ramp(absolute(1e-3), kind="linear").over(10, base_lr=1e-2)
    np.testing.assert_allclose(straight(np.array([0, 5, 10])), [0.1, 0.55, 1.0])


def test_the_same_ramp_up_and_down() -> None:
    curve = trapezoid(10).over(40)
    np.testing.assert_allclose(curve.chunk(0, 10), [(i + 1) / 11 for i in range(10)])
    assert set(curve.chunk(10, 31).tolist()) == {1.0}
    np.testing.assert_allclose(curve.chunk(30, 40), [1 - i / 10 for i in range(10)])


def test_linear_to_zero_spends_no_update_on_0() -> None:
    assert linear_to_zero(2).over(6).chunk(0, 7).tolist() == [1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wsd(shape="minus_sqrt"),
            "wsd(shape=) cannot be 'minus_sqrt'; did you mean 'one_minus_sqrt'?",
        ),
        (lambda: wsd(decay=0), "wsd(decay=) takes a duration above 0, not 0"),
        (lambda: noam("5%"), "noam() takes a whole number from 1 on, not '5%'"),
        (
            lambda: slanted_triangle(ratio=0.5),
            "slanted_triangle(ratio=) takes a finite number from 1, not 0.5",
        ),
        (lambda: natural_exponential(0), "natural_exponential() takes a finite number above 0, at most 700"),
        (lambda: ramp(0), "ramp(low=0) never leaves 0 by equal ratios"),
        (lambda: infinite(to=-1), "infinite(to=) takes a finite number from 0, not -1"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        call()
    assert message in str(caught.value)
