"""The figure of one schedule or of several: what the learning rate will be, step by step, phase by phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.style import (
    BLUE,
    GHOST,
    GREY,
    INK,
    LABEL_SIZE,
    dress,
    log_rate_axis,
    new_figure,
    step_axis,
    text_inches,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrkit.schedule import Curve

__all__ = ["schedule_figure"]

_MOST_POINTS = 4000  # more than the figure has pixels; peaks survive, see _thinned


def schedule_figure(
    curves: Sequence[Curve],
    *,
    labels: Sequence[str] | None = None,
    base_lr: float | None = None,
    scale: Literal["linear", "log"] = "linear",
) -> Figure:
    """One panel per curve, all on the same axes' limits, the other curves in grey behind it.

    The vertical axis is the factor, or the learning rate `factor * base_lr` when `base_lr` is given. Phases
    are told apart by vertical lines and named above the panel where there is room for the name. `labels`
    defaults to each schedule's own text. A `log` scale leaves out what is not positive. Raises ValueError
    without a curve, and when there are not as many labels as curves.
    """
    if not curves:
        raise ValueError("a schedule figure needs at least one curve")
    labels = [str(curve.schedule) for curve in curves] if labels is None else labels
    if len(labels) != len(curves):
        raise ValueError(f"{len(labels)} labels for {len(curves)} curves")
    columns = 1 if len(curves) == 1 else 2 if len(curves) <= 8 else 3
    rows = math.ceil(len(curves) / columns)
    width, height = (7.0, 3.1) if columns == 1 else (8.6 if columns == 2 else 10.5, 2.25 * rows + 0.2)
    figure = new_figure(width, height)
    lines = [_thinned(curve, 1.0 if base_lr is None else base_lr) for curve in curves]
    limits = _limits([rates for _, rates in lines], scale)
    stop = max(curve.steps for curve in curves)
    pad = 17 if any(len(curve.phases) > 1 for curve in curves) else 6
    for index, (curve, label) in enumerate(zip(curves, labels, strict=True)):
        ax = figure.add_subplot(rows, columns, index + 1)
        lowest = index + columns >= len(curves)
        leftmost = index % columns == 0
        quantity = "factor" if base_lr is None else "learning rate"
        dress(ax, xlabel="step (optimizer updates)" if lowest else "", ylabel=quantity if leftmost else "")
        step_axis(ax, stop)
        _value_axis(ax, limits, scale)
        for other, (steps, rates) in enumerate(lines):
            if other != index:
                ax.plot(steps, rates, color=GHOST, linewidth=0.9, zorder=1.5)
        ax.plot(*lines[index], color=BLUE, linewidth=1.8, zorder=3, label=label)
        inches = (width - 0.75) / columns - 0.25
        _name_phases(ax, curve, stop, inches)
        size = LABEL_SIZE + (1.0 if columns == 1 else 0.5)
        ax.set_title(
            _shortened(label, inches, size), loc="left", fontsize=size, color=INK, pad=pad, parse_math=False
        )
    return figure


def _thinned(curve: Curve, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values to draw: all, or of each stretch its first, lowest and highest: no spike is lost."""
    values = curve.chunk(0, curve.steps) * scale
    steps = np.arange(curve.steps)
    if curve.steps <= _MOST_POINTS:
        return steps, values
    keep: set[int] = {curve.steps - 1}
    for stretch in np.array_split(steps, _MOST_POINTS // 3):
        part = values[stretch[0] : stretch[-1] + 1]
        keep.update((int(stretch[0]), int(stretch[0] + part.argmin()), int(stretch[0] + part.argmax())))
    kept = np.array(sorted(keep))
    return kept, values[kept]


def _limits(values: Sequence[np.ndarray], scale: str) -> tuple[float, float]:
    every = np.concatenate(values)
    if scale == "log":
        every = every[every > 0]
        if not every.size:
            raise ValueError("a log scale needs a positive value, and these schedules have none")
        return float(every.min()) / 1.3, float(every.max()) * 1.3
    low, high = min(0.0, float(every.min())), float(every.max())
    span = (high - low) or 1.0
    return low - 0.02 * span, high + 0.06 * span


def _value_axis(ax: Axes, limits: tuple[float, float], scale: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if scale == "log":
        log_rate_axis(ax, *limits, which="y", most=7)
        return
    ax.set_ylim(*limits)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: rate_text(value)))


def _name_phases(ax: Axes, curve: Curve, stop: int, inches: float) -> None:
    """A hairline where a phase begins, and its text above it, where it does not run into its neighbour's."""
    phases = [phase for phase in curve.phases if phase[1] > phase[0]]
    for start, _, _ in phases[1:]:
        ax.axvline(start, color=GREY, linewidth=0.7, linestyle=(0, (2, 2)), zorder=2)
    if len(phases) < 2:
        return
    places = _places_of_names(phases, stop, inches)
    if 2 * len(places) < len(phases):
        return  # a few names among many phases would be taken for those of their neighbours
    for place, text in places:
        ax.annotate(
            text,
            (place / inches, 1.0),
            xytext=(0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=LABEL_SIZE - 0.5,
            color=GREY,
            parse_math=False,
        )


def _places_of_names(
    phases: Sequence[tuple[int, int, str]], stop: int, inches: float
) -> list[tuple[float, str]]:
    """Where the middle of each name goes, in inches from the left: over its own phase, or nowhere."""
    places, taken = [], 0.0
    for start, end, text in phases:
        needed = text_inches([text], LABEL_SIZE - 0.5) + 0.06
        begins, ends = start / max(1, stop) * inches, end / max(1, stop) * inches
        left = min(max(taken, (begins + ends - needed) / 2), inches - needed)
        if left >= taken and left <= ends and left + needed >= begins:
            taken = left + needed
            places.append((left + needed / 2, text))
    return places


def _shortened(text: str, inches: float, size: float) -> str:
    """`text`, cut with an ellipsis where it is too wide: by the average letter first, then letter by letter."""
    start = text[:400]  # wider than any figure here
    needed = text_inches([start], size)
    if needed <= inches:
        return start if start == text else f"{start}\u2026"
    start = start[: max(8, math.floor(1.2 * len(start) * inches / needed))]
    while len(start) > 8 and text_inches([f"{start}\u2026"], size) > inches:
        start = start[:-1]
    return f"{start.rstrip()}\u2026"
