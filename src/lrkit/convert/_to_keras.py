"""lrkit -> Keras: a schedule as a `LearningRateSchedule`. Keras is imported inside."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lrkit.convert.resolving import resolve
from lrkit.duration import Horizon
from lrkit.errors import MissingExtra
from lrkit.schedule import Schedule

if TYPE_CHECKING:
    from lrkit.convert.keras_schedule import KerasSchedule

__all__ = ["to_keras"]


def to_keras(schedule: Schedule | str, horizon: Horizon | int, *, base_lr: float = 1.0) -> KerasSchedule:
    """A `keras.optimizers.schedules.LearningRateSchedule` that gives base_lr * factor, on any of Keras's backends.

    It is saved with a model and comes back with it, in a process that has imported `lrkit.convert.keras_schedule`
    (Keras looks among the classes that it knows). Its config holds the schedule's text, so that a schedule with a
    Python function is refused where it is saved. Rates are of Keras's `floatx`: float32 unless told otherwise.

    Raises MissingExtra without Keras, SpecError and HorizonError as `Schedule.over` does.
    """
    if find_spec("keras") is None:
        raise MissingExtra("keras", "keras", "convert.to_keras()")
    from lrkit.convert.keras_schedule import KerasSchedule

    curve, base = resolve(schedule, horizon, base_lr)
    return KerasSchedule(curve.schedule, curve.horizon, base)
