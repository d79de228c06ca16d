"""transformers, diffusers and kohya as their documentation states them, one step at a time, in plain Python."""

from __future__ import annotations

import math


def warm(t, W, after):
    return t / max(1, W) if t < W else after


def transformers_constant(t, T, *, num_warmup_steps=0):
    return 1.0


def transformers_constant_with_warmup(t, T, *, num_warmup_steps):
    return warm(t, num_warmup_steps, 1.0)


def transformers_linear(t, T, *, num_warmup_steps, num_training_steps):
    W, N = num_warmup_steps, num_training_steps
    return warm(t, W, max(0.0, (N - t) / max(1, N - W)))


def transformers_cosine(t, T, *, num_warmup_steps, num_training_steps, num_cycles=0.5):
    p = (t - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
    return warm(t, num_warmup_steps, max(0.0, 0.5 * (1 + math.cos(math.pi * num_cycles * 2 * p))))


def transformers_cosine_with_restarts(t, T, *, num_warmup_steps, num_training_steps, num_cycles=1):
    p = (t - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
    wave = 0.0 if p >= 1 else 0.5 * (1 + math.cos(math.pi * ((num_cycles * p) % 1.0)))
    return warm(t, num_warmup_steps, wave)


def transformers_polynomial(
    t, T, *, num_warmup_steps, num_training_steps, lr_end=1e-7, power=1.0, base_lr=1.0
):
    W, N = num_warmup_steps, num_training_steps
    if t < W:
        return t / max(1, W)
    if t > N:
        return lr_end / base_lr
    return ((base_lr - lr_end) * (1 - (t - W) / (N - W)) ** power + lr_end) / base_lr


def transformers_inverse_sqrt(t, T, *, num_warmup_steps, timescale=None):
    scale = timescale or num_warmup_steps or 10_000
    return warm(t, num_warmup_steps, 1 / math.sqrt(max(1e-300, (t - num_warmup_steps + scale) / scale)))


def floor_of(min_lr, min_lr_rate, base_lr):
    return min_lr_rate if min_lr is None else min_lr / base_lr


def transformers_cosine_with_min_lr(
    t, T, *, num_warmup_steps, num_training_steps, num_cycles=0.5, min_lr=None, min_lr_rate=None, base_lr=1.0
):
    r = floor_of(min_lr, min_lr_rate, base_lr)
    p = (t - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
    f = 0.5 * (1 + math.cos(math.pi * num_cycles * 2 * p))
    return warm(t, num_warmup_steps, max(0.0, f * (1 - r) + r))


def transformers_cosine_warmup_with_min_lr(
    t,
    T,
    *,
    num_warmup_steps,
    num_training_steps,
    num_cycles=0.5,
    min_lr=None,
    min_lr_rate=None,
    warmup_lr_rate=None,
    base_lr=1.0,
):
    W, r = num_warmup_steps, floor_of(min_lr, min_lr_rate, base_lr)
    if t < W:
        if warmup_lr_rate is None:
            return (t + 1) / max(1, W)
        return warmup_lr_rate + (1 - warmup_lr_rate) * t / max(1, W - 1)
    p = (t - W + 1) / max(1, num_training_steps - W)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * num_cycles * 2 * p)) * (1 - r) + r)


def transformers_warmup_stable_decay(
    t,
    T,
    *,
    num_warmup_steps,
    num_decay_steps,
    num_training_steps=None,
    num_stable_steps=None,
    warmup_type="linear",
    decay_type="cosine",
    min_lr_ratio=0,
    num_cycles=0.5,
):
    W, D, m = num_warmup_steps, num_decay_steps, min_lr_ratio
    S = num_training_steps - W - D if num_stable_steps is None else num_stable_steps
    if t < W:
        q = t / max(1, W)
        rise = {"linear": q, "cosine": 0.5 * (1 - math.cos(math.pi * q)), "1-sqrt": 1 - math.sqrt(1 - q)}
        return max(0.0, rise[warmup_type] * (1 - m) + m)
    if t < W + S:
        return 1.0
    if t < W + S + D:
        q = (t - W - S) / max(1, D)
        fall = {
            "linear": 1 - q,
            "cosine": 0.5 * (1 + math.cos(math.pi * num_cycles * 2 * q)),
            "1-sqrt": 1 - math.sqrt(q),
        }
        return max(0.0, fall[decay_type] * (1 - m) + m)
    return m


def transformers_adafactor(t, T, *, warmup_init=False, base_lr=1.0):
    step = t + 1
    most = 1e-6 * step if warmup_init else 1e-2
    return min(most, 1 / math.sqrt(step)) / base_lr


def diffusers_linear(t, T, *, num_warmup_steps, num_training_steps, f_min=0.0, f_max=1.0):
    W, N = num_warmup_steps, num_training_steps
    if t < W:
        return f_max * t / max(1, W)
    return f_min + (f_max - f_min) * max(0.0, (N - t) / max(1, N - W))


def diffusers_piecewise_constant(t, T, *, step_rules):
    *rules, last = step_rules.split(",")
    for level, until in sorted((rule.split(":") for rule in rules), key=lambda pair: int(pair[1])):
        if t < int(until):
            return float(level)
    return float(last)


def kohya_steps(value, total):
    """kohya tells a share from a number of steps by the type; the command line makes floats of "5%" and "0.2"."""
    if isinstance(value, str):
        value = float(value[:-1]) / 100 if value.endswith("%") else float(value)
    return int(value * total) if isinstance(value, float) else value


def kohya(name):
    """Update u of the run is step u N of a scheduler that is made for T N steps."""

    def value(
        t,
        T,
        *,
        max_train_steps=1600,
        num_processes=1,
        lr_warmup_steps=0,
        lr_decay_steps=0,
        lr_scheduler_num_cycles=1,
        lr_scheduler_power=1,
        lr_scheduler_timescale=None,
        lr_scheduler_min_lr_ratio=None,
        lr_scheduler_args=(),
        learning_rate=2e-6,
    ):
        N = max_train_steps * num_processes
        u, W, D = t * num_processes, kohya_steps(lr_warmup_steps, N), kohya_steps(lr_decay_steps, N)
        both = {"num_warmup_steps": W, "num_training_steps": N}
        half = lr_scheduler_num_cycles / 2
        match name:
            case "constant":
                return 1.0
            case "constant_with_warmup":
                return transformers_constant_with_warmup(u, N, num_warmup_steps=W)
            case "linear":
                return transformers_linear(u, N, **both)
            case "cosine":
                return transformers_cosine(u, N, **both)
            case "cosine_with_restarts":
                return transformers_cosine_with_restarts(u, N, **both, num_cycles=lr_scheduler_num_cycles)
            case "cosine_with_min_lr":
                ratio = lr_scheduler_min_lr_ratio
                return transformers_cosine_with_min_lr(u, N, **both, num_cycles=half, min_lr_rate=ratio)
            case "polynomial":
                return transformers_polynomial(u, N, **both, power=lr_scheduler_power, base_lr=learning_rate)
            case "inverse_sqrt":
                return transformers_inverse_sqrt(u, N, num_warmup_steps=W, timescale=lr_scheduler_timescale)
            case "piecewise_constant":
                rules = lr_scheduler_args[0].split("'")[1]
                return diffusers_piecewise_constant(u, N, step_rules=rules)
            case _:
                return transformers_warmup_stable_decay(
                    u,
                    N,
                    **both,
                    num_decay_steps=D,
                    num_cycles=half,
                    min_lr_ratio=lr_scheduler_min_lr_ratio or 0,
                )

    return value


ORACLES = {
    **{
        f"transformers:{name.removeprefix('transformers_')}": function
        for name, function in list(globals().items())
        if name.startswith("transformers_")
    },
    "diffusers:linear": diffusers_linear,
    "diffusers:piecewise_constant": diffusers_piecewise_constant,
    **{
        f"diffusers:{name}": globals()[f"transformers_{name}"]
        for name in ("constant", "constant_with_warmup", "cosine", "cosine_with_restarts", "polynomial")
    },
    "kohya:adafactor": lambda t, T, *, warmup_init=False: transformers_adafactor(
        t, T, warmup_init=warmup_init
    ),
    **{
        f"kohya:{name}": kohya(name)
        for name in (
            "constant",
            "constant_with_warmup",
            "cosine",
            "cosine_with_min_lr",
            "cosine_with_restarts",
            "inverse_sqrt",
            "linear",
            "piecewise_constant",
            "polynomial",
            "warmup_stable_decay",
        )
    },
}
