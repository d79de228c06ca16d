"""kohya sd-scripts' `lr_scheduler`s: transformers' and diffusers', given what its options say. Factors are per update.

With N = num_processes the prepared scheduler is stepped N times at each update, over T = max_train_steps N steps of
its own. `lr_warmup_steps` and `lr_decay_steps`: an int counts steps of the *scheduler*; a float, and "5%" as on the
command line, is a share of T, rounded down.

Silent traps: an int is not multiplied by N, so 100 on 4 processes are 25 updates; in a TOML file 1 is one step, 1.0
the whole run, and 100.0 a hundred runs, which never end; every warmup spends its first update on rate 0; options
that a schedule does not take are ignored (`lr_scheduler_num_cycles` by "cosine", the floor by most). lrkit's
`warmup("5%")` counts updates whatever N is. Checked against the rules of 2026-02 with transformers 5.23.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from lrkit import schedule as shapes
from lrkit.convert.arguments import as_items, as_steps
from lrkit.convert.peers import diffusers, transformers
from lrkit.convert.pieces import every_nth, landing, over_own_length, ramp, sequence
from lrkit.duration import brief
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_number

__all__ = ["CONTROLLERS", "ENTRIES"]

Length = int | float | str


def constant(*, lr_warmup_steps: Length = 0, max_train_steps: int = 1600, num_processes: int = 1) -> Schedule:
    """1 for ever; a warmup is a ValueError there and a SpecError here (`constant_with_warmup` takes one)."""
    if _clock(max_train_steps, num_processes, lr_warmup_steps)[2]:
        raise SpecError(
            f"lr_warmup_steps={lr_warmup_steps} is refused by 'constant': use 'constant_with_warmup'"
        )
    return shapes.hold()


def constant_with_warmup(
    *, lr_warmup_steps: Length = 0, max_train_steps: int = 1600, num_processes: int = 1
) -> Schedule:
    """The warmup, then 1 for ever."""
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    if W >= T:
        # The run ends before the warmup does: what it sees is the ramp.
        return _per_update(lambda t, w: over_own_length(sequence(ramp(w), landing(1.0)), w, t), N, T, W)
    return _per_update(lambda _, w: transformers.constant_with_warmup(num_warmup_steps=w), N, T, W)


def linear(*, lr_warmup_steps: Length = 0, max_train_steps: int = 1600, num_processes: int = 1) -> Schedule:
    """Up in the warmup, then a line to 0 at the end."""
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    return _per_update(lambda t, w: transformers.linear(num_warmup_steps=w, num_training_steps=t), N, T, W)


def cosine(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_num_cycles: int = 1,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up in the warmup, then half a wave to 0. `lr_scheduler_num_cycles` is ignored; after the end it rises."""
    as_number(lr_scheduler_num_cycles, "lr_scheduler_num_cycles")
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    return _per_update(lambda t, w: transformers.cosine(num_warmup_steps=w, num_training_steps=t), N, T, W)


def cosine_with_restarts(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_num_cycles: int = 1,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up in the warmup, then so many half waves with hard restarts; 1 cycle is `cosine`, 0 cycles are constant."""
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    return _per_update(
        lambda t, w: transformers.cosine_with_restarts(
            num_warmup_steps=w, num_training_steps=t, num_cycles=lr_scheduler_num_cycles
        ),
        N,
        T,
        W,
    )


def cosine_with_min_lr(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_min_lr_ratio: float,
    lr_scheduler_num_cycles: int = 1,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up in the warmup, then lr_scheduler_num_cycles half waves down to the floor (and up, and down ...).

    Trap: 2 cycles are a whole wave, which ends at the full rate. The floor has no default.
    """
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    cycles = as_number(lr_scheduler_num_cycles, "lr_scheduler_num_cycles", above=0.0) / 2
    return _per_update(
        lambda t, w: transformers.cosine_with_min_lr(
            num_warmup_steps=w, num_training_steps=t, num_cycles=cycles, min_lr_rate=lr_scheduler_min_lr_ratio
        ),
        N,
        T,
        W,
    )


def polynomial(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_power: float = 1,
    learning_rate: float = 2e-6,
    lr_end: float = 1e-7,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up in the warmup, then a power of what is left, down to lr_end / learning_rate.

    `lr_end` can be set by lr_scheduler_args only. Traps: the floor is a share of `learning_rate` (2e-6 by default)
    and so is another rate in groups with a `unet_lr` or `text_encoder_lr`; with power 0 it is constant up to the end.
    """
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    return _per_update(
        lambda t, w: transformers.polynomial(
            num_warmup_steps=w,
            num_training_steps=t,
            power=lr_scheduler_power,
            lr_end=lr_end,
            base_lr=learning_rate,
        ),
        N,
        T,
        W,
    )


def inverse_sqrt(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_timescale: int | None = None,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up in the warmup, then 1 / sqrt for ever; without a timescale W is, and without W 10,000 (almost constant)."""
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    given = (W or 10_000) if lr_scheduler_timescale is None else lr_scheduler_timescale
    scale = as_steps(given, "lr_scheduler_timescale", least=1)
    if W >= T:
        late = sequence(ramp(W), shapes.inverse_sqrt(scale, duration=T))
        return _per_update(lambda t, w: over_own_length(late, w + t, t), N, T, W)
    return _per_update(
        lambda _, w, r: transformers.inverse_sqrt(num_warmup_steps=w, timescale=r), N, T, W, scale
    )


def warmup_stable_decay(
    *,
    lr_warmup_steps: Length = 0,
    lr_decay_steps: Length = 0,
    lr_scheduler_num_cycles: int = 1,
    lr_scheduler_min_lr_ratio: float | None = None,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> Schedule:
    """Up from the floor, 1, and half a wave (per cycle) back in the last lr_decay_steps.

    Traps: those are 0 by default, which is the full rate to the end and a cliff; like the warmup's an int counts
    steps of the scheduler, N to an update; and where both overrun the run the peak is never reached.
    """
    T, N, W = _clock(max_train_steps, num_processes, lr_warmup_steps)
    D = _steps(lr_decay_steps, "lr_decay_steps", T)
    cycles = as_number(lr_scheduler_num_cycles, "lr_scheduler_num_cycles", above=0.0) / 2
    return _per_update(
        lambda t, w, d: transformers.warmup_stable_decay(
            num_warmup_steps=w,
            num_decay_steps=d,
            num_training_steps=t,
            min_lr_ratio=lr_scheduler_min_lr_ratio or 0.0,
            num_cycles=cycles,
        ),
        N,
        T,
        W,
        D,
    )


def piecewise_constant(
    *, lr_scheduler_args: Sequence[str], max_train_steps: int = 1600, num_processes: int = 1
) -> Schedule:
    """diffusers' piecewise_constant, whose rules come as ["step_rules='1:100,0.1'"], a quoted literal; no warmup."""
    T, N, _ = _clock(max_train_steps, num_processes, 0)
    rules = _literals(lr_scheduler_args).get("step_rules")
    if not isinstance(rules, str):
        raise SpecError("lr_scheduler_args must hold \"step_rules='1:100,0.1'\", with the inner quotes")
    whole = diffusers.piecewise_constant(step_rules=rules)
    if N == 1:
        return whole
    last = max([T, *(int(rule.partition(":")[2]) for rule in rules.split(",")[:-1])])
    return every_nth(whole, last, N)


def adafactor(
    *, lr_warmup_steps: Length = 0, warmup_init: bool = False, learning_rate: float = 1.0
) -> Schedule:
    """What Adafactor's relative step uses, as factors of `learning_rate`, which Adafactor itself then ignores.

    kohya replaces the scheduler by this whenever Adafactor runs with relative_step (its default); W must be 0.
    """
    if lr_warmup_steps:
        raise SpecError(f"lr_warmup_steps={brief(lr_warmup_steps)} is refused by 'adafactor'")
    return transformers.adafactor(warmup_init=warmup_init, base_lr=learning_rate)


def cosine_warmup_with_min_lr(
    *,
    lr_warmup_steps: Length = 0,
    lr_scheduler_min_lr_ratio: float = 0.0,
    max_train_steps: int = 1600,
    num_processes: int = 1,
) -> NoReturn:
    """A name that kohya takes and cannot serve."""
    del lr_warmup_steps, lr_scheduler_min_lr_ratio, max_train_steps, num_processes
    raise SpecError("kohya hands it arguments that it lacks, a TypeError there: use kohya:cosine_with_min_lr")


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "adafactor": adafactor,
    "constant": constant,
    "constant_with_warmup": constant_with_warmup,
    "cosine": cosine,
    "cosine_with_min_lr": cosine_with_min_lr,
    "cosine_with_restarts": cosine_with_restarts,
    "inverse_sqrt": inverse_sqrt,
    "linear": linear,
    "piecewise_constant": piecewise_constant,
    "polynomial": polynomial,
    "warmup_stable_decay": warmup_stable_decay,
}

CONTROLLERS: Final[Mapping[str, Callable[..., Schedule]]] = {
    "cosine_warmup_with_min_lr": cosine_warmup_with_min_lr,
    "greedy": transformers.greedy,
    "reduce_lr_on_plateau": transformers.reduce_lr_on_plateau,
}


def _clock(max_train_steps: int, num_processes: int, warmup: Length) -> tuple[int, int, int]:
    """The scheduler's steps in the run, those in an update, and those of the warmup."""
    N = as_steps(num_processes, "num_processes", least=1)
    T = as_steps(max_train_steps, "max_train_steps", least=1) * N
    return T, N, _steps(warmup, "lr_warmup_steps", T)


def _steps(value: Length, name: str, T: int) -> int:
    """Steps or a share, told apart as kohya tells them apart: by the type, and in text by % or a value below 1."""
    if isinstance(value, str):
        text = value.strip()
        share = _share(text, name)
        return int(text) if share is None else int(T * share)
    if isinstance(value, float):
        return int(T * as_number(value, name))
    return as_steps(value, name)


def _share(text: str, name: str) -> float | None:
    """The share that a text stands for; None where it is a whole number of steps."""
    if text.isdecimal():
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0 or (share == 1.0 and not text.endswith("%")):
        raise SpecError(
            f"{name} takes steps (100), a share below 1 (0.05) or percent ('5%'), not {brief(text)}"
        )
    return share


def _per_update(build: Callable[..., Schedule], N: int, T: int, *lengths: int) -> Schedule:
    """What each N-th step of the scheduler has: the same shapes where all lengths are multiples of N, else a table."""
    if N == 1:
        return build(T, *lengths)
    if lengths[0] < T and not any(length % N for length in lengths):
        return build(T // N, *(length // N for length in lengths))
    return every_nth(build(T, *lengths), T, N)


def _literals(arguments: Sequence[str]) -> dict[str, object]:
    """`key=literal` items, as kohya reads them: no "=" in the literal."""
    found: dict[str, object] = {}
    for item in as_items(arguments, "lr_scheduler_args"):
        key, equals, literal = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not equals or "=" in literal:
            raise SpecError(f"{brief(item)} in lr_scheduler_args is no 'key=literal' (kohya allows one '=')")
        try:
            found[key] = ast.literal_eval(literal)
        except (ValueError, SyntaxError):
            raise SpecError(
                f"{brief(literal)} in lr_scheduler_args is no Python literal: quote text"
            ) from None
    return found
