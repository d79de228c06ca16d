from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.plot import rate_text, rate_ticks

rates = st.floats(1e-12, 1e6)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.0031, "3.1e-3"),
        (1e-4, "1e-4"),
        (0.1, "0.1"),
        (0.25, "0.25"),
        (1.0, "1"),
        (2.5, "2.5"),
        (30.0, "30"),
        (300.0, "300"),
        (1000.0, "1e3"),
        (0.0996, "9.96e-2"),
        (0.09999, "0.1"),
        (999.9, "1e3"),
        (99.96, "100"),
        (0.0, "0"),
        (-0.0031, "-3.1e-3"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_rate_is_written_as_people_write_it(rate, text):
    assert rate_text(rate) == text


@given(rates, st.integers(1, 6))
def test_a_written_rate_is_the_rate_rounded_to_its_digits(rate, digits):
    text = rate_text(rate, digits)
    assert float(text) == float(f"{rate:.{digits - 1}e}")
    assert not re.search(r"e[+-]?0|\.0*(e|$)|^0+$", text), "no padding, and never 0 for what is not"


@st.composite
def log_axes(draw):
    low = 10 ** draw(st.floats(-12, 4))
    return low, low * 10 ** draw(st.floats(1e-3, 14)), draw(st.integers(2, 16))


@given(log_axes())
def test_ticks_are_few_ascending_and_inside(axis):
    low, high, most = axis
    ticks = rate_ticks(low, high, most)
    assert len(ticks) <= max(2, most)
    assert list(ticks) == sorted(set(ticks))
    assert all(low * (1 - 1e-8) <= tick <= high * (1 + 1e-8) for tick in ticks)


@given(log_axes())
def test_an_axis_can_be_read(axis):
    """At least two labels, all different: one alone says nothing of the scale."""
    low, high, most = axis
    ticks = rate_ticks(low, high, most)
    assert len(ticks) >= 2
    if high > 1.05 * low:
        assert len({rate_text(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (1e-3, 1e-1, 10, (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)),
        (1e-3, 1e-1, 6, (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        (1e-7, 1.0, 8, (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
        (2.1e-3, 4.2e-3, 10, (2.5e-3, 3e-3, 3.5e-3, 4e-3)),
    ],
)
def test_the_densest_of_the_usual_series_that_fits(low, high, most, ticks):
    assert rate_ticks(low, high, most) == ticks


@pytest.mark.parametrize(
    "limits", [(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)]
)
def test_a_log_axis_needs_positive_limits(limits):
    with pytest.raises(ValueError, match="log axis"):
        rate_ticks(*limits)
