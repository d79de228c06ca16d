"""How every figure here looks: colours, sizes, axes, and the one door to matplotlib. Knows no data.

Figures are `matplotlib.figure.Figure`, never pyplot: no global state, no window, no backend to choose. All
that matters is set on the artists themselves, so that a figure looks the same whatever a user's matplotlibrc
says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lrkit.errors import MissingExtra
from lrkit.plot.rates import rate_text, rate_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GHOST",
    "GREEN",
    "GREY",
    "INK",
    "LABEL_SIZE",
    "ORANGE",
    "PALE",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "dress",
    "log_rate_axis",
    "name_lines",
    "new_figure",
    "step_axis",
    "text_inches",
]

# Okabe and Ito's palette (2008): told apart with every common colour vision, and in print.
BLUE = "#0072B2"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
VERMILLION = "#D55E00"
INK = "#222222"
GREY = "#767676"  # 4.5 : 1 on white, so that small text in it can be read
GHOST = "#BEBEBE"
PALE = "#DDDDDD"

LABEL_SIZE = 8.5  # points, at the size the figure is meant to be printed in


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` x `height` inches whose layout keeps labels apart.

    Raises MissingExtra when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "plot", "drawing a figure") from error
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(ax: Axes, *, xlabel: str = "", ylabel: str = "") -> None:
    """Two spines, quiet ticks, a hairline grid, labels with their units."""
    ax.set_facecolor("white")
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
        spine.set_linewidth(0.7)
    ax.tick_params(which="major", labelsize=LABEL_SIZE, colors=GREY, labelcolor=INK, length=3.5, width=0.7)
    ax.tick_params(which="minor", colors=GREY, length=2.0, width=0.5)
    ax.grid(True, which="major", color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel(xlabel, fontsize=LABEL_SIZE + 0.5, color=INK)
    ax.set_ylabel(ylabel, fontsize=LABEL_SIZE + 0.5, color=INK)


def log_rate_axis(ax: Axes, low: float, high: float, *, which: str = "x", most: int = 13) -> None:
    """Make one axis a log axis of rates from `low` to `high`, labelled 1e-3, 2e-3, 5e-3."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter

    if which == "x":
        ax.set_xscale("log")
        ax.set_xlim(low, high)
    else:
        ax.set_yscale("log")
        ax.set_ylim(low, high)
    axis = ax.xaxis if which == "x" else ax.yaxis
    ticks = rate_ticks(low, high, most)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([rate_text(tick) for tick in ticks]))
    axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=200))
    axis.set_minor_formatter(NullFormatter())


def step_axis(ax: Axes, stop: int) -> None:
    """The horizontal axis counts optimizer updates 0 .. `stop`, with thousands set apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.set_xlim(0, max(1, stop))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u2009")))


def name_lines(
    ax: Axes, entries: Sequence[tuple[str, str, str]], *, corner: Literal["lower left", "upper right"]
) -> None:
    """Words with a sample of their line or mark, (words, colour, "-" or a marker), in an empty corner of `ax`."""
    from matplotlib.lines import Line2D

    samples = [
        Line2D([0, 1], [0, 0], color=colour, linestyle="-", linewidth=1.6, label=words)
        if mark == "-"
        else Line2D([0], [0], color=colour, linestyle="none", marker=mark, markersize=5, label=words)
        for words, colour, mark in entries
    ]
    key = ax.legend(
        handles=samples,
        loc=corner,
        fontsize=LABEL_SIZE,
        labelcolor=INK,
        framealpha=0.85,
        edgecolor="none",
        fancybox=False,
        facecolor="white",
        handlelength=1.5,
        handletextpad=0.5,
        borderpad=0.2,
        borderaxespad=0.4,
        labelspacing=0.3,
    )
    key.set_zorder(6)


def text_inches(texts: Sequence[str], size: float = LABEL_SIZE) -> float:
    """The width in inches of the longest of `texts`, a little generously: to keep labels apart."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    # An escaped dollar is a letter; a bare one would start a formula.
    plain = [text.replace("$", r"\$") for text in texts if text.strip()]
    paths = [TextPath((0, 0), text, size=size, prop=FontProperties(), usetex=False) for text in plain]
    return max((path.get_extents().width for path in paths), default=0.0) / 72 + 0.08
