from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.plot import terminal_plot


def dots(plot, width=8):
    """The lit dots of a plot, as (column, row from below): read back from the characters, independently."""
    lines = [
        line.split("\u2524", 1)[1].ljust(width, "\u2800") for line in plot.splitlines() if "\u2524" in line
    ]
    numbering = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    height = 4 * len(lines)
    return {
        (2 * x + numbering[bit][0], height - 1 - (4 * y + numbering[bit][1]))
        for y, line in enumerate(lines)
        for x, cell in enumerate(line)
        for bit in range(8)
        if (ord(cell) - 0x2800) >> bit & 1
    }


def test_every_dot_of_a_slope_of_one_half():
    found = dots(terminal_plot([0, 15], [0, 7], width=8, height=2))
    assert found == {(x, round(x * 7 / 15)) for x in range(16)}


def test_the_axes_say_their_limits():
    assert terminal_plot([0, 15], [0, 3e-3], width=8, height=2).splitlines() == [
        "3e-3 \u2524\u2800\u2800\u2800\u2800\u28c0\u2824\u2812\u2809",
        "   0 \u2524\u28c0\u2824\u2812\u2809\u2800\u2800\u2800\u2800",
        "     \u2514\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500",
        "      0     15",
    ]


def test_a_flat_line_lies_in_the_middle():
    assert {row for _, row in dots(terminal_plot([0, 1], [3, 3], width=8, height=2))} == {4}


def test_a_single_point_is_a_dot():
    assert len(dots(terminal_plot([5.0], [2.0], width=8, height=2))) == 1


def test_a_log_axis_puts_equal_ratios_at_equal_distances():
    xs = [1e-4, 1e-3, 1e-2, 1e-1]
    found = dots(terminal_plot(xs, [0, 1, 0, 1], width=8, height=2, log_x=True))
    assert {column for column, row in found if row == 7} >= {5, 15}
    assert {column for column, row in found if row == 0} >= {0, 10}


def test_a_gap_interrupts_the_line():
    ys = np.linspace(0, 1, 16)
    ys[5:11] = np.nan
    columns = {column for column, _ in dots(terminal_plot(np.arange(16), ys, width=8, height=2))}
    assert columns == {0, 1, 2, 3, 4, 11, 12, 13, 14, 15}


def test_what_a_log_axis_cannot_show_is_left_out():
    plot = terminal_plot([0.0, 1.0, 10.0], [9.0, 1.0, 2.0], width=8, height=2, log_x=True)
    assert plot.startswith("2 "), "the point at 0 does not even set the limits"


def test_a_spike_of_one_step_among_many_is_seen():
    ys = np.zeros(10_000)
    ys[4321] = 1.0
    assert any(row == 7 for _, row in dots(terminal_plot(np.arange(10_000), ys, width=8, height=2)))


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.integers(8, 30),
    st.integers(2, 6),
)
def test_the_frame_holds_whatever_the_values(ys, width, height):
    plot = terminal_plot(np.arange(len(ys)), ys, width=width, height=height)
    lines = plot.splitlines()
    assert len(lines) == height + 2
    assert sum("\u2524" in line for line in lines) == height
    margin = lines[0].index("\u2524") + 1
    assert all(len(line) <= margin + width for line in lines[:-1])
    found = dots(plot, width)
    assert all(0 <= x < 2 * width and 0 <= y < 4 * height for x, y in found)
    if len(set(ys)) > 1:
        assert {y for _, y in found} >= {0, 4 * height - 1}, "the limits are those of the points"


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"xs": [1, 2], "ys": [1]}, "as many"),
        ({"xs": [], "ys": []}, "no finite point"),
        ({"xs": [1.0], "ys": [float("nan")]}, "no finite point"),
        ({"xs": [-1.0], "ys": [1.0], "log_x": True}, "no finite point"),
        ({"xs": [1.0], "ys": [1.0], "width": 3}, "8 x 2"),
        ({"xs": [1.0], "ys": [1.0], "height": 1}, "8 x 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        terminal_plot(call.pop("xs"), call.pop("ys"), **call)
