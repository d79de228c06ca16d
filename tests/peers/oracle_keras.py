"""Keras itself, in float64 and on its torch backend."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras

from convert.stepping import Rates
from lrkit import convert

__all__ = ["RATES"]


# Before Keras reckons anything: it remembers which types meet in which.
keras.config.set_floatx("float64")


def _of(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key != "base_lr"}
        schedule = getattr(keras.optimizers.schedules, name)(**rest)
        values = [float(schedule(t)) for t in range(n)]
        if name == "CosineDecayRestarts":
            for border in _borders(parameters["first_decay_steps"], parameters["t_mul"], n):
                values[border] = float("nan")
        return values

    return rates


def _borders(first: int, growth: float, n: int) -> list[int]:
    """The steps on which a cycle begins, which Keras's logarithm puts at random into it or the one before."""
    if growth == 1.0:
        return []
    begin, length, borders = Fraction(first), Fraction(first), []
    while begin < n:
        if begin.denominator == 1:
            borders.append(int(begin))
        length *= Fraction(growth)
        begin += length
    return borders


RATES: dict[str, Rates] = {f"keras:{name}": _of(name) for name in convert.DIALECTS["keras"]}
