"""The strip above a panel that says what was concluded: a row each for a rate, an interval, a set of rates.

Words that stand beside their own bar, above the data, can neither cover a point nor need a legend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lrkit.plot.style import LABEL_SIZE, new_figure, text_inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Row", "figure_with_strip"]

_ROW_INCHES = 0.23
_SIDE_INCHES = 0.85  # what tick labels and margins take from the figure's width


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the strip: words in a colour, a bar from `low` to `high` and a dot at `point` if given."""

    text: str
    colour: str
    low: float | None = None
    high: float | None = None
    point: float | None = None
    shade: float = 0.0
    """How strongly the panel below is shaded between `low` and `high`, 0 .. 1."""
    dotted: bool = False
    """Whether `low` and `high` go down through the panel as dotted lines."""
    over: tuple[float, float] | None = None
    """Words alone, centred over what lies between these rates in the next row."""


def figure_with_strip(
    rows: Sequence[Row], limits: tuple[float, float], *, width: float, height: float
) -> tuple[Figure, Axes]:
    """A figure of `width` x `height` inches plus the strip's own height, and its panel over a log axis."""
    inches = width - _SIDE_INCHES
    rows = [part for row in rows for part in _fitted(row, limits, inches)]
    strip_height = _ROW_INCHES * len(rows) + 0.02
    figure = new_figure(width, height + (strip_height if rows else 0.0))
    if not rows:
        return figure, figure.add_subplot()
    grid = figure.add_gridspec(2, 1, height_ratios=[strip_height, height - 0.6], hspace=0.0)
    panel = figure.add_subplot(grid[1])
    strip = figure.add_subplot(grid[0], label="strip")
    strip.set_axis_off()
    strip.set_xscale("log")
    strip.set_xlim(*limits)
    strip.set_ylim(-0.5, len(rows) - 0.5)
    for index, row in enumerate(rows):
        _draw_row(strip, row, len(rows) - 1 - index, limits, inches)
        _carry_down(panel, row)
    return figure, panel


def _draw_row(strip: Axes, row: Row, y: float, limits: tuple[float, float], inches: float) -> None:
    if row.low is not None and row.high is not None:
        strip.plot([row.low, row.high], [y, y], color=row.colour, linewidth=2.2, solid_capstyle="butt")
        for end in (row.low, row.high):
            strip.plot([end, end], [y - 0.2, y + 0.2], color=row.colour, linewidth=1.2)
    if row.point is not None:
        strip.plot([row.point], [y], marker="o", markersize=5.5, color=row.colour, linestyle="none")
    if not row.text:
        return
    left, right = _reach(row, limits, inches)
    needed = _needed(row)
    if row.over is not None:
        middle = sum(_fraction(rate, limits) for rate in row.over) / 2
        room = min(0.5, needed / inches / 2)
        anchor, offset, side = min(1 - room, max(room, middle)), 0, "center"
    elif inches - right >= needed:
        anchor, offset, side = right / inches, 6 if right else 0, "left"
    else:
        anchor, offset, side = left / inches, -6, "right"
    words = strip.annotate(
        row.text,
        (anchor, y),
        xycoords=("axes fraction", "data"),
        xytext=(offset, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        color=row.colour,
        fontsize=LABEL_SIZE,
        parse_math=False,
    )
    words.set_in_layout(False)  # its place is reckoned here; the layout must not shrink the panel for it


def _fitted(row: Row, limits: tuple[float, float], inches: float) -> tuple[Row, ...]:
    """The row, or where its bar leaves no room beside it, a row for the words and one for the bar."""
    left, right = _reach(row, limits, inches)
    if max(left, inches - right) >= _needed(row):
        return (row,)
    ends = [rate for rate in (row.low, row.high, row.point) if rate is not None]
    return Row(row.text, row.colour, over=(min(ends), max(ends))), replace(row, text="")


def _reach(row: Row, limits: tuple[float, float], inches: float) -> tuple[float, float]:
    """From where to where a row's marks go, in inches from the left; nowhere without any."""
    ends = [rate for rate in (row.low, row.high, row.point) if rate is not None]
    if not ends:
        return 0.0, 0.0
    return _fraction(min(ends), limits) * inches, _fraction(max(ends), limits) * inches


def _needed(row: Row) -> float:
    return text_inches([row.text]) + 0.1


def _carry_down(panel: Axes, row: Row) -> None:
    if row.shade and row.low is not None and row.high is not None:
        panel.axvspan(row.low, row.high, color=row.colour, alpha=row.shade, linewidth=0, zorder=0.5)
    if row.dotted and row.low is not None and row.high is not None:
        for end in (row.low, row.high):
            panel.axvline(end, color=row.colour, linewidth=0.9, linestyle=":", alpha=0.7, zorder=1.6)
    if row.point is not None:
        panel.axvline(row.point, color=row.colour, linewidth=1.1, zorder=2.5)


def _fraction(rate: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(1.0, max(0.0, math.log(rate / low) / math.log(high / low)))
