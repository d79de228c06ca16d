"""The figure of a range test: loss against learning rate, raw and smoothed, and the bracket it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.strip import Row, figure_with_strip
from lrkit.plot.style import BLUE, GREY, SKY, VERMILLION, dress, log_rate_axis, name_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_range_test", "range_test_figure"]


def range_test_figure(data: Mapping[str, Any]) -> Figure:
    """The figure of `data`, a range test as `RangeTest.to_dict()` gives it.

    Dots are the raw losses of every repeat, lines the smoothed ones, a ring where each repeat's own
    suggestion lies. The strip on top shows the suggestion with its spread (one standard deviation over
    repeats) and the bracket for the search; without a suggestion it says why. The vertical axis stops a
    little above the loss at the start: what diverged is cut off, as only its beginning says anything.
    """
    figure, panel = figure_with_strip(_rows(data), _rate_limits(data), width=7.0, height=3.5)
    draw_range_test(panel, data)
    return figure


def draw_range_test(ax: Axes, data: Mapping[str, Any]) -> None:
    """The panel of `range_test_figure` alone, into `ax`: for a figure of your own."""
    lrs = np.asarray(data["lrs"], dtype=float)
    raw = [np.asarray([_number(loss) for loss in losses], dtype=float) for losses in data["losses"]]
    smooth = [np.asarray([_number(loss) for loss in losses], dtype=float) for losses in data["smoothed"]]
    dress(ax, xlabel="learning rate", ylabel="training loss")
    log_rate_axis(ax, *_rate_limits(data))
    for losses in raw:
        ax.plot(lrs[: len(losses)], losses, ".", color=SKY, markersize=3.2, alpha=0.6, zorder=2, label="raw")
    for losses in smooth:
        ax.plot(lrs[: len(losses)], losses, color=BLUE, linewidth=1.5, alpha=0.9, zorder=3, label="smoothed")
    _mark_suggestions(ax, lrs, smooth, data.get("suggestions") or ())
    low, high = _loss_limits(raw, smooth)
    ax.set_ylim(low, high)
    plural = "1 repeat" if len(raw) == 1 else f"{len(raw)} repeats"
    # Bottom left: the sweep starts with the loss of an untrained model, high up.
    name_lines(ax, [("each batch", SKY, "."), (f"smoothed, {plural}", BLUE, "-")], corner="lower left")


def _rate_limits(data: Mapping[str, Any]) -> tuple[float, float]:
    """The part of the grid that any repeat reached, and all that is to be marked."""
    lrs = np.asarray(data["lrs"], dtype=float)
    reached = lrs[max([1, *(len(losses) for losses in data["losses"])]) - 1]
    marked = [*(data.get("bracket") or ()), *([data["suggestion"]] if data.get("suggestion") else ())]
    return min([float(lrs.min()), *marked]), max([float(reached) * 1.3, *marked])


def _rows(data: Mapping[str, Any]) -> list[Row]:
    suggestion, bracket, spread = data.get("suggestion"), data.get("bracket"), data.get("spread")
    rows = []
    if bracket is not None:
        words = f"bracket for the search: {rate_text(bracket[0])} to {rate_text(bracket[1])}"
        rows.append(Row(words, GREY, low=bracket[0], high=bracket[1], shade=0.10))
    if suggestion is None:
        return [*rows, Row(f"no suggestion: {data.get('reason') or 'the loss never fell'}", VERMILLION)]
    words = f"suggestion ({data['rule']}): {rate_text(suggestion)}"
    if spread is None or not math.isfinite(spread) or len(data["losses"]) < 2:
        return [*rows, Row(words, VERMILLION, point=suggestion)]
    factor = 10.0**spread
    words += f" \u00d7/\u00f7 {factor:.2f} (sd of {len(data['losses'])} repeats)"
    low, high = suggestion / factor, suggestion * factor
    return [*rows, Row(words, VERMILLION, low=low, high=high, point=suggestion)]


def _mark_suggestions(
    ax: Axes, lrs: np.ndarray, smooth: Sequence[np.ndarray], suggestions: Sequence[Any]
) -> None:
    for losses, rate in zip(smooth, suggestions, strict=False):
        if rate is None or not len(losses):
            continue
        height = np.interp(math.log(rate), np.log(lrs[: len(losses)]), losses)
        ax.plot(
            [rate],
            [height],
            "o",
            markersize=5,
            color="white",
            markeredgecolor=VERMILLION,
            zorder=4,
            label="repeat",
        )


def _loss_limits(raw: Sequence[np.ndarray], smooth: Sequence[np.ndarray]) -> tuple[float, float]:
    finite = [losses[np.isfinite(losses)] for losses in (*raw, *smooth)]
    every = np.concatenate(finite) if finite else np.empty(0)
    if not every.size:
        return 0.0, 1.0
    starts = [losses[: max(1, len(losses) // 10)] for losses in finite if losses.size]
    # A quantile, not the maximum: one exploding batch must not flatten all the others.
    start = float(np.quantile(np.concatenate(starts), 0.95))
    low = float(every.min())
    fall = max(start - low, 0.05 * abs(start), 1e-12)
    return low - 0.06 * fall, min(float(every.max()) + 0.06 * fall, start + 0.45 * fall)


def _number(value: Any) -> float:
    # JSON has no NaN: files hold it as null.
    return math.nan if value is None else float(value)
