"""optax itself, in float64, at all counts at once: 512 of them, so that JAX compiles each operation once."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax

from convert.stepping import Rates
from lrkit import convert

__all__ = ["RATES", "counted"]

jax.config.update("jax_enable_x64", True)

_NAMES = tuple(convert.DIALECTS["optax"])


def counted(schedule: Any, n: int) -> list[float]:
    """The values of an optax schedule at the counts 0 .. n - 1."""
    counts = jax.numpy.arange(512 * -(-n // 512))
    values = jax.vmap(lambda count: jax.numpy.asarray(schedule(count), dtype=float))(counts)
    return np.asarray(values)[:n].tolist()


def _of(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key != "base_lr"}
        schedule = getattr(optax, name)(**rest)
        if rest.get("staircase"):  # all at once, XLA multiplies by the reciprocal, and some stairs come late
            return [float(schedule(count)) for count in range(n)]
        return counted(schedule, n)

    return rates


RATES: dict[str, Rates] = {f"optax:{name}": _of(name) for name in _NAMES if name != "join_schedules"}
