"""The figure of a comparison: the rates that each schedule used, the search for its peak, and where it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.plot.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    dress,
    log_rate_axis,
    new_figure,
    step_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison_figure"]

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK)
_LINES = ("-", "--", ":")
_LONGEST_NAME = 34
_CAPTION_LINE = 0.15
_ABOVE = 2.9
"""Height of the upper panels in inches, with their labels."""
_DECADES_DOWN = 3.0
"""How far below the highest rate the axis of rates reaches: a decay to 0 has no end on a log axis."""
_AROUND = 0.5
"""Decades around each chosen rate that the fits are drawn in full height for; a cliff beyond goes off the panel."""

_Row = Mapping[str, Any]


def comparison_figure(data: Mapping[str, Any]) -> Figure:
    """The figure of `data`, a comparison as `Comparison.to_dict()` gives it.

    Above left: the rates that the first final training of each schedule used, on a log axis. Above right: what each
    search saw, its fitted objective over the peak lr; small dots are trials that were trained to the end, the large one
    is the chosen rate, the bar through it the 90 % interval of the best one. Below, the best first: the figure of each
    seed as a ring, the mean as a dot, and the 95 % interval of the paired difference to the best, laid at the best's
    mean (the vertical line). These intervals hold each by itself, while the p values beside them are corrected for
    all pairs (Holm): the caption says so, since a bar may then exclude the best where nothing is told apart. Bars
    corrected alike would be four times as long with six schedules and three seeds, and hide all else.
    """
    rows = list(data["schedules"])
    styles = _styles(rows)
    caption = _caption(rows)
    below = 0.62 + 0.27 * len(rows) + _CAPTION_LINE * len(caption)
    figure = new_figure(7.2, _ABOVE + below)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[_ABOVE, below]).flat
    rates, searches = upper.subplots(1, 2)
    _draw_rates(rates, rows, styles, int(data["steps"]))
    _draw_searches(searches, rows, styles)
    _draw_standings(lower.subplots(), rows, styles, data)
    if caption:
        lower.supxlabel("\n".join(caption), x=0.012, ha="left", fontsize=LABEL_SIZE - 0.5, color=GREY)
    return figure


def _styles(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Colour and line of each schedule: another kind of line where the colours begin anew."""
    colours = cycle(_COLOURS)
    return [
        {"color": next(colours), "linestyle": _LINES[index // len(_COLOURS) % len(_LINES)]}
        for index, _ in enumerate(rows)
    ]


def _draw_rates(ax: Axes, rows: Sequence[_Row], styles: Sequence[dict[str, Any]], steps: int) -> None:
    dress(ax, xlabel="step (optimizer updates)", ylabel="learning rate")
    step_axis(ax, steps)
    drawn = [(row["rates"], style) for row, style in zip(rows, styles, strict=True) if row.get("rates")]
    positive = [lr for rates, _ in drawn for lr in rates["lrs"] if lr > 0]
    if not positive:
        return
    top = max(positive)
    log_rate_axis(ax, max(min(positive), top / 10**_DECADES_DOWN) / 1.15, top * 1.25, which="y", most=7)
    for rates, style in reversed(drawn):
        lrs = np.array(rates["lrs"], dtype=float)
        lrs[lrs <= 0] = math.nan
        ax.plot(rates["steps"], lrs, linewidth=1.5, **style)


def _draw_searches(ax: Axes, rows: Sequence[_Row], styles: Sequence[dict[str, Any]]) -> None:
    found = [(row["search"], style) for row, style in zip(rows, styles, strict=True) if row.get("search")]
    name = str(found[0][0]["objective"]) if found else "objective"
    dress(ax, xlabel="peak learning rate", ylabel=f"{name} (searches)")
    if not found:
        return
    lrs = np.concatenate([np.asarray(search["curve"]["lrs"], dtype=float) for search, _ in found])
    log_rate_axis(ax, float(lrs.min()) / 1.1, float(lrs.max()) * 1.1, most=5)
    ax.set_ylim(*_value_limits([search for search, _ in found]))
    for search, style in reversed(found):
        curve, colour = search["curve"], style["color"]
        ax.plot(curve["lrs"], curve["mean"], linewidth=1.3, zorder=3, **style)
        ended = [trial for trial in search["trials"] if trial["status"] == "finished"]
        ax.scatter(
            [trial["lr"] for trial in ended],
            [trial["objective"] for trial in ended],
            s=6,
            color=colour,
            alpha=0.45,
            linewidths=0,
            zorder=2.5,
        )
        ax.plot(
            search["interval"], [search["fitted"]] * 2, color=colour, linewidth=2.6, alpha=0.4, zorder=3.5
        )
        ax.plot([search["lr"]], [search["fitted"]], "o", color=colour, markersize=5.5, zorder=4)


def _value_limits(searches: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """All minima, and each curve as far as it rises near its own."""
    lows, highs = [], []
    for search in searches:
        x = np.log10(np.asarray(search["curve"]["lrs"], dtype=float))
        mean = np.asarray(search["curve"]["mean"], dtype=float)
        near = mean[np.abs(x - math.log10(search["lr"])) <= _AROUND]
        lows.append(float(mean.min()))
        lows.append(float(search["fitted"]))
        highs += [float(near.max(initial=search["fitted"])), float(search["fitted"])]
    low, high = min(lows), float(np.quantile(highs, 0.8))
    high = max(high, *(float(search["fitted"]) for search in searches))
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    return low - 0.08 * span, high + 0.12 * span


def _draw_standings(
    ax: Axes, rows: Sequence[_Row], styles: Sequence[dict[str, Any]], data: Mapping[str, Any]
) -> None:
    better = "lower" if data["direction"] == "min" else "higher"
    count = len(data["seeds"])
    unequal = _unequal(rows)
    dress(ax, xlabel=f"{data['metric']} ({better} is better; {count} seed{'s' if count > 1 else ''})")
    ax.grid(visible=False, axis="y")
    ax.set_ylim(len(rows) - 0.45, -0.55)
    ax.set_yticks(
        range(len(rows)), [_name(row, unequal=unequal) for row in rows], parse_math=False, fontsize=LABEL_SIZE
    )
    ax.tick_params(axis="y", length=0)
    best = rows[0]["mean"] if rows else None
    if best is not None:
        ax.axvline(best, color=GREY, linewidth=0.8, zorder=1.5)
    for place, (row, style) in enumerate(zip(rows, styles, strict=True)):
        ax.get_yticklabels()[place].set_color(style["color"])
        _draw_standing(ax, row, style["color"], place, best)
    _say_beside(ax, rows)


def _draw_standing(ax: Axes, row: _Row, colour: str, place: int, best: float | None) -> None:
    values = [value for value in row["values"] if value is not None and math.isfinite(value)]
    ax.plot(
        values,
        [place] * len(values),
        "o",
        markersize=4,
        markerfacecolor="white",
        markeredgecolor=colour,
        zorder=3,
    )
    if row["mean"] is None:
        return
    if row["interval_of_difference"] is not None and best is not None:
        ends = [best + end for end in row["interval_of_difference"]]
        ax.plot(
            ends, [place, place], color=colour, linewidth=2.2, alpha=0.35, solid_capstyle="butt", zorder=2
        )
        for end in ends:
            ax.plot([end, end], [place - 0.16, place + 0.16], color=colour, linewidth=1.2, zorder=2)
    ax.plot([row["mean"]], [place], "o", color=colour, markersize=6.5, zorder=4)


def _caption(rows: Sequence[_Row]) -> list[str]:
    """What a reader must know to read the standings right, in lines."""
    lines = []
    if any(row["interval_of_difference"] is not None for row in rows):
        lines.append("Rings: seeds. Dots: means. Bars: 95 % interval of the paired difference to the best.")
        pairs = math.comb(sum(row["rank"] is not None for row in rows), 2)
        if pairs > 1:
            lines[0] = lines[0].replace(" to the best.", " to the best, each by itself;")
            lines.append(
                f"p: corrected for all {pairs} pairs (Holm), so a bar may miss the best where nothing is told apart."
            )
    if _unequal(rows):
        lines.append("* Trained without the held-out data, which its feedback watches.")
    return lines


def _unequal(rows: Sequence[_Row]) -> bool:
    """Whether some had less data to train with than others."""
    return len({row["data"] for row in rows if row["lr"] is not None}) > 1


def _say_beside(ax: Axes, rows: Sequence[_Row]) -> None:
    """What the test says of each row, in a column to the right of the panel."""
    words = [_words(row) for row in rows]
    for place, text in enumerate(words):
        ax.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=LABEL_SIZE,
            color=INK,
            parse_math=False,
        )


def _words(row: _Row) -> str:
    if row["lr"] is None:
        return "no rate trains"
    if row["diverged"]:
        return f"{row['diverged']} of {len(row['values'])} diverged"
    if row["rank"] == 1:
        return "best mean"
    if row["p"] is None:
        return ""
    p = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.2g}"
    return f"{p}, worse" if row["told_apart"] else f"{p}, not told apart"


def _name(row: _Row, *, unequal: bool) -> str:
    name = str(row["name"])
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1].rstrip()}\u2026"
    return f"{short} *" if unequal and row["data"] == "search" else short
