"""Controllers at work: their states, and what their actions come to for each group. A value; it writes nothing."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lrkit.control import Action, Controller, Observation
from lrkit.duration import Horizon, brief
from lrkit.errors import MetricError, SpecError, StateError, did_you_mean
from lrkit.spec import parse_control

__all__ = ["Feedback", "Metrics", "Missing", "is_finite"]

Metrics = float | Tensor | np.generic | Mapping[str, Any] | None
"""One number, or several by name; None where there is none."""
Missing = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """Controllers with their states, one `gain` for each group (the product of all factors so far), and the number
    of updates done at the last observation."""

    controllers: tuple[Controller, ...] = ()
    states: tuple[Any, ...] = ()
    gains: tuple[float, ...] = ()
    observed: int | None = None

    @classmethod
    def by(
        cls, control: Iterable[Controller | str], horizon: Horizon, *, first: Iterable[Controller] = ()
    ) -> Feedback:
        """At the start: controllers, or their texts, before they saw anything. Raises SpecError, HorizonError."""
        if isinstance(control, str) or not isinstance(control, Iterable):
            raise SpecError(f"control={control!r}: it is a list, [{control!r}]")
        read = (parse_control(each) if isinstance(each, str) else each for each in control)
        controllers = (*first, *read)
        for controller in controllers:
            if not all(hasattr(controller, name) for name in ("init", "update", "restore", "over")):
                raise SpecError(
                    f"control: a {type(controller).__name__} is no controller; write plateau(...)"
                )
            controller.over(horizon)
        return cls(controllers, tuple(controller.init() for controller in controllers))

    def gain(self, place: int) -> float:
        """What multiplies the lr of the group at `place`; 1 for one that joined after the last action."""
        return self.gains[place] if place < len(self.gains) else 1.0

    def at(self, places: Sequence[int | None]) -> Feedback:
        """The same for groups that now stand where `places` says that they stood (None: new)."""
        return replace(self, gains=tuple(1.0 if place is None else self.gain(place) for place in places))

    def observe(
        self, metrics: Metrics, *, step: int, lrs: Sequence[float], horizon: Horizon, missing: Missing
    ) -> tuple[Feedback, tuple[Action, ...]]:
        """What each controller does about `metrics` after `step` updates. Raises MetricError."""
        if missing not in ("error", "skip"):
            raise SpecError(f"missing={missing!r}{did_you_mean(str(missing), ('error', 'skip'))}")
        if self.observed is not None and step < self.observed:
            raise MetricError(
                f"a metric of step {step} after one of step {self.observed}: observe them in their order"
            )
        states, actions = [], []
        for controller, state in zip(self.controllers, self.states, strict=True):
            metric = _metric_of(controller, metrics, missing)
            action = Action((1.0,) * len(lrs))
            if metric is not None:
                seen = Observation(step, metric, tuple(lrs))
                state, action = _answer(controller, controller.over(horizon).update(state, seen), len(lrs))
            states.append(state)
            actions.append(action)
        gains = tuple(
            math.prod((self.gain(place), *(float(action.factors[place]) for action in actions)))
            for place in range(len(lrs))
        )
        return Feedback(self.controllers, tuple(states), gains, step), tuple(actions)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: everything but the controllers themselves."""
        return {
            "states": [state.to_dict() for state in self.states],
            "gains": list(self.gains),
            "observed": self.observed,
        }

    def restored(self, data: Mapping[str, Any]) -> Feedback:
        """The same controllers where `to_dict` gave `data`. Raises StateError for anything else."""
        states, gains, observed = (data.get(key) for key in ("states", "gains", "observed"))
        if (
            not isinstance(states, list)
            or len(states) != len(self.controllers)
            or not all(isinstance(state, Mapping) for state in states)
            or not isinstance(gains, list | tuple)
            or not all(is_finite(gain) for gain in gains)
            or not (observed is None or (isinstance(observed, int) and is_finite(observed)))
        ):
            raise StateError(f"the state's feedback is {dict(data)!s:.80}: it is damaged")
        restored = (each.restore(state) for each, state in zip(self.controllers, states, strict=True))
        return Feedback(self.controllers, tuple(restored), tuple(map(float, gains)), observed)


def is_finite(value: object, *, signed: bool = False) -> bool:
    """Whether it is a finite number, from 0 unless `signed`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return (-sys.float_info.max if signed else 0) <= value <= sys.float_info.max


def _metric_of(controller: Controller, metrics: Metrics, missing: Missing) -> float | None:
    """The number that `controller` looks at, or None where that is missing and may be."""
    name, found = controller.metric, metrics
    if isinstance(metrics, Mapping):
        if name is None and len(metrics) > 1:
            names = ", ".join(map(repr, list(metrics)[:5]))
            raise MetricError(f"{controller} is given {names}: say which one, with its metric=")
        name = next(iter(metrics), None) if name is None else name
        found = metrics.get(name) if name is not None else None
    elif name is not None and metrics is not None:
        raise MetricError(
            f"{controller} looks at {name!r} and is given one without a name: observe({{{name!r}: value}})"
        )
    if found is None:
        if missing == "skip":
            return None
        given = list(metrics)[:5] if isinstance(metrics, Mapping) else []
        what = "a metric" if name is None else f"the metric {name!r}"
        there = f", given {', '.join(map(repr, given))}" if given else ""
        raise MetricError(
            f"{controller} lacks {what}{there}: observe it when it is there, or say missing='skip'"
        )
    return _number(controller, found)


def _number(controller: Controller, found: object) -> float:
    single = found.numel() == 1 if isinstance(found, Tensor) else not isinstance(found, np.ndarray)
    try:
        if single and not isinstance(found, str | bool):
            return float(found.item() if isinstance(found, Tensor) else found)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        pass
    kind = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else brief(found)
    raise MetricError(f"{controller} goes by one number, not {kind}")


def _answer(controller: Controller, answer: object, groups: int) -> tuple[Any, Action]:
    """The next state and the action, looked at: controllers are written by users."""
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], Action):
        raise SpecError(f"{controller} answers {brief(answer)}: update() gives the next state and an Action")
    state, action = answer
    if not hasattr(state, "to_dict"):
        raise SpecError(f"{controller} remembers {brief(state)}: its state needs to_dict(), to be saved")
    if len(action.factors) != groups or not all(is_finite(factor) for factor in action.factors):
        raise SpecError(
            f"{controller} answers {groups} groups with the factors {action.factors!r:.60}: one for each, from 0"
        )
    return state, action
