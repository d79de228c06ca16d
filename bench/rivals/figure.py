"""The figure of bench/search.py: a panel for each task, what each way's answers cost in regret."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from truth import Truth

from lrkit.plot.style import BLUE, GHOST, GREY, INK, LABEL_SIZE, VERMILLION, dress, new_figure
from rivals.judgement import Row, Summary, log_regret

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR, CEILING = 0.1, 3000.0
"""Percent at the two ends of the axis: what lies beyond is drawn there, luck below the best included."""
COLUMNS = 2


def search_bench_figure(
    rows: Sequence[Row], truths: Mapping[str, Truth], tasks: Mapping[str, Summary]
) -> Figure:
    """Dots are answers, the tick through them is their median, the grey line is the bar for lrkit's median; at the
    right stands the part of a 32-rate grid's updates that the way took.
    """
    names, most = list(tasks), max(len(task["ways"]) for task in tasks.values())
    columns = min(COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure = new_figure(0.6 + 3.7 * columns, 0.3 + lines * (0.75 + 0.21 * most))
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for i, (name, ax) in enumerate(zip(names, panels, strict=False)):
        _panel(ax, name, [row for row in rows if row["task"] == name], truths[name], tasks[name])
        if i + columns >= len(names):
            ax.set_xlabel("regret, %", fontsize=LABEL_SIZE + 0.5, color=INK)
    for ax in list(panels):
        ax.set_visible(False)
    return figure


def _panel(ax: Axes, name: str, rows: Sequence[Row], truth: Truth, task: Summary) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ways = list(task["ways"])
    dress(ax)
    ax.set_title(f"{name}: {task['steps']:,} updates a training", fontsize=LABEL_SIZE, color=INK, loc="left")
    ax.set_xscale("log")
    ax.set_xlim(0.8 * FLOOR, 1.25 * CEILING)
    ax.xaxis.set_major_locator(FixedLocator([0.1, 1, 10, 100, 1000]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if "bars" in task:
        ax.axvline(100 * task["bars"]["median_bar"], color=GHOST, linewidth=1.2, zorder=1)
    for y, way in enumerate(ways):
        colour = VERMILLION if way == "lrkit" else BLUE
        answers = [log_regret(row, truth) for row in rows if row["way"] == way]
        known = np.array([math.expm1(value) for value in answers if value is not None])
        placed = np.clip(100 * known, FLOOR, CEILING)
        ax.plot(
            placed, np.full(len(placed), y), "o", markersize=3, alpha=0.45, color=colour, markeredgewidth=0
        )
        if len(known):
            middle = float(np.clip(100 * np.median(known), FLOOR, CEILING))
            ax.plot([middle, middle], [y - 0.36, y + 0.36], color=colour, linewidth=1.8)
        share = f"{100 * task['ways'][way]['steps']:.1f} %"
        ax.text(
            1.02,
            y,
            share,
            transform=ax.get_yaxis_transform(),
            fontsize=LABEL_SIZE - 1,
            color=GREY,
            va="center",
        )
    ax.text(
        1.02,
        -0.95,
        "updates",
        transform=ax.get_yaxis_transform(),
        fontsize=LABEL_SIZE - 1,
        color=GREY,
        va="center",
    )
    ax.set_ylim(len(ways) - 0.5, -0.7)
    ax.set_yticks(range(len(ways)), ways)
    ax.grid(False, axis="y")
