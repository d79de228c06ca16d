"""diffusers' schedules: those of its `get_scheduler`. Nearly all are transformers' of the same names.

Letters as in `transformers`. Checked against diffusers 0.42.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from lrkit import schedule as s
from lrkit.convert.arguments import as_steps
from lrkit.convert.peers import transformers
from lrkit.convert.pieces import for_ever, landing, over_own_length, ramp, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["ENTRIES"]


def linear(
    *, num_warmup_steps: int, num_training_steps: int, f_min: float = 0.0, f_max: float = 1.0
) -> Schedule:
    """From 0 to f_max in W steps, then down to f_min, which holds.

    `f_min` and `f_max` belong to get_linear_schedule_with_warmup; `get_scheduler` cannot reach them.
    """
    W = as_steps(num_warmup_steps, "num_warmup_steps")
    T = as_steps(num_training_steps, "num_training_steps", least=1)
    low, high = as_number(f_min, "f_min"), as_number(f_max, "f_max")
    if W >= T:
        return over_own_length(sequence(ramp(W, to=high), landing(low)), W, T)
    return sequence(ramp(W, to=high), s.linear(T - W, start=high, to=low))


def cosine(*, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Schedule:
    """(1 + cos(2 pi num_cycles p)) / 2.

    `num_cycles` belongs to get_cosine_schedule_with_warmup. Defects: `get_scheduler("cosine", num_cycles=...)`
    ignores what it is given, so leave it out to get its numbers; after the end the rate rises again. The spec
    without them is the same without `.after(continue)`.
    """
    return transformers.cosine(
        num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps, num_cycles=num_cycles
    )


def piecewise_constant(*, step_rules: str) -> Schedule:
    """Constant levels: "1:10,0.1:20,0.005" is 1 before step 10, 0.1 before step 20, and 0.005 for ever.

    SpecError for rules that the peer would stumble over.
    """
    if not isinstance(step_rules, str):
        raise SpecError(f"step_rules takes text such as '1:10,0.1:20,0.005', not {brief(step_rules)}")
    *rules, last = step_rules.split(",")
    levels: dict[int, float] = {}
    for rule in rules:
        level, colon, until = rule.partition(":")
        if not colon or not until.strip().isdecimal() or int(until) < 1:
            raise SpecError(f"{rule!r} in step_rules is no 'factor:step'")
        levels[int(until)] = _number(level)
    begins = [0, *sorted(levels)]
    holds = [s.hold(end - begin, level=levels[end]) for begin, end in pairwise(begins)]
    return sequence(*holds, for_ever(_number(last)))


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "constant": transformers.constant,
    "constant_with_warmup": transformers.constant_with_warmup,
    "cosine": cosine,
    "cosine_with_restarts": transformers.cosine_with_restarts,
    "linear": linear,
    "piecewise_constant": piecewise_constant,
    "polynomial": transformers.polynomial,
}


def _number(text: str) -> float:
    try:
        return as_number(float(text), "step_rules")
    except ValueError:
        raise SpecError(f"{text.strip()!r} in step_rules is no factor from 0") from None
