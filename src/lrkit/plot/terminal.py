"""A line plot made of Braille characters, two by four dots to a cell, for terminals and logs. No colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrkit.plot.rates import rate_text

__all__ = ["terminal_plot"]

_BRAILLE = 0x2800
_DOT = np.array(
    [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
)  # Unicode's numbering, by row and column


def terminal_plot(
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    *,
    width: int = 64,
    height: int = 12,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """The line through the points (`xs`, `ys`) in `height` rows of `width` cells, with axes, as one string.

    The labels come on top of that: their column at the left, a row below. Points that are not finite, or not
    positive on a log axis, are left out and interrupt the line. Points in one column of dots are joined from
    the lowest to the highest, so no spike is lost. The limits are those of the points; a flat line lies in
    the middle. Raises ValueError when the lengths differ, when no point is left, or below 8 x 2 cells.
    """
    x, y = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"a line needs as many xs as ys, not {x.shape} and {y.shape}")
    if width < 8 or height < 2:
        raise ValueError(f"a plot needs at least 8 x 2 cells, not {width} x {height}")
    drawable = np.isfinite(x) & np.isfinite(y) & ~(log_x & (x <= 0)) & ~(log_y & (y <= 0))
    if not drawable.any():
        raise ValueError("there is no finite point to draw")
    x_low, x_high = float(x[drawable].min()), float(x[drawable].max())
    y_low, y_high = float(y[drawable].min()), float(y[drawable].max())
    columns = _places(x, drawable, x_low, x_high, 2 * width, log_x)
    rows = _places(y, drawable, y_low, y_high, 4 * height, log_y)
    dots = np.zeros((4 * height, 2 * width), dtype=bool)
    for index in np.flatnonzero(drawable):
        joined = index > 0 and drawable[index - 1]
        _draw(dots, columns[index - joined], rows[index - joined], columns[index], rows[index])
    return _framed(_cells(dots), (x_low, x_high), (y_low, y_high))


def _places(
    values: np.ndarray, drawable: np.ndarray, low: float, high: float, dots: int, log: bool
) -> np.ndarray:
    """Which of `dots` places each drawable value falls on, 0 .. dots - 1; the middle when all are equal."""
    kept = np.where(drawable, values, low)
    if low == high:
        return np.full(len(values), dots // 2)
    if log:
        kept, low, high = np.log10(kept), np.log10(low), np.log10(high)
    # Halves first: the difference of two huge floats may be too large for one.
    return np.rint((kept / 2 - low / 2) / (high / 2 - low / 2) * (dots - 1)).astype(int)


def _draw(dots: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> None:
    count = max(abs(x1 - x0), abs(y1 - y0), 1)
    along = np.linspace(0.0, 1.0, count + 1)
    columns, rows = np.rint(x0 + along * (x1 - x0)).astype(int), np.rint(y0 + along * (y1 - y0)).astype(int)
    dots[len(dots) - 1 - rows, columns] = True


def _cells(dots: np.ndarray) -> list[str]:
    blocks = dots.reshape(dots.shape[0] // 4, 4, dots.shape[1] // 2, 2).swapaxes(1, 2)
    codes = (blocks * _DOT).sum(axis=(2, 3)) + _BRAILLE
    return ["".join(map(chr, row)) for row in codes]


def _framed(cells: list[str], x_limits: tuple[float, float], y_limits: tuple[float, float]) -> str:
    top, bottom = rate_text(y_limits[1]), rate_text(y_limits[0])
    margin = max(len(top), len(bottom))
    labels = [top, *[""] * (len(cells) - 2), bottom]
    lines = [f"{label:>{margin}} \u2524{row}" for label, row in zip(labels, cells, strict=True)]
    left, right = (_place_text(limit) for limit in x_limits)
    lines.append(" " * (margin + 1) + "\u2514" + "\u2500" * len(cells[0]))
    lines.append(" " * (margin + 2) + left + right.rjust(len(cells[0]) - len(left)))
    return "\n".join(line.rstrip() for line in lines)


def _place_text(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else rate_text(value)
