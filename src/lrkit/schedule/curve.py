"""A schedule resolved against a horizon: a plain function of the step, exact and vectorised."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from lrkit.duration import Duration, Horizon
from lrkit.errors import HorizonError
from lrkit.schedule.numeric import NUMPY, RUN, Array, Numeric, Steps, device_namespace, on_host
from lrkit.schedule.splice import Change, How, changed, decayed_horizon
from lrkit.schedule.track import Track

if TYPE_CHECKING:
    from lrkit.schedule.core import Schedule

__all__ = ["Curve", "Ending"]

Ending = Literal["hold", "continue", "error"]

_BLOCK = 16_384  # steps at a time: what a formula makes on its way stays in the cache


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)  # jax.jit refers to it weakly
class Curve:
    """`curve(t)` is the factor that update `t` uses. Made by `Schedule.over`.

    `t` is an int (gives a float), or an integer array of numpy (float64), torch or JAX (stays on its device,
    nothing waits for it; float64 where the device and, for JAX, the process has it). One int and a numpy
    array give the same numbers to the last bit; torch and JAX may differ from them in the last few.

    A negative step is a HorizonError on the host and counts as 0 on a device, where to look would mean to
    wait. Steps from `steps` on follow the schedule's `.after(...)`: "hold" gives the level on which it ended,
    "continue" lets the last formula go on (never below 0), "error" raises HorizonError on the host and holds
    on a device.
    """

    schedule: Schedule
    horizon: Horizon
    base_lr: float | None
    track: Track = field(compare=False)
    ending: Ending = field(compare=False)
    origin: tuple[Curve, Change] | None = None
    """The curve that it was before a change, and that change; None for one straight from `Schedule.over`."""

    @property
    def steps(self) -> int:
        """The number of updates in the run."""
        return self.horizon.steps

    @property
    def phases(self) -> tuple[tuple[int, int, str], ...]:
        """Each phase that has steps, as (first step, step after the last, spec text)."""
        return tuple((piece.start, piece.stop, piece.text) for piece in self.track.pieces)

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Any) -> Any: ...
    def __call__(self, step: Any) -> Any:
        """The factor at one step, or the factors at an array of steps (any array library, hence `Any`)."""
        if isinstance(step, (int, np.integer)) and not isinstance(step, bool):
            return self._at_step(int(step))
        try:
            found = device_namespace(step)
        except TypeError as error:
            raise HorizonError(f"steps are whole numbers, not {error}: convert the array first") from None
        if found is not None:
            return self._at(*found)
        steps = np.asarray(step)
        if steps.dtype.kind not in "iu":
            raise HorizonError(f"steps are whole numbers, not {steps.dtype}: convert them first")
        if steps.size:
            self._check(int(steps.min()), int(steps.max()))
        return self._on_host(steps.astype(np.int64))

    def chunk(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The factors of the steps from `start` to before `stop`: the same numbers as calling, as float64."""
        if start >= stop:
            return np.empty(0, dtype=np.float64)
        self._check(start, stop - 1)
        values = np.empty(stop - start, dtype=np.float64)
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            values[first - start : last - start] = self._at(RUN, np.arange(first, last, dtype=np.int64))
        return values

    def extend(self, horizon: Horizon | int, *, at: int, how: How) -> Curve:
        """The same up to step `at`, and then over another horizon; `how` says what becomes of the rest.

        "stretch" plays the rest slower (or faster), "hold" stays at the level of `at` first and then has the
        rest as planned, "continue" has the rest as planned and then what `.after` says, "again" begins the
        schedule anew from that level, over what is left. See `lrkit.schedule.splice.Change`.

        >>> from lrkit.schedule import linear
        >>> linear(to=0).over(100).extend(200, at=50, how="stretch")(125)
        0.25
        """
        return changed(self, Change(at, how, _horizon(horizon)))

    def replace(self, schedule: Schedule, *, at: int, horizon: Horizon | int | None = None) -> Curve:
        """The same up to step `at`, and then `schedule` over what is left, beginning at the level of `at`.

        Percent and open phases of `schedule` share what is left; one that begins with a `start=` of its own
        jumps there.
        """
        longer = self.horizon if horizon is None else _horizon(horizon)
        return changed(self, Change(at, "replace", longer, schedule))

    def decay(self, schedule: Schedule, duration: int | str | Duration, *, at: int) -> Curve:
        """The same up to step `at`, and then `schedule` over `duration`, with which the run ends.

        Percent is a share of the whole run as it then is: after 900 steps "10%" are 100.
        """
        return self.replace(schedule, at=at, horizon=decayed_horizon(self.horizon, at, Duration.of(duration)))

    def __repr__(self) -> str:
        base = "" if self.base_lr is None else f", base_lr={self.base_lr!r}"
        since = "" if self.origin is None else f", {self.origin[1].how} at {self.origin[1].at}"
        return f"<Curve {self.schedule} over {self.steps} steps{base}{since}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Formulas are closures; what they were made from is not.
        if self.origin is not None:
            return _change_again, self.origin
        return _again, (self.schedule, self.horizon, self.base_lr)

    def _at_step(self, step: int) -> float:
        self._check(step, step)
        if step < self.steps:
            return self.track.at_step(step)
        return self.track.end if self.ending == "hold" else max(0.0, self.track.at_step(step))

    def _on_host(self, t: Steps) -> npt.NDArray[np.float64]:
        values = np.empty(t.size, dtype=np.float64)
        flat = t.reshape(-1)
        for first in range(0, t.size, _BLOCK):
            part = flat[first : first + _BLOCK]
            values[first : first + _BLOCK] = self._at(RUN if _are_consecutive(part) else NUMPY, part)
        return values.reshape(t.shape)

    def _at(self, m: Numeric, t: Array) -> Array:
        if on_host(m) and (not t.size or int(t[-1] if m is RUN else t.max()) < self.steps):
            return self.track.at(m, t)
        if self.ending == "continue":
            with np.errstate(over="ignore"):  # what grows for ever is read ahead of where a run will get
                values = self.track.at(m, t)
            return m.where(t < self.steps, values, m.clip(values, 0.0, None))
        last = self.steps - 1
        if on_host(m):
            return np.where(t < self.steps, self.track.at(NUMPY, t.clip(0, last)), self.track.end)
        return m.where(t < self.steps, self.track.at(m, m.where(t < last, t, last)), self.track.end)

    def _check(self, first: int, last: int) -> None:
        if first < 0:
            raise HorizonError(f"step {first} lies before the run: steps count from 0")
        if last >= self.steps and self.ending == "error":
            raise HorizonError(
                f"step {last} lies after the end, {self.steps} steps, and the schedule says .after('error')"
            )
        if last >= 2**53:
            raise HorizonError(f"step {last} is out of range: at most 2**53 - 1")


def _are_consecutive(t: Steps) -> bool:
    return int(t[-1]) - int(t[0]) == len(t) - 1 and np.array_equal(t, np.arange(t[0], t[-1] + 1))


def _again(schedule: Schedule, horizon: Horizon, base_lr: float | None) -> Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a copy has nothing new to say
        return schedule.over(horizon, base_lr=base_lr)


def _change_again(curve: Curve, change: Change) -> Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return changed(curve, change)


def _horizon(given: Horizon | int) -> Horizon:
    return given if isinstance(given, Horizon) else Horizon(given)
