"""How schedules and their arguments are written: as spec text, and as Python that makes them again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lrkit.duration import Duration

__all__ = ["misfit_text", "number_text", "shortened", "steps_text", "value_text"]


def number_text(x: float) -> str:
    """The shortest text that reads back as `x`: `0`, `0.1`, `1e-06`."""
    return repr(x).removesuffix(".0")


def value_text(value: object, *, python: bool) -> str:
    """An argument: `5%` or `'5%'`, `0.1`, `linear` or `'linear'`, `[30%, 60%]`, `absolute(1e-06)`."""
    match value:
        case Duration():
            return repr(str(value)) if python and value.unit != "steps" else str(value)
        case float():
            return number_text(value)
        case str():
            return repr(value) if python else value
        case tuple():
            return f"[{', '.join(value_text(item, python=python) for item in value)}]"
        case _:
            return str(value)


def steps_text(steps: Fraction) -> str:
    """A number of steps, whole or not: `1 step`, `31.25 steps`."""
    number = str(steps.numerator) if steps.denominator == 1 else f"{float(steps):.10g}"
    return f"{number} step{'' if steps == 1 else 's'}"


def shortened(text: str) -> str:
    """A spec for a message: in the middle of a long one, such as a table, what is left out is dots."""
    return text if len(text) <= 120 else f"{text[:70]} ... {text[-45:]}"


def misfit_text(
    shown: Sequence[tuple[str, Fraction | None]], count: int, taken: Fraction, given: Fraction
) -> str:
    """That `count` phases, of which some are shown, take another length than the one that they are given."""
    parts = [
        f"{shortened(text)}: {'what is left' if steps is None else steps_text(steps)}"
        for text, steps in shown
    ]
    remedy = "shorten one" if taken > given else "append >> hold(), or leave one length out"
    more = ", ..." if count > len(shown) else ""
    return f"the phases take {steps_text(taken)} of {steps_text(given)} ({', '.join(parts)}{more}): {remedy}"
