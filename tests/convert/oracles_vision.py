"""timm, fastai, fvcore and Dive into Deep Learning as their documentation states them, one step at a time."""

from __future__ import annotations

import math
from bisect import bisect_right


def timm(t, *, base_lr, warmup_t=0, warmup_lr_init=0.0, warmup_prefix=False, value, aim=None):
    if t < warmup_t:
        top = base_lr if aim is None else aim
        return warmup_lr_init + t * (top - warmup_lr_init) / warmup_t
    return value(t - warmup_t if warmup_prefix else t)


def timm_cycles(t, base, plan, lr_min, inside):
    n, growth, decay, count = plan
    if growth == 1:
        i = t // n
        length, passed = n, t - n * i
    else:
        i = math.floor(math.log(1 - t / n * (1 - growth), growth))
        length, passed = growth**i * n, t - (1 - growth**i) / (1 - growth) * n
    return inside(base * decay**i, passed, length) if i < count else lr_min


def plan_of(k):
    return k["t_initial"], k.get("cycle_mul", 1.0), k.get("cycle_decay", 1.0), k.get("cycle_limit", 1)


def warmup_of(k, prefix):
    return {
        "base_lr": k["base_lr"],
        "warmup_t": k.get("warmup_t", 0),
        "warmup_lr_init": k.get("warmup_lr_init", 0.0),
        "warmup_prefix": k.get("warmup_prefix", prefix),
    }


def timm_cosine(t, T, **k):
    e, low = k.get("k_decay", 1.0), k["lr_min"]

    def inside(peak, passed, length):
        return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * passed**e / length**e))

    value = lambda u: timm_cycles(u, k["base_lr"], plan_of(k), low, inside)  # noqa: E731
    return timm(t, **warmup_of(k, False), value=value) / k["base_lr"]


def timm_poly(t, T, **k):
    e, low = k.get("k_decay", 1.0), k["lr_min"]

    def inside(peak, passed, length):
        # A first step that rounding puts before its cycle is complex in timm itself.
        return low + (peak - low) * max(0.0, 1 - max(0.0, passed) ** e / length**e) ** k["power"]

    value = lambda u: timm_cycles(u, k["base_lr"], plan_of(k), low, inside)  # noqa: E731
    return timm(t, **warmup_of(k, False), value=value) / k["base_lr"]


def timm_tanh(t, T, **k):
    low = k["lr_min"]

    def inside(peak, passed, length):
        share = passed / length
        return low + 0.5 * (peak - low) * (1 - math.tanh(k["lb"] * (1 - share) + k["ub"] * share))

    value = lambda u: timm_cycles(u, k["base_lr"], plan_of(k), low, inside)  # noqa: E731
    aim = k["base_lr"] if k.get("warmup_prefix", False) else value(k.get("warmup_t", 0))
    return timm(t, **warmup_of(k, False), value=value, aim=aim) / k["base_lr"]


def timm_step(t, T, **k):
    value = lambda u: k["base_lr"] * k["decay_rate"] ** (u // k["decay_t"])  # noqa: E731
    return timm(t, **warmup_of(k, True), value=value) / k["base_lr"]


def timm_multistep(t, T, **k):
    value = lambda u: k["base_lr"] * k["decay_rate"] ** bisect_right(k["decay_t"], u + 1)  # noqa: E731
    return timm(t, **warmup_of(k, True), value=value) / k["base_lr"]


def timm_wsd(t, T, **k):
    n, D, low, b = k["t_initial"], k["decay_t"], k["lr_min"], k["base_lr"]
    scale = k.get("stable_timescale") or k.get("warmup_t", 0)
    power = {"constant": 0.0, "rsqrt": 0.5, "power": k["stable_power"]}[k["stable_fn"]]

    def value(s):
        stable = max(b * (1 + s / scale) ** -power, low) if power else b
        if s <= n - D:
            return stable
        q = min(1.0, (s - (n - D)) / D)
        r = k["decay_ratio"]
        left = {
            "linear": 1 - q,
            "1-sqrt": 1 - math.sqrt(q),
            "cosine": 0.5 * (1 + math.cos(math.pi * q)),
            "power": 1 - q ** k["decay_power"],
            "exp": (r**q - r) / (1 - r),
        }
        return low + (stable - low) * left[k["decay_fn"]]

    return timm(t, **{**warmup_of(k, True), "warmup_prefix": True}, value=value) / b


def cos_between(start, end, p):
    return start + (1 + math.cos(math.pi * (1 - p))) * (end - start) / 2


def two_waves(share, pct, a, b, c):
    if share >= 1:
        return c
    return cos_between(a, b, share / pct) if share < pct else cos_between(b, c, (share - pct) / (1 - pct))


def fastai_sgdr(t, T, *, n_cycles, cycle_len, cycle_mult):
    epochs = [cycle_len * cycle_mult**i for i in range(n_cycles)]
    begin = 0.0
    for n in epochs:
        length = T * n / sum(epochs)
        if t < begin + length:
            return cos_between(1.0, 0.0, (t - begin) / length)
        begin += length
    return 0.0


def fastai_fine_tune(t, T, *, epochs, freeze_epochs, base_lr, pct_start, div):
    frozen = T * freeze_epochs // (epochs + freeze_epochs)
    if t < frozen:
        return two_waves(t / frozen, 0.99, 1 / 25, 1.0, 1e-5)
    return 0.5 * two_waves((t - frozen) / (T - frozen), pct_start, 1 / div, 1.0, 1e-5)


def clipped(t, T):
    return min(1.0, t / T)


def fvcore_function(name, k):
    match name:
        case "ConstantParamScheduler":
            return lambda w: k["value"]
        case "CosineParamScheduler":
            a, b = k["start_value"], k["end_value"]
            return lambda w: b + 0.5 * (a - b) * (1 + math.cos(math.pi * w))
        case "ExponentialParamScheduler":
            return lambda w: k["start_value"] * k["decay"] ** w
        case "LinearParamScheduler":
            return lambda w: max(0.0, k["end_value"] * w + k["start_value"] * (1 - w))
        case "PolynomialDecayParamScheduler":
            return lambda w: k["base_value"] * max(0.0, 1 - w) ** k["power"]
        case "StepParamScheduler":
            n = len(k["values"])
            return lambda w: k["values"][min(n - 1, int((w + 1e-6) * n))]
        case _:
            values = [k["base_value"] * k["gamma"] ** i for i in range(k["num_decays"] + 1)]
            return fvcore_function("StepParamScheduler", {"values": values})


def fvcore(name):
    def value(t, T, *, base_lr=1.0, **k):
        return fvcore_function(name, k)(t / T) / base_lr

    return value


def fvcore_multi_step(t, T, *, values, num_updates, milestones, steps):
    marks = list(milestones)
    whole = marks.pop() if num_updates is None else num_updates
    return values[bisect_right(marks, int((t / T + 1e-6) * whole))]


def fvcore_composite(t, T, *, schedulers, lengths, interval_scaling, steps):
    where = min(t, T - 1) / T
    lengths = [*lengths[:-1], 1 - sum(lengths[:-1])] if sum(lengths) != 1 else lengths
    k, total = 0, lengths[0]
    while where + 1e-6 > total and k < len(lengths) - 1:
        k, total = k + 1, total + lengths[k + 1]
    if interval_scaling[k] == "rescaled":
        where = (where - (total - lengths[k])) / lengths[k]
    return fvcore_function(*schedulers[k])(where)


def d2l_factor(t, T, *, factor, stop_factor_lr, base_lr):
    rate = base_lr
    for _ in range(t + 1):
        rate = max(stop_factor_lr, rate * factor)
    return rate / base_lr


def d2l_cosine(t, T, *, max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr):
    if t < warmup_steps:
        return (warmup_begin_lr + (base_lr - warmup_begin_lr) * t / warmup_steps) / base_lr
    p = min(1.0, (t - warmup_steps) / (max_update - warmup_steps))
    return (final_lr + (base_lr - final_lr) * (1 + math.cos(math.pi * p)) / 2) / base_lr


ORACLES = {
    "timm:CosineLRScheduler": timm_cosine,
    "timm:MultiStepLRScheduler": timm_multistep,
    "timm:PolyLRScheduler": timm_poly,
    "timm:StepLRScheduler": timm_step,
    "timm:TanhLRScheduler": timm_tanh,
    "timm:WSDLRScheduler": timm_wsd,
    "fastai:SchedCos": lambda t, T, *, start, end, base_lr: cos_between(start, end, clipped(t, T)) / base_lr,
    "fastai:SchedExp": lambda t, T, *, start, end, base_lr: start * (end / start) ** clipped(t, T) / base_lr,
    "fastai:SchedLin": lambda t, T, *, start, end, base_lr: (start + (end - start) * clipped(t, T)) / base_lr,
    "fastai:SchedNo": lambda t, T, *, start, end, base_lr: start / base_lr,
    "fastai:SchedPoly": lambda t, T, *, start, end, power, base_lr: (
        (start + (end - start) * clipped(t, T) ** power) / base_lr
    ),
    "fastai:combined_cos": lambda t, T, *, pct, start, middle, end, base_lr: (
        two_waves(t / T, pct, start, middle, end) / base_lr
    ),
    "fastai:fine_tune": fastai_fine_tune,
    "fastai:fit_flat_cos": lambda t, T, *, pct_start, div_final: two_waves(
        t / T, pct_start, 1.0, 1.0, 1 / div_final
    ),
    "fastai:fit_one_cycle": lambda t, T, *, pct_start, div, div_final: two_waves(
        t / T, pct_start, 1 / div, 1.0, 1 / div_final
    ),
    "fastai:fit_one_cycle_momentum": lambda t, T, *, pct_start, moms: two_waves(t / T, pct_start, *moms),
    "fastai:fit_sgdr": fastai_sgdr,
    **{
        f"fvcore:{name}": fvcore(name)
        for name in (
            "ConstantParamScheduler",
            "CosineParamScheduler",
            "ExponentialParamScheduler",
            "LinearParamScheduler",
            "PolynomialDecayParamScheduler",
            "StepParamScheduler",
            "StepWithFixedGammaParamScheduler",
        )
    },
    "fvcore:CompositeParamScheduler": fvcore_composite,
    "fvcore:MultiStepParamScheduler": fvcore_multi_step,
    "d2l:CosineScheduler": d2l_cosine,
    "d2l:FactorScheduler": d2l_factor,
    "d2l:MultiFactorScheduler": lambda t, T, *, milestones, gamma: math.prod(
        gamma for m in milestones if m <= t
    ),
    "d2l:SquareRootScheduler": lambda t, T: (t + 1) ** -0.5,
}
