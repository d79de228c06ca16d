"""Composer, Megatron-LM, DeepSpeed, torchtitan and OLMo-core as they state themselves, one step at a time."""

from __future__ import annotations

import math


def cos01(p):
    return (1 + math.cos(math.pi * p)) / 2


class Run:
    """Composer's clock: what a time is in batches."""

    def __init__(self, max_duration, dataloader_len, scale_schedule_ratio):
        self.per_epoch, self.ratio = dataloader_len, scale_schedule_ratio
        self.epochs = int(int(max_duration[:-2]) * scale_schedule_ratio)

    def __call__(self, time, ratio=None):
        if time.endswith("dur"):
            return int(float(time[:-3]) * self.per_epoch * self.epochs)
        batches = int(time[:-2]) * (self.per_epoch if time.endswith("ep") else 1)
        return int(batches * (self.ratio if ratio is None else ratio))


def composer(shape):
    """A scheduler without a warmup, from what it does at batch t of the run."""

    def value(t, T, *, max_duration, dataloader_len, scale_schedule_ratio, **k):
        return shape(t, Run(max_duration, dataloader_len, scale_schedule_ratio), **k)

    return value


def composer_warm(shape, top=lambda k: 1.0):
    """One with a warmup: the ramp, scaled or not, while t lies in the unscaled warmup, then the shape."""

    def value(t, T, *, max_duration, dataloader_len, scale_schedule_ratio, t_warmup, scale_warmup, **k):
        run = Run(max_duration, dataloader_len, scale_schedule_ratio)
        W = run(t_warmup, 1.0)
        if t < W:
            return min(1.0, t / (run(t_warmup) if scale_warmup else W)) * top(k)
        return shape(t, run, W=W, **k)

    return value


def composer_drops(t, run, *, milestones, gamma, W=0):
    return math.prod(gamma for time in milestones if t >= run(time))


def composer_restarts(t, run, *, t_0, t_mult, alpha_f):
    length = end = run(t_0)
    while end <= t:
        length = int(t_mult * length)
        end += length
    return alpha_f + (1 - alpha_f) * cos01((t - (end - length)) / length)


def share(t, run, t_max="1dur", W=0):
    return min(1.0, (t - W) / (run(t_max) - W))


COMPOSER = {
    "ConstantScheduler": composer(lambda t, run, *, alpha, t_max: alpha if t < run(t_max) else 1.0),
    "ConstantWithWarmupScheduler": composer_warm(lambda t, run, *, alpha, W: alpha, top=lambda k: k["alpha"]),
    "CosineAnnealingScheduler": composer(
        lambda t, run, *, t_max, alpha_f: alpha_f + (1 - alpha_f) * cos01(share(t, run, t_max))
    ),
    "CosineAnnealingWarmRestartsScheduler": composer(composer_restarts),
    "CosineAnnealingWithWarmupScheduler": composer_warm(
        lambda t, run, *, alpha_f, W: alpha_f + (1 - alpha_f) * cos01(share(t, run, W=W))
    ),
    "ExponentialScheduler": composer(lambda t, run, *, gamma, decay_period: gamma ** (t / run(decay_period))),
    "LinearScheduler": composer(
        lambda t, run, *, alpha_i, alpha_f, t_max: alpha_i + share(t, run, t_max) * (alpha_f - alpha_i)
    ),
    "LinearWithWarmupScheduler": composer_warm(
        lambda t, run, *, alpha_i, alpha_f, W: alpha_i + share(t, run, W=W) * (alpha_f - alpha_i),
        top=lambda k: k["alpha_i"],
    ),
    "MultiStepScheduler": composer(composer_drops),
    "MultiStepWithWarmupScheduler": composer_warm(composer_drops),
    "PolynomialScheduler": composer(
        lambda t, run, *, power, t_max, alpha_f: alpha_f + (1 - alpha_f) * (1 - share(t, run, t_max)) ** power
    ),
    "PolynomialWithWarmupScheduler": composer_warm(
        lambda t, run, *, power, alpha_f, W: alpha_f + (1 - alpha_f) * (1 - share(t, run, W=W)) ** power
    ),
    "StepScheduler": composer(lambda t, run, *, step_size, gamma: gamma ** (t // run(step_size))),
}


def megatron(
    t,
    T,
    *,
    max_lr,
    min_lr,
    init_lr,
    lr_warmup_steps,
    lr_decay_steps,
    lr_decay_style,
    increment,
    base_lr,
    wsd_decay_steps=None,
    lr_wsd_decay_style="exponential",
):
    n, W, N, D = t * increment, lr_warmup_steps, lr_decay_steps, wsd_decay_steps
    if W > 0 and n <= W:
        return (init_lr + (max_lr - init_lr) * n / W) / base_lr
    if lr_decay_style == "constant":
        return max_lr / base_lr
    if n > N:
        return min_lr / base_lr
    if lr_decay_style == "inverse-square-root":
        return max(min_lr, max_lr * math.sqrt(max(W, 1)) / math.sqrt(max(n, 1))) / base_lr
    p = (n - W) / (N - W)
    if lr_decay_style == "WSD":
        q = max(0.0, (n - (N - D)) / D)
        left = {"linear": 1 - q, "cosine": cos01(q), "exponential": 2 * 0.5**q - 1, "minus_sqrt": 1 - q**0.5}
        coefficient = left[lr_wsd_decay_style]
    else:
        coefficient = 1 - p if lr_decay_style == "linear" else cos01(p)
    return (min_lr + coefficient * (max_lr - min_lr)) / base_lr


def megatron_weight_decay(t, T, *, start_wd, end_wd, wd_incr_steps, wd_incr_style, increment):
    n = t * increment
    if n > wd_incr_steps or wd_incr_style == "constant":
        return end_wd
    r = n / wd_incr_steps
    return start_wd + (r if wd_incr_style == "linear" else cos01(1 - r)) * (end_wd - start_wd)


def deepspeed_range(
    t,
    T,
    *,
    lr_range_test_min_lr,
    lr_range_test_step_size,
    lr_range_test_step_rate,
    lr_range_test_staircase,
    base_lr,
):
    interval = t / lr_range_test_step_size
    interval = math.floor(interval) if lr_range_test_staircase else interval
    return lr_range_test_min_lr * (1 + lr_range_test_step_rate * interval) / base_lr


def deepspeed_height(k, up, down, stairs):
    """How far up the triangle is at index k + 1, in stairs or smoothly; None after the cycle."""
    if k >= up + down:
        return None
    i = (k + 1) % (up + down)
    rises, falls = stairs[0], stairs[0] if stairs[1] is None else stairs[1]
    if i <= up:
        return math.floor(i * rises / up) / rises if rises else i / up
    return math.floor((up + down - i) * falls / down) / falls if falls else (up + down - i) / down


def deepspeed_cycle(t, T, *, low, high, rate, name, base_lr=1.0, **k):
    up = k["cycle_first_step_size"]
    down = k["cycle_second_step_size"] or up
    stairs = k["cycle_first_stair_count"], k["cycle_second_stair_count"]
    if t == 0:
        return low / base_lr
    height = deepspeed_height(t - 1, up, down, stairs)
    every = k["decay_step_size"]
    passed = rate * (t - 1 - (up + down) + 1) / every if every else 0.0
    if name == "momentum":
        return high * (1 + passed) if height is None else high - (high - low) * height
    return (low / (1 + passed) if height is None else low + (high - low) * height) / base_lr


def deepspeed_ramp(k, W, kind):
    W = max(2, W)
    if k >= W:
        return None
    return math.log(k + 1) / math.log(W) if kind == "log" else k / W


def deepspeed_warmup(
    t, T, *, warmup_num_steps, warmup_type, warmup_min_lr, warmup_max_lr, base_lr, total_num_steps=None
):
    k, W = max(0, t - 1), max(2, warmup_num_steps)
    g = deepspeed_ramp(k, W, warmup_type)
    if g is None:
        g = 1.0 if total_num_steps is None else max(0.0, (total_num_steps - k) / max(1, total_num_steps - W))
    return (warmup_min_lr + (warmup_max_lr - warmup_min_lr) * g) / base_lr


def deepspeed_cosine(
    t, T, *, total_num_steps, warmup_num_steps, warmup_type, warmup_min_ratio, cos_min_ratio
):
    if t == 0:
        return 0.0
    k, W = t - 1, max(2, warmup_num_steps)
    g = deepspeed_ramp(k, W, warmup_type)
    if g is not None:
        return warmup_min_ratio + g * (1 - warmup_min_ratio)
    p = min(1.0, (k - W + 1) / max(1, total_num_steps - W))
    return cos_min_ratio + (1 - cos_min_ratio) * cos01(p)


def torchtitan(t, T, *, total_steps, warmup_steps, decay_ratio, decay_type, min_lr_factor):
    W = warmup_steps
    D = total_steps - W if decay_ratio is None else min(total_steps - W, round(total_steps * decay_ratio))
    S = total_steps + 1 - W - D
    if t < W:
        return (t + 1) / W
    if t < W + S or not D:
        return 1.0
    q = (t + 1 - W - S) / D
    left = {"linear": 1 - q, "sqrt": 1 - math.sqrt(q), "cosine": cos01(q)}[decay_type]
    # The peer's value may be negative; a schedule's is at least 0.
    return max(0.0, min_lr_factor + (1 - min_lr_factor) * left)


def part(k, name, T):
    return k[name] if name in k else round(T * k.get(f"{name}_fraction", 0.1))


def olmo(shape):
    def value(t, T, **k):
        c, N, W = t + 1, k["t_max"], part(k, "warmup", k["t_max"])
        return max(0.0, shape(c, N, W, k.get("warmup_min_lr", 0.0) / k["base_lr"], k))

    return value


def ramp(c, W, low, top=1.0):
    return low + (top - low) * min(c, W) / W


def olmo_cos(c, N, W, low, k):
    a = k["alpha_f"]
    if c < W:
        return ramp(c, W, low)
    return a if c >= N else a + (1 - a) * cos01((c - W) / (N - W))


def olmo_half_cos(c, N, W, low, k):
    a = k["alpha_f"]
    if c < W:
        return ramp(c, W, low, a + (1 - a) / 2)
    return a if c >= N else a + (1 - a) * cos01((c - W + N - W) / (2 * (N - W)))


def olmo_linear(c, N, W, low, k):
    a = k["alpha_f"]
    if c < W:
        return ramp(c, W, low)
    return a if c >= N else 1 - (1 - a) * (c - W) / (N - W)


def olmo_inv_sqrt(c, N, W, low, k):
    a = k["alpha_f"]
    return ramp(c, W, low) if c < W else a + (1 - a) * math.sqrt(W / c)


def olmo_tail(c, N, k, level):
    D, floor = part(k, "decay", N), k["decay_min_lr"] / k["base_lr"]
    return floor + (level - floor) * min(N - c, D) / D


def olmo_wsd(c, N, W, low, k):
    if c <= W:
        return ramp(c, W, low) if W else 1.0
    return olmo_tail(c, N, k, 1.0) if c >= N - part(k, "decay", N) else 1.0


def olmo_power(c, N, W, low, k):
    if c <= W:
        return ramp(c, W, low)
    D = part(k, "decay", N)
    return olmo_tail(c, N, k, ((N - D) / W) ** -0.51) if c >= N - D else (c / W) ** -0.51


def olmo_cos_linear(c, N, W, low, k):
    D = part(k, "decay", N)
    return olmo_tail(c, N, k, olmo_cos(N - D, N, W, low, k)) if c >= N - D else olmo_cos(c, N, W, low, k)


def olmo_wsds(t, T, *, period_lengths, base_lr, decay_min_lr, period_lr_multipliers=None, **k):
    c, floor = t + 1, decay_min_lr / base_lr
    peaks = period_lr_multipliers or [1.0] * len(period_lengths)
    W = part(k, "warmup", period_lengths[0])
    if c < W:
        return peaks[0] * c / W
    if c >= sum(period_lengths):
        return floor
    number, at, lengths = 0, c - W, [period_lengths[0] - W, *period_lengths[1:]]
    while at > lengths[number]:
        at, number = at - lengths[number], number + 1
    D = part(k, "decay", period_lengths[number])
    return floor + (peaks[number] - floor) * min(lengths[number] - at, D) / D


ORACLES = {
    **{f"composer:{name}": function for name, function in COMPOSER.items()},
    "megatron:OptimizerParamScheduler": megatron,
    "megatron:WeightDecay": megatron_weight_decay,
    "deepspeed:LRRangeTest": deepspeed_range,
    "deepspeed:OneCycle": lambda t, T, *, cycle_min_lr, cycle_max_lr, decay_lr_rate, **k: deepspeed_cycle(
        t, T, low=cycle_min_lr, high=cycle_max_lr, rate=decay_lr_rate, name="lr", **k
    ),
    "deepspeed:OneCycleMomentum": lambda t, T, *, cycle_min_mom, cycle_max_mom, decay_mom_rate, **k: (
        deepspeed_cycle(
            t, T, low=cycle_min_mom, high=cycle_max_mom, rate=decay_mom_rate, name="momentum", **k
        )
    ),
    "deepspeed:WarmupCosineLR": deepspeed_cosine,
    "deepspeed:WarmupDecayLR": deepspeed_warmup,
    "deepspeed:WarmupLR": deepspeed_warmup,
    "torchtitan:linear_warmup_stable_decay": torchtitan,
    "olmo:ConstantScheduler": lambda t, T: 1.0,
    "olmo:ConstantWithWarmup": olmo(lambda c, N, W, low, k: ramp(c, W, low) if c <= W else 1.0),
    "olmo:CosWithWarmup": olmo(olmo_cos),
    "olmo:CosWithWarmupAndLinearDecay": olmo(olmo_cos_linear),
    "olmo:ExponentialScheduler": lambda t, T, *, t_max, lr_min: (
        lr_min * (1 / lr_min) ** min(1.0, (t + 1) / t_max)
    ),
    "olmo:HalfCosWithWarmup": olmo(olmo_half_cos),
    "olmo:InvSqrtWithWarmup": olmo(olmo_inv_sqrt),
    "olmo:LinearWithWarmup": olmo(olmo_linear),
    "olmo:PowerLR": olmo(olmo_power),
    "olmo:WSD": olmo(olmo_wsd),
    "olmo:WSDS": olmo_wsds,
}
