"""The class behind `to_keras`, in a module that may import Keras. Import it before Keras loads a model that has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from keras import ops

from lrkit.convert.resolving import resolve
from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.numeric import Array, Numeric

__all__ = ["KerasSchedule"]


@keras.saving.register_keras_serializable(package="lrkit")
class KerasSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras is untyped
    """base_lr * factor(step), computed in the backend's own numbers. Made by `convert.to_keras`."""

    def __init__(
        self, schedule: Schedule | str, horizon: Horizon | Mapping[str, int], base_lr: float = 1.0
    ) -> None:
        super().__init__()
        if isinstance(horizon, Mapping):
            horizon = Horizon(**horizon)
        self.curve, self.base_lr = resolve(schedule, horizon, base_lr)

    def __call__(self, step: Any) -> Any:
        """The rate of update `step`, a whole number of the backend's or of Python's."""
        t = ops.convert_to_tensor(step)
        if "int" not in keras.backend.standardize_dtype(t.dtype):
            raise HorizonError(f"steps are whole numbers, not {t.dtype}: convert them first")
        curve, t = self.curve, ops.maximum(t, 0)
        if curve.ending == "continue":
            return self.base_lr * _OPS.clip(curve.track.at(_OPS, t), 0.0, None)
        held = curve.track.at(_OPS, ops.minimum(t, curve.steps - 1))
        return self.base_lr * ops.where(t < curve.steps, held, curve.track.end)

    def get_config(self) -> dict[str, Any]:
        """Plain data, from which `from_config` makes an equal one."""
        schedule = self.curve.schedule
        if schedule.is_opaque:
            raise SpecError(f"{schedule} holds a Python function, which no config can: bake a table of it")
        horizon = {name: value for name, value in asdict(self.curve.horizon).items() if value is not None}
        return {"schedule": str(schedule), "horizon": horizon, "base_lr": self.base_lr}


class _Ops:
    """`keras.ops` as the namespace of a schedule's formulas."""

    exp = staticmethod(ops.exp)
    sqrt = staticmethod(ops.sqrt)
    tanh = staticmethod(ops.tanh)
    where = staticmethod(ops.where)

    def half_wave(self, x: Array) -> Array:
        return ops.square(ops.cos(0.5 * x))

    def real(self, steps: Array) -> Array:
        return ops.cast(steps, keras.config.floatx())

    def clip(self, x: Array, low: float | None, high: float | None) -> Array:
        # Not by `maximum`, which in Keras may make float32 of float64.
        x = x if low is None else ops.where(x < low, low, x)
        return x if high is None else ops.where(x > high, high, x)

    def lookup(self, steps: Array, edges: Any, values: Any) -> Array:
        found = values.astype(keras.config.floatx()) if values.dtype == np.float64 else values
        index = ops.searchsorted(ops.convert_to_tensor(edges), ops.cast(steps, "int64"), side="right")
        return ops.take(ops.convert_to_tensor(found), index)


_OPS: Numeric = _Ops()
