"""The figure of a search: every trial's objective against its learning rate, the fit, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.search_dots import read_dots, value_limits
from lrkit.plot.search_marks import draw_key, draw_trials
from lrkit.plot.strip import Row, figure_with_strip
from lrkit.plot.style import GREEN, INK, PALE, VERMILLION, dress, log_rate_axis

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_search", "search_figure"]

_MARGIN = 0.06
"""What is left free above and below the shown objectives, in parts of their range."""
_ABOVE, _BELOW = 0.14, 0.09
"""Beyond it, for marks of what lies higher or diverged (a row for each), or lower."""


def search_figure(data: Mapping[str, Any]) -> Figure:
    """The figure of `data`, a search as `Search.to_dict()` gives it.

    Filled marks are trials trained to the end, in a shape and a colour for each seed (same initial weights, same
    batches), and joined by a line. Open marks are trials stopped early, the smaller and fainter the earlier; small
    grey dots had other values than the best of what was searched beside the lr. The vertical axis follows full
    trainings and the fit near the best: arrows at its ends are trials beyond it, crosses at the top diverged, and
    the key counts both. The line is the fitted objective with its 90 % band. The strip shows the chosen rate, the
    90 % interval of the best rate, whose ends are dotted lines in the panel, and the rates that are as good, shaded.
    """
    figure, panel = figure_with_strip(_rows(data), _rate_limits(data), width=6.4, height=3.9)
    draw_search(panel, data)
    return figure


def draw_search(ax: Axes, data: Mapping[str, Any]) -> None:
    """The panel of `search_figure` alone, into `ax`: for a figure of your own."""
    dots = read_dots(data)
    low, high = value_limits(data, dots)
    dress(ax, xlabel="peak learning rate", ylabel=_objective_label(data))
    log_rate_axis(ax, *_rate_limits(data))
    span = high - low
    _value_axis(
        ax,
        (low - _MARGIN * span, high + _MARGIN * span),
        above=_ABOVE * span if any(not dot.objective <= high for dot in dots) else 0.0,
        below=_BELOW * span if any(dot.objective < low for dot in dots) else 0.0,
    )
    marks = draw_trials(ax, dots, low, high)
    draw_key(ax, [*marks, *_draw_curve(ax, data.get("curve"), low - _MARGIN * span, high + _MARGIN * span)])


def _value_axis(ax: Axes, limits: tuple[float, float], *, above: float, below: float) -> None:
    """The vertical axis ends where its scale does: the marks beyond stand at no value."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    low, high = limits
    ax.set_ylim(low - below, high + above)
    ticks = MaxNLocator(nbins=8, steps=[1, 2, 5, 10]).tick_values(low, high)
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    ax.spines["left"].set_bounds(low, high)
    for end, room in ((high, above), (low, below)):
        if room:
            ax.axhline(end, color=PALE, linewidth=0.8, zorder=1.4)


def _rows(data: Mapping[str, Any]) -> list[Row]:
    rows, lr, interval, good = [], data.get("lr"), data.get("interval"), data.get("good")
    if good:
        words = f"as good: {rate_text(min(good))} to {rate_text(max(good))}"
        rows.append(Row(words, GREEN, low=min(good), high=max(good), shade=0.09))
    if interval is not None:
        words = f"90 % interval of the best: {rate_text(interval[0])} to {rate_text(interval[1])}"
        rows.append(Row(words, INK, low=interval[0], high=interval[1], dotted=True))
    if lr is None:
        return [*rows, Row(f"no answer: {data.get('reason') or data.get('status')}", VERMILLION)]
    doubt = "" if data.get("status") in (None, "settled") else f" ({data['status']})"
    return [*rows, Row(f"chosen: {rate_text(lr)}{doubt}", VERMILLION, point=lr)]


def _rate_limits(data: Mapping[str, Any]) -> tuple[float, float]:
    rates = [trial["lr"] for trial in data["trials"]] or [1e-4, 1.0]
    rates += data.get("interval") or []
    margin = max((max(rates) / min(rates)) ** 0.04, 1.08)
    return min(rates) / margin, max(rates) * margin


def _draw_curve(ax: Axes, curve: Mapping[str, Any] | None, low: float, high: float) -> list[Artist]:
    """The fitted objective with its band, as far as they lie between `low` and `high`."""
    from matplotlib.patches import Rectangle

    if curve is None:
        return []
    lrs, mean, bottom, top = (np.asarray(curve[name], dtype=float) for name in ("lrs", "mean", "low", "high"))
    band = ax.fill_between(
        lrs,
        bottom,
        top,
        color=INK,
        alpha=0.11,
        linewidth=0,
        zorder=1.5,
        label="its 90 % band",
    )
    (line,) = ax.plot(lrs, mean, color=INK, linewidth=1.6, zorder=3, label="fit")
    left, right = ax.get_xlim()
    for part in (band, line):
        part.set_clip_path(Rectangle((left, low), right - left, high - low, transform=ax.transData))
    return [line, band]


def _objective_label(data: Mapping[str, Any]) -> str:
    name = str(data.get("objective") or "objective")
    full = data.get("steps") or max((trial["steps"] for trial in data["trials"]), default=1)
    return f"{name} after {full:,} step{'s' if full > 1 else ''}".replace(",", "\u2009")
