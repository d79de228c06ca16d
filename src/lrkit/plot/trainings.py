"""The figure of a training run: loss, metrics and learning rate over the steps, one panel above the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrkit.plot.rates import rate_text
from lrkit.plot.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    SKY,
    VERMILLION,
    dress,
    name_lines,
    new_figure,
    step_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrkit.records import Record

__all__ = ["training_figure"]

_PANEL_INCHES = {"loss": 2.5, "metric": 1.25, "lr": 1.25}
_LINE_INCHES = 0.16
_TEST = "test "


@dataclass(frozen=True, slots=True)
class _End:
    """The last value of a line, or a value at the end, to be told beside the panel."""

    value: float
    colour: str
    before: str = ""


def training_figure(
    record: Record, *, groups: Sequence[str] = (), results: Mapping[str, float] | None = None
) -> Figure:
    """Panels over one axis of steps: losses, a panel for each metric that is none, the learning rates.

    The first has the loss of every update, its moving average, and every metric that is a loss itself.
    The loss axis is logarithmic when all losses are positive and span more than a factor of 20. Updates
    without a finite loss are marked at the upper edge; a training that ended at one is told above the panels.
    `groups` names the parameter groups; without it they are numbered, and groups with the same rates share a line.
    `results` are the final figures, as `train` gives them in `metrics`: those that begin with "test" are told above
    the panels, and are diamonds at the end of the panel of their kind where there is one. Raises ValueError for a
    record without a step.
    """
    if not len(record.steps):
        raise ValueError("this record has no steps: nothing to draw")
    losses = {name: points for name, points in record.metrics.items() if name.endswith("loss")}
    others = {name: points for name, points in record.metrics.items() if name not in losses}
    heights = [_PANEL_INCHES["loss"], *[_PANEL_INCHES["metric"]] * len(others), _PANEL_INCHES["lr"]]
    tested = {name: float(value) for name, value in (results or {}).items() if name.startswith(_TEST)}
    diverged = not math.isfinite(record.losses[-1])
    figure = new_figure(7.0, sum(heights) + (0.7 if tested or diverged else 0.45))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    stop = int(record.steps[-1]) + 1
    panels = [figure.add_subplot(grid[index]) for index in range(len(heights))]
    _draw_losses(panels[0], record, losses, {n: v for n, v in tested.items() if n.endswith("loss")})
    for ax, (name, points) in zip(panels[1:-1], others.items(), strict=True):
        same = _TEST + name.partition(" ")[2]
        _draw_measured(ax, name, points, {same: tested[same]} if same in tested else {}, stop - 1)
    if tested or diverged:
        told = [f"diverged at step {stop - 1}"] if diverged else []
        told += [f"{name} {value:.4g}" for name, value in tested.items()]
        colour = VERMILLION if diverged else GREEN
        panels[0].set_title(
            ",   ".join(told), loc="left", fontsize=LABEL_SIZE + 0.5, color=colour, parse_math=False
        )
    _draw_rates(panels[-1], record, groups)
    for ax in panels:
        step_axis(ax, stop)
        ax.tick_params(labelbottom=ax is panels[-1])
    panels[-1].set_xlabel("step (optimizer updates)", fontsize=LABEL_SIZE + 0.5, color=INK)
    figure.align_ylabels(panels)
    return figure


def _draw_losses(
    ax: Axes,
    record: Record,
    losses: Mapping[str, tuple[np.ndarray, np.ndarray]],
    tested: Mapping[str, float],
) -> None:
    dress(ax, ylabel="loss")
    steps, values = np.asarray(record.steps), np.asarray(record.losses, dtype=float)
    finite = np.isfinite(values)
    ax.plot(
        steps,
        np.where(finite, values, np.nan),
        color=SKY,
        linewidth=0.6,
        alpha=0.7,
        zorder=2,
        label="each update",
    )
    ax.plot(steps, _moving_average(values), color=BLUE, linewidth=1.6, zorder=3, label="average")
    if not finite.all():
        lost = steps[~finite]
        ax.plot(
            lost,
            [0.97] * len(lost),
            "x",
            color=INK,
            markersize=5,
            transform=ax.get_xaxis_transform(),
            label="not finite",
        )
    ends = [
        *(_draw_metric(ax, name, at, points) for name, (at, points) in losses.items()),
        *(_draw_test(ax, name, int(steps[-1]), value) for name, value in tested.items()),
    ]
    shown = [values[finite], *(points[np.isfinite(points)] for _, points in losses.values())]
    _loss_scale(ax, [*shown, np.array([value for value in tested.values() if np.isfinite(value)])])
    _name_ends(ax, ends, _PANEL_INCHES["loss"])
    words = [("training, each update", SKY, "-"), ("training, moving average", BLUE, "-")]
    words += [(name, VERMILLION, "-") for name in losses]
    words += [(name, GREEN, "D") for name, value in tested.items() if np.isfinite(value)]
    name_lines(ax, words, corner="upper right")


def _draw_measured(
    ax: Axes, name: str, points: tuple[np.ndarray, np.ndarray], tested: Mapping[str, float], last: int
) -> None:
    dress(ax, ylabel=name)
    ends = [_draw_metric(ax, name, *points), *(_draw_test(ax, n, last, v) for n, v in tested.items())]
    _name_ends(ax, ends, _PANEL_INCHES["metric"])


def _draw_metric(ax: Axes, name: str, steps: np.ndarray, values: np.ndarray) -> _End | None:
    marker = "o" if len(steps) <= 60 else None
    ax.plot(steps, values, color=VERMILLION, linewidth=1.3, marker=marker, markersize=3, zorder=4, label=name)
    finite = np.flatnonzero(np.isfinite(values))
    return _End(float(values[finite[-1]]), VERMILLION) if finite.size else None


def _draw_test(ax: Axes, name: str, step: int, value: float) -> _End | None:
    if not np.isfinite(value):
        return None
    ax.plot(
        [step],
        [value],
        "D",
        color=GREEN,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=5,
        label=name,
        clip_on=False,
    )
    return _End(value, GREEN, "test ")


def _name_ends(ax: Axes, ends: Sequence[_End | None], inches: float) -> None:
    """Values in words at the right edge, one above the other where they are close: what a reader looks for, and an
    axis gives two digits of it. The panel is about `inches` high, and its scale is settled.
    """
    free = -math.inf
    for end in sorted((end for end in ends if end is not None), key=lambda end: end.value):
        ax.get_ylim()  # settles a scale that is still to be found from the data
        _, height = (ax.transScale + ax.transLimits).transform((0.0, end.value))
        height = max(float(height), free)
        free = height + _LINE_INCHES / inches
        ax.annotate(
            f"{end.before}{end.value:.4g}",
            (1.0, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=LABEL_SIZE,
            color=end.colour,
            annotation_clip=False,
        )


def _loss_scale(ax: Axes, finite: Sequence[np.ndarray]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    every = np.concatenate(finite)
    if not every.size:
        ax.set_ylim(0.0, 1.0)
        return
    low, high = float(every.min()), float(every.max())
    if low > 0 and high > 20 * low:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
        decades = np.log10(high / low)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=20))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        span = (high - low) or max(abs(high), 1.0)
        ax.set_ylim(low - 0.05 * span, high + 0.05 * span)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: rate_text(value)))


def _draw_rates(ax: Axes, record: Record, groups: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    dress(ax, ylabel="learning rate")
    lines = _distinct_rates(np.asarray(record.lrs, dtype=float), groups)
    for index, (name, rates) in enumerate(lines):
        colour = (BLUE, VERMILLION, GREY)[index % 3]
        ax.plot(record.steps, rates, color=colour, linewidth=1.5, label=name)
        if len(lines) > 1:
            peak = int(np.nanargmax(rates))
            ax.annotate(
                name,
                (record.steps[peak], rates[peak]),
                xytext=(0, 2),
                textcoords="offset points",
                va="bottom",
                fontsize=LABEL_SIZE,
                color=colour,
            )
    top = max((float(np.nanmax(rates)) for _, rates in lines), default=1.0)
    ax.set_ylim(-0.03 * top, 1.18 * top)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: rate_text(value)))


def _distinct_rates(lrs: np.ndarray, groups: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """One line for groups that had the same rates at every step, named after all of them."""
    lines: dict[bytes, tuple[list[str], np.ndarray]] = {}
    for index, rates in enumerate(lrs.T):
        if np.isnan(rates).all():
            continue
        name = groups[index] if index < len(groups) else f"group {index}"
        lines.setdefault(rates.tobytes(), ([], rates))[0].append(name)
    return [(", ".join(names), rates) for names, rates in lines.values()]


def _moving_average(losses: np.ndarray) -> np.ndarray:
    """The mean of what is finite in a centred window of a fortieth of the run, shorter at the ends."""
    half = max(1, len(losses) // 80)
    finite = np.isfinite(losses)
    sums = np.concatenate(([0.0], np.cumsum(np.where(finite, losses, 0.0))))
    counts = np.concatenate(([0], np.cumsum(finite)))
    places = np.arange(len(losses))
    first, last = np.maximum(0, places - half), np.minimum(len(losses), places + half + 1)
    number = counts[last] - counts[first]
    return np.where(number > 0, (sums[last] - sums[first]) / np.maximum(number, 1), np.nan)
