"""Learning rates as people write them, `3.1e-3`, and the ticks of their log axis. Standard library only."""

from __future__ import annotations

import math

__all__ = ["rate_text", "rate_ticks"]


def rate_text(rate: float, digits: int = 3) -> str:
    """`rate` with at most `digits` significant digits: `3.1e-3`, `1e-4`, `0.25`, `1`, `30`.

    Plain from 0.1 up to (not including) 1000, with an exponent elsewhere: never `0.0000`, never `1e-04`.

    >>> [rate_text(rate) for rate in (0.0031, 1e-4, 0.25, 1.0, 0.00312345)]
    ['3.1e-3', '1e-4', '0.25', '1', '3.12e-3']
    """
    if rate == 0.0 or not math.isfinite(rate):
        return f"{rate:g}"
    mantissa, exponent = f"{rate:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -1 <= power <= 2:
        plain = f"{float(f'{mantissa}e{power}'):.{max(0, digits - 1 - power)}f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{power}"


def rate_ticks(low: float, high: float, most: int = 10) -> tuple[float, ...]:
    """Where to label a log axis from `low` to `high` (both > 0): at most `most` ticks, ascending, all inside.

    The densest that fits of 1-2-5 per decade, 1-3, decades, every second decade and so on, and never a lonely
    one; within less than about a decade, where 1-2-5 leaves fewer than three, round numbers at equal
    distances instead.

    >>> rate_ticks(8e-4, 1.2e-2)
    (0.001, 0.002, 0.005, 0.01)
    >>> rate_ticks(1e-7, 1.0, most=4)
    (1e-06, 0.001, 1.0)
    """
    if not 0.0 < low < high < math.inf:
        raise ValueError(
            f"a log axis goes from a positive rate to a larger one, not from {low!r} to {high!r}"
        )
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    decades = range(first, last + 1)
    per_decade = _inside(low, high, [(m, e) for e in decades for m in (1, 2, 5)])
    if len(per_decade) < 3:
        return _even_ticks(low, high, most)
    choices = [per_decade, _inside(low, high, [(m, e) for e in decades for m in (1, 3)])]
    choices += [
        _inside(low, high, [(1, e) for e in decades if e % stride == 0]) for stride in range(1, len(decades))
    ]
    fitting = [ticks for ticks in choices if 2 <= len(ticks) <= most]
    return fitting[0] if fitting else (per_decade[0], per_decade[-1])


def _inside(low: float, high: float, numbers: list[tuple[int, int]]) -> tuple[float, ...]:
    slack = 1e-9  # a limit that was computed, 0.99999999e-3, still shows its tick
    ticks = [float(f"{mantissa}e{exponent}") for mantissa, exponent in numbers]
    return tuple(tick for tick in ticks if low * (1 - slack) <= tick <= high * (1 + slack))


def _even_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    power = math.floor(math.log10(high - low))
    choices = []
    for exponent in (power - 1, power):
        for mantissa in (1, 2, 5):
            first = math.ceil(low / (mantissa * 10.0**exponent) - 1e-9)
            last = math.floor(high / (mantissa * 10.0**exponent) + 1e-9)
            choices.append(tuple(float(f"{mantissa * count}e{exponent}") for count in range(first, last + 1)))
    readable = [ticks for ticks in choices if len(ticks) >= 2]
    fitting = [ticks for ticks in readable if len(ticks) <= min(most, 6)]
    return fitting[0] if fitting else (readable[-1][0], readable[-1][-1])
