"""The marks of a search's figure: trials by seed and length, arrows for what lies beyond the scale, and their key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.search_dots import Dot
from lrkit.plot.style import BLUE, GHOST, GREEN, GREY, INK, LABEL_SIZE, ORANGE, PURPLE, SKY, text_inches

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["draw_key", "draw_trials"]

# Colour and shape both tell a seed, so that either alone does: in grey print, or to a colour-blind reader.
_COLOURS = (BLUE, PURPLE, SKY, ORANGE, GREEN)
_SHAPES = ("o", "s", "D", "p")
_MOST_SEEDS = 8
"""Seeds with an entry of their own in the key."""
_DIVERGED, _ABOVE, _BELOW = 0.97, 0.92, 0.03
"""Heights in the panel, 0 .. 1, of marks that have no height of their own."""
_MARK_INCHES = 0.36
"""What a mark in the key takes, with the space around it."""
_SMALLEST, _LARGEST = 7.0, 32.0
"""Areas in square points of a trial that was stopped at once, and of one that was trained to the end."""


def draw_trials(ax: Axes, dots: Sequence[Dot], low: float, high: float) -> list[Artist]:
    """Draw `dots` into a panel that shows objectives from `low` to `high`, and give the entries for the key.

    Full trainings are filled, and joined where they share a seed; those stopped early are open, the earlier the
    smaller and fainter. What lies beyond is an arrow at the edge, what diverged a cross at the top, both counted.
    """
    inside = [dot for dot in dots if low <= dot.objective <= high]
    chosen, others = [dot for dot in inside if dot.chosen], [dot for dot in inside if not dot.chosen]
    entries = _draw_others(ax, others)
    styles = _styles(dots)
    for seed, style in styles.items():
        _draw_seed(ax, [dot for dot in chosen if dot.seed == seed], style)
    entries = [*_seed_entries(chosen, styles), *_stopped_entry(chosen, styles), *entries]
    entries += _draw_arrows(ax, [dot for dot in dots if dot.objective > high], _ABOVE, "^")
    entries += _draw_arrows(ax, [dot for dot in dots if dot.objective < low], _BELOW, "v")
    return entries + _draw_crosses(ax, [dot for dot in dots if not math.isfinite(dot.objective)])


def draw_key(ax: Axes, entries: Sequence[Artist]) -> None:
    """What the marks are, in lines under the axis: they lie too close for labels beside them."""
    figure = ax.get_figure(root=True)
    if figure is None or not entries:
        return
    figure.legend(
        handles=list(entries),
        loc="outside lower center" if figure.get_constrained_layout() else "lower center",
        ncols=_columns([str(entry.get_label()) for entry in entries], figure.get_figwidth()),
        frameon=False,
        fontsize=LABEL_SIZE,
        labelcolor=INK,
        handlelength=1.6,
        handletextpad=0.4,
        columnspacing=1.4,
        labelspacing=0.35,
        borderaxespad=0.1,
    )


def _styles(dots: Sequence[Dot]) -> dict[int, tuple[str, str]]:
    """Colour and shape by seed: five times four, so that twenty seeds look all different."""
    seeds = sorted({dot.seed for dot in dots if dot.chosen})
    return {
        seed: (_COLOURS[place % len(_COLOURS)], _SHAPES[place % len(_SHAPES)])
        for place, seed in enumerate(seeds)
    }


def _draw_seed(ax: Axes, dots: Sequence[Dot], style: tuple[str, str]) -> None:
    colour, shape = style
    line = sorted((dot.lr, dot.objective) for dot in dots if dot.finished)
    if line:
        label = f"seed {dots[0].seed}"
        ax.plot(*zip(*line, strict=True), color=colour, linewidth=0.8, alpha=0.5, zorder=2.2, label=label)
    for dot in dots:
        size = _SMALLEST + (_LARGEST - _SMALLEST) * dot.part
        ax.scatter(
            [dot.lr],
            [dot.objective],
            s=size,
            marker=shape,
            facecolors=colour if dot.finished else "white",
            edgecolors="white" if dot.finished else colour,
            linewidths=0.5 if dot.finished else 1.0,
            alpha=1.0 if dot.finished else 0.4 + 0.45 * dot.part,
            zorder=4 if dot.finished else 2.4,
            label="finished" if dot.finished else "stopped early",
        )


def _draw_others(ax: Axes, dots: Sequence[Dot]) -> list[Artist]:
    """Trials with other values than the best, without their seeds: they only say what else was tried."""
    if not dots:
        return []
    for finished in (True, False):
        part = [dot for dot in dots if dot.finished is finished]
        ax.scatter(
            [dot.lr for dot in part],
            [dot.objective for dot in part],
            s=[5.0 + 7.0 * dot.part for dot in part],
            facecolors=GHOST if finished else "white",
            edgecolors=GHOST,
            linewidths=0.7,
            zorder=2.1,
            label="other values",
        )
    return [_entry("o", GHOST, GHOST, "other values", size=3.5)]


def _draw_arrows(ax: Axes, dots: Sequence[Dot], height: float, shape: str) -> list[Artist]:
    """An arrow for each trial beyond the scale, and what they are, counted, with the furthest."""
    if not dots:
        return []
    for dot in dots:
        colour = GREY if dot.chosen else GHOST
        ax.plot(
            [dot.lr],
            [height],
            shape,
            markersize=5.0 if dot.chosen else 4.0,
            markerfacecolor=colour if dot.finished else "white",
            markeredgecolor=colour,
            markeredgewidth=0.9,
            transform=ax.get_xaxis_transform(),
            zorder=3.5 if dot.chosen else 2.1,
            label="above the scale" if shape == "^" else "below the scale",
        )
    ended = sum(dot.finished for dot in dots)
    counts = [f"{ended} to the end"] * (ended > 0) + [f"{len(dots) - ended} stopped"] * (len(dots) > ended)
    furthest = max(dots, key=lambda dot: dot.objective if shape == "^" else -dot.objective).objective
    where, until = ("above", "up to") if shape == "^" else ("below", "down to")
    words = f"{where}: {', '.join(counts)}, {until} {rate_text(furthest)}"
    return [_entry(shape, GREY if ended else "white", GREY, words, size=5.0)]


def _draw_crosses(ax: Axes, dots: Sequence[Dot]) -> list[Artist]:
    if not dots:
        return []
    for chosen in (True, False):
        ax.plot(
            [dot.lr for dot in dots if dot.chosen is chosen],
            [_DIVERGED for dot in dots if dot.chosen is chosen],
            "x",
            color=INK if chosen else GHOST,
            markersize=5.5 if chosen else 4.0,
            markeredgewidth=1.3,
            transform=ax.get_xaxis_transform(),
            zorder=4 if chosen else 2.1,
            label="diverged",
        )
    return [_entry("x", INK, INK, f"diverged ({len(dots)})", size=5.5)]


def _seed_entries(chosen: Sequence[Dot], styles: dict[int, tuple[str, str]]) -> list[Artist]:
    seeds = sorted({dot.seed for dot in chosen})
    ended = {dot.seed for dot in chosen if dot.finished}
    if len(seeds) == 1:
        colour, shape = styles[seeds[0]]
        return [_entry(shape, colour, "white", "trained to the end")] if ended else []
    few = seeds if len(seeds) <= _MOST_SEEDS else seeds[: _MOST_SEEDS - 1]
    entries = []
    for seed in few:
        colour, shape = styles[seed]
        face, edge = (colour, "white") if seed in ended else ("white", colour)
        entries.append(_entry(shape, face, edge, f"seed {seed}", line=colour if seed in ended else None))
    if len(few) < len(seeds):
        entries.append(_entry("", GREY, GREY, f"and {len(seeds) - len(few)} further seeds"))
    return entries


def _stopped_entry(chosen: Sequence[Dot], styles: dict[int, tuple[str, str]]) -> list[Artist]:
    if all(dot.finished for dot in chosen):
        return []
    seeds = {dot.seed for dot in chosen}
    colour, shape = styles[min(seeds)] if len(seeds) == 1 else (GREY, "o")
    return [_entry(shape, "white", colour, "open: stopped early", size=4.5)]


def _entry(
    marker: str, face: str, edge: str, words: str, *, size: float = 5.5, line: str | None = None
) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=line,
        linestyle="none" if line is None else "-",
        linewidth=0.9,
        marker=marker,
        markersize=size,
        markerfacecolor=face,
        markeredgecolor=edge,
        label=words,
    )


def _columns(words: Sequence[str], inches: float) -> int:
    """As many as fit beside each other: a column is as wide as its longest entry."""
    for count in range(len(words), 1, -1):
        columns = np.array_split(np.asarray(words), count)
        if sum(text_inches(column.tolist()) + _MARK_INCHES for column in columns) <= inches:
            return count
    return 1
