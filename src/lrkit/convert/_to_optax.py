"""lrkit -> optax: a schedule as the function of the count that optax's optimizers take. JAX is imported inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrkit.convert.resolving import resolve
from lrkit.duration import Horizon
from lrkit.errors import MissingExtra
from lrkit.schedule import Schedule

__all__ = ["to_optax"]


def to_optax(
    schedule: Schedule | str, horizon: Horizon | int, *, base_lr: float = 1.0
) -> Callable[[Any], Any]:  # counts and rates are JAX arrays, or ints in their stead
    """`rate(count)` for `optax.sgd(rate)` and its like: base_lr * factor, computed on the count's own device.

    It can be jitted, vmapped and called with an int or an integer array. As optax's own schedules it gives float32
    (about 1e-7 of the peak; steps above 2^24 run together), and float64 where the process has `jax_enable_x64`.
    A count below 0 counts as 0. After the end the schedule's `.after(...)` holds; "error" cannot be raised inside a
    compiled function, and holds. A `from_function` is a table there, and holds as well.

    Raises MissingExtra without JAX, SpecError and HorizonError as `Schedule.over` does.
    """
    try:
        import jax.numpy as jnp
    except ImportError:
        raise MissingExtra("jax", "optax", "convert.to_optax()") from None
    curve, base = resolve(schedule, horizon, base_lr)

    def rate(count: Any) -> Any:
        return base * curve(jnp.asarray(count))

    return rate
