"""The convex bound: its published numbers, the formula written out beside it, and what must hold of any schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit.errors import SpecError
from lrkit.tuning import convex_bound

STEPS = 1600
factors = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=25).map(np.array)


def written_out(w, rate):
    """The bound at a rate, with D = G = 1, term by term as in arXiv:2501.18965."""
    total = sum(w)
    noise = sum(x * x for x in w) / total
    for k in range(len(w) - 1):
        noise += w[k] / sum(w[k + 1 :]) * sum(x * x for x in w[k:]) / sum(w[k:])
    return 1 / (2 * rate * total) + rate / 2 * noise


def of(text):
    return convex_bound(lrkit.parse(text).over(STEPS))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("linear(to=0)", 2.00),
        ("cosine(to=0)", 2.06),
        ("hold(60%) >> linear(to=0)", 2.06),
        ("hold(80%) >> linear(to=0)", 2.17),
        ("hold(80%) >> one_minus_sqrt(to=0)", 2.13),
        ("hold(90%) >> linear(to=0)", 2.30),
        ("cosine(to=0.1)", 2.14),
        ("inverse_sqrt(1)", 2.63),
        ("hold()", 2.99),
    ],
)
def test_the_values_of_well_known_shapes(text, value):
    assert of(text).value == pytest.approx(value, abs=0.006)


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("cosine(to=0)", 0.97),
        ("cosine(to=0.1)", 0.85),
        ("hold(60%) >> linear(to=0)", 0.61),
        ("hold(80%) >> linear(to=0)", 0.51),
        ("hold(80%) >> one_minus_sqrt(to=0)", 0.54),
        ("hold(90%) >> linear(to=0)", 0.46),
    ],
)
def test_their_best_rates_beside_that_of_the_linear_decay(text, ratio):
    assert of(text).rate / of("linear(to=0)").rate == pytest.approx(ratio, abs=0.006)


@given(factors)
def test_it_is_the_least_of_the_formula_written_out(w):
    bound = convex_bound(w)
    least = written_out(w, bound.rate)
    assert bound.value / math.sqrt(len(w)) == pytest.approx(least, rel=1e-9)
    assert least <= written_out(w, 1.01 * bound.rate)
    assert least <= written_out(w, bound.rate / 1.01)


@given(factors, st.floats(0.01, 100.0))
def test_factors_twice_as_large_want_half_the_rate(w, scale):
    one, other = convex_bound(w), convex_bound(scale * w)
    assert other.rate * scale == pytest.approx(one.rate, rel=1e-9)
    assert other.value == pytest.approx(one.value, rel=1e-9)


@given(factors, st.integers(1, 5))
def test_updates_at_rate_0_at_the_end_change_no_rate(w, zeros):
    assert convex_bound(np.append(w, np.zeros(zeros))).rate == pytest.approx(convex_bound(w).rate, rel=1e-12)


@pytest.mark.parametrize("w", [[], [0.0, 0.0], [1.0, -0.1], [1.0, math.nan], [[1.0, 1.0]]])
def test_what_the_theory_has_no_answer_for(w):
    with pytest.raises(SpecError, match="factors"):
        convex_bound(np.array(w))
