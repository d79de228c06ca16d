"""The figure of a search: every trial's objective against its learning rate, the fit, and the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.strip import Row, figure_with_strip
from lrkit.plot.style import BLUE, GHOST, GREEN, INK, LABEL_SIZE, SKY, VERMILLION, dress, log_rate_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["draw_search", "search_figure"]

_TOP = 0.965  # of the panel's height: where crosses stand that have no value to stand at


def search_figure(data: Mapping[str, Any]) -> Figure:
    """The figure of `data`, a search as `Search.to_dict()` gives it.

    Filled dots are trials trained to the end, thin lines join those of one seed (same initial weights, same
    batches). Open dots are trials stopped early, the smaller the earlier; crosses at the upper edge diverged
    or lie above it; small grey dots had other values than the best of what was searched beside the lr. The line
    is the fitted objective with its 90 % band. The strip shows the chosen rate, the 90 % interval of the best
    rate, and the rates that are as good.
    """
    limits = _rate_limits(data)
    figure, panel = figure_with_strip(_rows(data), limits, width=7.0, height=3.9)
    draw_search(panel, data)
    return figure


def draw_search(ax: Axes, data: Mapping[str, Any]) -> None:
    """The panel of `search_figure` alone, into `ax`: for a figure of your own."""
    trials = [{**trial, "objective": _number(trial["objective"])} for trial in data["trials"]]
    full = data.get("steps") or max((trial["steps"] for trial in trials), default=1)
    best = [trial for trial in trials if trial.get("values", {}) == data.get("values", {})]
    others = [trial for trial in trials if trial not in best and math.isfinite(trial["objective"])]
    ended = [trial for trial in best if trial["status"] == "finished"]
    stopped = [trial for trial in best if trial["status"] == "stopped"]
    dress(ax, xlabel="peak learning rate", ylabel=_objective_label(data, full))
    log_rate_axis(ax, *_rate_limits(data))
    low, high = _value_limits(data, [*ended, *others], stopped)
    ax.set_ylim(low, high)
    _draw_curve(ax, data.get("curve"))
    for seed in sorted({trial["seed"] for trial in ended}):
        line = sorted((trial["lr"], trial["objective"]) for trial in ended if trial["seed"] == seed)
        ax.plot(
            *zip(*line, strict=True), color=BLUE, linewidth=0.6, alpha=0.45, zorder=2.2, label=f"seed {seed}"
        )
    _scatter_others(ax, [trial for trial in others if low <= trial["objective"] <= high])
    _scatter(ax, [trial for trial in ended if low <= trial["objective"] <= high], full, filled=True)
    _scatter(ax, [trial for trial in stopped if low <= trial["objective"] <= high], full, filled=False)
    above = [t for t in trials if t["status"] == "diverged" or not low <= t["objective"] <= high]
    _cross(ax, above)
    _key(
        ax,
        ended=bool(ended),
        stopped=bool(stopped),
        others=bool(others),
        above=bool(above),
        fitted=data.get("curve") is not None,
    )


def _rows(data: Mapping[str, Any]) -> list[Row]:
    rows, lr, interval, good = [], data.get("lr"), data.get("interval"), data.get("good")
    if good:
        words = f"as good: {rate_text(min(good))} to {rate_text(max(good))}"
        rows.append(Row(words, GREEN, low=min(good), high=max(good), shade=0.09))
    if interval is not None:
        words = f"90 % interval of the best: {rate_text(interval[0])} to {rate_text(interval[1])}"
        rows.append(Row(words, INK, low=interval[0], high=interval[1]))
    if lr is None:
        return [*rows, Row(f"no answer: {data.get('reason') or data.get('status')}", VERMILLION)]
    doubt = "" if data.get("status") in (None, "settled") else f" ({data['status']})"
    return [*rows, Row(f"chosen: {rate_text(lr)}{doubt}", VERMILLION, point=lr)]


def _rate_limits(data: Mapping[str, Any]) -> tuple[float, float]:
    rates = [trial["lr"] for trial in data["trials"]] or [1e-4, 1.0]
    rates += data.get("interval") or []
    margin = max((max(rates) / min(rates)) ** 0.04, 1.08)
    return min(rates) / margin, max(rates) * margin


def _value_limits(
    data: Mapping[str, Any], ended: Sequence[Mapping[str, Any]], stopped: Sequence[Mapping[str, Any]]
) -> tuple[float, float]:
    """All finished trials but those on the cliff: what is far above the rest would flatten the valley."""
    values = np.array([t["objective"] for t in (*ended, *stopped) if math.isfinite(t["objective"])])
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    curve = data.get("curve")
    if curve is not None:
        low = min(low, float(np.min(curve["low"])))
    quartile = float(np.quantile(values, 0.75))
    high = min(high, quartile + 3.0 * max(quartile - low, 0.02 * abs(low), 1e-12))
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    return low - 0.06 * span, high + 0.14 * span


def _draw_curve(ax: Axes, curve: Mapping[str, Any] | None) -> None:
    if curve is None:
        return
    lrs = np.asarray(curve["lrs"], dtype=float)
    ax.fill_between(lrs, curve["low"], curve["high"], color=VERMILLION, alpha=0.13, linewidth=0, zorder=1.5)
    ax.plot(lrs, curve["mean"], color=VERMILLION, linewidth=1.6, zorder=3, label="fit")


def _scatter(ax: Axes, trials: Sequence[Mapping[str, Any]], full: int, *, filled: bool) -> None:
    if not trials:
        return
    ax.scatter(
        [trial["lr"] for trial in trials],
        [trial["objective"] for trial in trials],
        s=[8.0 + 26.0 * trial["steps"] / full for trial in trials],
        facecolors=BLUE if filled else "white",
        edgecolors="white" if filled else SKY,
        linewidths=0.5 if filled else 1.1,
        zorder=4 if filled else 2.4,
        label="finished" if filled else "stopped early",
    )


def _scatter_others(ax: Axes, trials: Sequence[Mapping[str, Any]]) -> None:
    rates, objectives = [trial["lr"] for trial in trials], [trial["objective"] for trial in trials]
    ax.scatter(rates, objectives, s=9.0, facecolors=GHOST, linewidths=0.0, zorder=2.1, label="other values")


def _cross(ax: Axes, trials: Sequence[Mapping[str, Any]]) -> None:
    if not trials:
        return
    rates = [trial["lr"] for trial in trials]
    places = [_TOP] * len(rates)
    ax.plot(
        rates,
        places,
        "x",
        color=INK,
        markersize=5.5,
        markeredgewidth=1.2,
        transform=ax.get_xaxis_transform(),
        zorder=4,
        label="diverged",
    )


def _key(ax: Axes, *, ended: bool, stopped: bool, others: bool, above: bool, fitted: bool) -> None:
    """What the marks are, in one line under the axis: they lie too close for labels beside them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    full, hollow = _mark("o", BLUE, "white"), _mark("o", "white", SKY)
    full.set_label("trained to the end")
    hollow.set_label("stopped early")
    grey = _mark("o", GHOST, "white")
    grey.set_label("other values")
    cross = _mark("x", INK, INK)
    cross.set_label("diverged or off scale")
    fit = Line2D([], [], color=VERMILLION, linewidth=1.6, label="fit")
    band = Patch(facecolor=VERMILLION, alpha=0.18, label="its 90 % band")
    shown = ((full, ended), (hollow, stopped), (grey, others), (cross, above), (fit, fitted), (band, fitted))
    marks = [mark for mark, present in shown if present]
    figure = ax.get_figure(root=True)
    if figure is None or not marks:
        return
    figure.legend(
        handles=marks,
        loc="outside lower center" if figure.get_constrained_layout() else "lower center",
        ncols=len(marks),
        frameon=False,
        fontsize=LABEL_SIZE,
        labelcolor=INK,
        handletextpad=0.4,
        columnspacing=1.6,
        borderaxespad=0.1,
    )


def _mark(marker: str, face: str, edge: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], linestyle="none", marker=marker, markersize=5.5, markerfacecolor=face, markeredgecolor=edge
    )


def _objective_label(data: Mapping[str, Any], full: int) -> str:
    name = str(data.get("objective") or "objective")
    return f"{name} after {full:,} steps".replace(",", "\u2009")


def _number(value: float | None) -> float:
    # JSON has no NaN: what diverged has no objective there.
    return math.nan if value is None else value
