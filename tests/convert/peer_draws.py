"""What Hypothesis may draw for each schedule of each peer: its parameters, and the number T of steps of the run.

`DRAWS["peer:name"]` gives pairs (parameters, T): `convert.schedule("peer:name", **parameters).over(T)` is a schedule,
and the peer itself takes the same parameters (`base_lr` is the lr of its optimizer's group, 1 where there is none).
The light suite compares with formulas written out, the peers' own room with the peers.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["DRAWS", "Drawn"]

Drawn = tuple[dict[str, Any], int]

STEPS = st.integers(1, 300)
SHARES = st.sampled_from([0.0, 0.1, 0.25, 1.0]) | st.floats(1e-6, 1.0)
POWERS = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.1, 4.0)
RATES = st.sampled_from([1e-3, 0.1, 1.0]) | st.floats(1e-5, 10.0)
CYCLES = st.sampled_from([0.5, 1.0, 1.5, 2.0]) | st.floats(0.1, 4.0)


@st.composite
def _warmed(draw: DrawFn, more: dict[str, SearchStrategy[Any]], *, overlong: bool = True) -> Drawn:
    """A warmup and a horizon, the warmup seldom longer than it."""
    T = draw(STEPS)
    W = draw(st.integers(0, T - 1) | (st.integers(0, T + 5) if overlong else st.just(0)))
    rest = {name: draw(strategy) for name, strategy in more.items()}
    return {"num_warmup_steps": W, "num_training_steps": T, **rest}, T


@st.composite
def _endless(draw: DrawFn, more: dict[str, SearchStrategy[Any]]) -> Drawn:
    """A warmup, and a run that is longer."""
    T = draw(STEPS)
    rest = {name: draw(strategy) for name, strategy in more.items()}
    return {"num_warmup_steps": draw(st.integers(0, T - 1)), **rest}, T


@st.composite
def _with_base(draw: DrawFn, inner: SearchStrategy[Drawn], name: str, share: SearchStrategy[float]) -> Drawn:
    """A base lr, and a rate that is a share of it."""
    parameters, T = draw(inner)
    base = draw(RATES)
    return {**parameters, "base_lr": base, name: base * draw(share)}, T


@st.composite
def _wsd(draw: DrawFn) -> Drawn:
    T = draw(STEPS)
    W, D = draw(st.integers(0, T)), draw(st.integers(0, T))
    kinds = st.sampled_from(["linear", "cosine", "1-sqrt"])
    drawn: dict[str, Any] = {"num_warmup_steps": W, "num_decay_steps": D, "num_training_steps": T}
    if draw(st.booleans()) and W + D < T:
        drawn["num_stable_steps"] = T - W - D
        del drawn["num_training_steps"]
    if draw(st.booleans()):
        drawn |= {"warmup_type": draw(kinds), "decay_type": draw(kinds), "num_cycles": draw(CYCLES)}
    return drawn | {"min_lr_ratio": draw(SHARES)}, T


@st.composite
def _floored(draw: DrawFn, *, warmup_rate: bool = False) -> Drawn:
    more = {"num_cycles": CYCLES} | ({"warmup_lr_rate": st.none() | SHARES} if warmup_rate else {})
    parameters, T = draw(_warmed(more))
    if draw(st.booleans()):
        return parameters | {"min_lr_rate": draw(SHARES)}, T
    base = draw(RATES)
    return parameters | {"base_lr": base, "min_lr": base * draw(SHARES)}, T


def _polynomial() -> SearchStrategy[Drawn]:
    usual = _warmed({"power": st.just(0) | POWERS}).filter(lambda d: d[0]["num_warmup_steps"] != d[1])
    return _with_base(usual, "lr_end", st.floats(0.0, 0.9)) | usual


@st.composite
def _rules(draw: DrawFn) -> Drawn:
    marks = sorted(draw(st.sets(st.integers(1, 200), max_size=4)))
    levels = [draw(SHARES) for _ in range(len(marks) + 1)]
    rules = [f"{level}:{mark}" for level, mark in zip(levels, marks, strict=False)] + [str(levels[-1])]
    return {"step_rules": ",".join(rules)}, draw(st.integers(max([1, *marks]), 300))


_TRANSFORMERS: dict[str, SearchStrategy[Drawn]] = {
    "adafactor": st.tuples(
        st.fixed_dictionaries({"warmup_init": st.booleans(), "base_lr": RATES}), st.integers(10_000, 11_000)
    ),
    "constant": _endless({}),
    "constant_with_warmup": _endless({}),
    "cosine": _warmed({"num_cycles": CYCLES}),
    "cosine_warmup_with_min_lr": _floored(warmup_rate=True),
    "cosine_with_min_lr": _floored(),
    "cosine_with_restarts": _warmed({"num_cycles": st.integers(0, 7)}),
    "inverse_sqrt": _endless({"timescale": st.none() | st.integers(1, 20_000)}),
    "linear": _warmed({}),
    "polynomial": _polynomial(),
    "warmup_stable_decay": _wsd(),
}

_DIFFUSERS: dict[str, SearchStrategy[Drawn]] = {
    **{
        name: _TRANSFORMERS[name]
        for name in ("constant", "constant_with_warmup", "cosine", "cosine_with_restarts")
    },
    "linear": _warmed({}) | _warmed({"f_min": SHARES, "f_max": SHARES}),
    "piecewise_constant": _rules(),
    "polynomial": _polynomial(),
}


@st.composite
def _timm(
    draw: DrawFn, more: dict[str, SearchStrategy[Any]], *, cycles: bool = False, prefix: bool = True
) -> Drawn:
    """Warmups, floors and cycles of timm's kind; the run is at least as long as the cycles that are equal."""
    base = draw(RATES)
    drawn: dict[str, Any] = {"base_lr": base, **{name: draw(strategy) for name, strategy in more.items()}}
    own = 1
    if cycles:
        n, growth = draw(st.integers(1, 60)), draw(st.sampled_from([1.0, 1.0, 1.2, 2.0, 3.0]))
        count = draw(st.integers(1, 3))
        drawn |= {"t_initial": n, "cycle_mul": growth, "cycle_limit": count, "lr_min": base * draw(SHARES)}
        drawn |= {"cycle_decay": draw(st.sampled_from([1.0, 0.5, 0.9]))}
        own = n * count
    if draw(st.booleans()):
        drawn |= {"warmup_t": draw(st.integers(1, 40)), "warmup_lr_init": base * draw(SHARES)}
        if prefix:
            drawn["warmup_prefix"] = draw(st.booleans())
    T = draw(st.integers(own, own + 150)) + drawn.get("warmup_t", 0)
    return drawn, T


@st.composite
def _timm_wsd(draw: DrawFn) -> Drawn:
    parameters, _ = draw(_timm({}, prefix=False))
    n = draw(st.integers(1, 150))
    kind = draw(st.sampled_from(["constant", "rsqrt", "power"]))
    parameters |= {
        "t_initial": n,
        "decay_t": draw(st.integers(1, n)),
        "lr_min": parameters["base_lr"] * draw(SHARES),
        "stable_fn": kind,
        "decay_fn": draw(st.sampled_from(["linear", "1-sqrt", "cosine", "power", "exp"])),
        "decay_power": draw(POWERS),
        "decay_ratio": draw(st.floats(0.01, 0.9)),
        "stable_power": draw(POWERS),
    }
    if kind != "constant" and (draw(st.booleans()) or not parameters.get("warmup_t")):
        parameters["stable_timescale"] = draw(st.integers(1, 50))
    return parameters, n + parameters.get("warmup_t", 0) + draw(st.integers(0, 20))


_TIMM: dict[str, SearchStrategy[Drawn]] = {
    "CosineLRScheduler": _timm({"k_decay": st.sampled_from([1.0, 0.5, 2.0])}, cycles=True),
    "MultiStepLRScheduler": _timm(
        {"decay_t": st.lists(st.integers(1, 100), min_size=1, max_size=4).map(sorted), "decay_rate": SHARES}
    ),
    "PolyLRScheduler": _timm({"power": POWERS, "k_decay": st.sampled_from([1.0, 0.5, 2.0])}, cycles=True),
    "StepLRScheduler": _timm(
        {
            "decay_t": st.integers(1, 50) | st.sampled_from([2.4, 0.7]),
            "decay_rate": st.sampled_from([0.0, 0.1, 0.97, 1.0]),
        }
    ),
    "TanhLRScheduler": _timm({"lb": st.floats(-8.0, -1.0), "ub": st.floats(0.0, 4.0)}, cycles=True),
    "WSDLRScheduler": _timm_wsd(),
}


@st.composite
def _d2l_cosine(draw: DrawFn) -> Drawn:
    T = draw(STEPS)
    base = draw(RATES)
    return {
        "max_update": T,
        "base_lr": base,
        "final_lr": base * draw(SHARES),
        "warmup_steps": draw(st.integers(0, T - 1)),
        "warmup_begin_lr": base * draw(SHARES),
    }, T + draw(st.integers(0, 20))


def _run(least: int = 1) -> SearchStrategy[int]:
    return st.integers(least, 300)


_D2L: dict[str, SearchStrategy[Drawn]] = {
    "CosineScheduler": _d2l_cosine(),
    "FactorScheduler": st.tuples(
        st.fixed_dictionaries(
            {"factor": st.floats(0.5, 1.0), "stop_factor_lr": st.floats(0.0, 0.1), "base_lr": st.just(0.1)}
        ),
        _run(),
    ),
    "MultiFactorScheduler": st.tuples(
        st.fixed_dictionaries({"milestones": st.lists(st.integers(0, 100), max_size=4), "gamma": SHARES}),
        _run(100),
    ),
    "SquareRootScheduler": st.tuples(st.just({}), _run()),
}


@st.composite
def _kohya(
    draw: DrawFn, more: dict[str, SearchStrategy[Any]], *, overlong: bool = True, warm: bool = True
) -> Drawn:
    """Lengths by every rule: steps, a float share, percent; on one process or several."""
    T, N = draw(STEPS), draw(st.sampled_from([1, 1, 2, 3]))
    drawn: dict[str, Any] = {"max_train_steps": T, "num_processes": N}
    lengths = st.integers(0, T * N - 1) | st.sampled_from([0.0, 0.05, 0.5, "5%", "10%", "0.2"])
    if warm:
        drawn["lr_warmup_steps"] = draw(lengths | st.integers(T * N + 1, T * N + 9) if overlong else lengths)
    drawn |= {
        name: draw(lengths if name == "lr_decay_steps" else strategy) for name, strategy in more.items()
    }
    return drawn, T


_CYCLES = st.integers(1, 5)
_KOHYA: dict[str, SearchStrategy[Drawn]] = {
    "adafactor": st.tuples(st.fixed_dictionaries({"warmup_init": st.just(False)}), _run()),
    "constant": _kohya({}, warm=False),
    "constant_with_warmup": _kohya({}),
    "cosine": _kohya({"lr_scheduler_num_cycles": _CYCLES}),
    "cosine_with_min_lr": _kohya({"lr_scheduler_num_cycles": _CYCLES, "lr_scheduler_min_lr_ratio": SHARES}),
    "cosine_with_restarts": _kohya({"lr_scheduler_num_cycles": st.integers(0, 5)}),
    "inverse_sqrt": _kohya({"lr_scheduler_timescale": st.none() | st.integers(1, 20_000)}),
    "linear": _kohya({}),
    "piecewise_constant": _kohya(
        {"lr_scheduler_args": st.sampled_from([["step_rules='1:1,0.5'"], ["step_rules='0.1'"]])}, warm=False
    ),
    "polynomial": _kohya(
        {"lr_scheduler_power": st.just(0) | POWERS, "learning_rate": st.floats(1e-6, 1.0)}, overlong=False
    ),
    "warmup_stable_decay": _kohya(
        {
            "lr_scheduler_num_cycles": _CYCLES,
            "lr_scheduler_min_lr_ratio": st.none() | SHARES,
            "lr_decay_steps": st.none(),
        }
    ),
}


@st.composite
def _composer(
    draw: DrawFn, more: dict[str, SearchStrategy[Any]], *, warm: bool = False, drop: bool = False
) -> Drawn:
    """Times in batches, epochs and shares of the run, and schedules that are stretched or shrunk."""
    epochs, per_epoch = draw(st.integers(1, 20)), draw(st.integers(4, 30))
    ratio = draw(st.sampled_from([1.0, 1.0, 0.5, 1.5]))
    batches = max(1, int(epochs * ratio)) * per_epoch
    if int(epochs * ratio) < 1:
        ratio = 1.0
    drawn: dict[str, Any] = {
        "max_duration": f"{epochs}ep",
        "dataloader_len": per_epoch,
        "scale_schedule_ratio": ratio,
    }
    drawn |= {name: draw(strategy) for name, strategy in more.items()}
    if warm:
        W = draw(st.integers(0, max(0, batches // 4)))
        drawn["t_warmup"] = draw(st.sampled_from([f"{W}ba", "0.1dur", "0.29dur"]))
        drawn["scale_warmup"] = draw(st.booleans()) and not (0 < W * ratio < 1)
    if drop:
        marks = draw(st.lists(st.integers(1, max(1, int(batches / max(1.0, ratio)))), min_size=1, max_size=3))
        drawn["milestones"] = [f"{mark}ba" for mark in marks]
    return drawn, batches


_T_MAX = st.sampled_from(["1dur", "0.5dur", "2ep", "9ba"])
_COMPOSER: dict[str, SearchStrategy[Drawn]] = {
    "ConstantScheduler": _composer({"alpha": SHARES, "t_max": _T_MAX}),
    "ConstantWithWarmupScheduler": _composer({"alpha": SHARES}, warm=True),
    "CosineAnnealingScheduler": _composer({"t_max": _T_MAX, "alpha_f": SHARES}),
    "CosineAnnealingWarmRestartsScheduler": _composer(
        {
            "t_0": st.sampled_from(["7ba", "1ep", "0.5dur"]),
            "t_mult": st.sampled_from([1.0, 1.5, 2.0]),
            "alpha_f": SHARES,
        }
    ),
    "CosineAnnealingWithWarmupScheduler": _composer({"alpha_f": SHARES}, warm=True),
    "ExponentialScheduler": _composer(
        {"gamma": st.floats(0.1, 1.0), "decay_period": st.sampled_from(["1ep", "5ba"])}
    ),
    "LinearScheduler": _composer({"alpha_i": SHARES, "alpha_f": SHARES, "t_max": _T_MAX}),
    "LinearWithWarmupScheduler": _composer({"alpha_i": SHARES, "alpha_f": SHARES}, warm=True),
    "MultiStepScheduler": _composer({"gamma": SHARES}, drop=True),
    "MultiStepWithWarmupScheduler": _composer({"gamma": SHARES}, warm=True, drop=True),
    "PolynomialScheduler": _composer({"power": POWERS, "t_max": _T_MAX, "alpha_f": SHARES}),
    "PolynomialWithWarmupScheduler": _composer({"power": POWERS, "alpha_f": SHARES}, warm=True),
    "StepScheduler": _composer({"step_size": st.sampled_from(["5ba", "1ep", "0.3dur"]), "gamma": SHARES}),
}


@st.composite
def _megatron(draw: DrawFn) -> Drawn:
    """Samples, in multiples of the batch or not."""
    T, each = draw(st.integers(2, 300)), draw(st.sampled_from([1, 1, 2, 7]))
    W = draw(st.integers(0, T - 1))
    style = draw(st.sampled_from(["constant", "linear", "cosine", "inverse-square-root", "WSD"]))
    scale = draw(st.sampled_from([1, each]))
    high = draw(RATES)
    drawn: dict[str, Any] = {
        "max_lr": high,
        "min_lr": high * draw(SHARES),
        "init_lr": high * draw(SHARES),
        "lr_warmup_steps": W * scale,
        "lr_decay_steps": T * scale,
        "lr_decay_style": style,
        "increment": each,
        "base_lr": draw(RATES),
    }
    if style == "WSD":
        drawn["wsd_decay_steps"] = draw(st.integers(1, T + 5)) * scale
        drawn["lr_wsd_decay_style"] = draw(st.sampled_from(["linear", "cosine", "exponential", "minus_sqrt"]))
    return drawn, max(T * scale // each, W * scale // each + 1)


@st.composite
def _megatron_wd(draw: DrawFn) -> Drawn:
    n, each, start = draw(STEPS), draw(st.sampled_from([1, 1, 4])), draw(SHARES)
    style = draw(st.sampled_from(["constant", "linear", "cosine"]))
    end = start if style == "constant" else start + draw(SHARES)
    names = {"start_wd": start, "end_wd": end, "wd_incr_steps": n, "wd_incr_style": style, "increment": each}
    return names, n // each + draw(st.integers(1, 20))


_MEGATRON: dict[str, SearchStrategy[Drawn]] = {
    "OptimizerParamScheduler": _megatron(),
    "WeightDecay": _megatron_wd(),
}


@st.composite
def _deepspeed_cycle(draw: DrawFn, low: str, high: str, decay: str, *, based: bool) -> Drawn:
    up, down = draw(st.integers(1, 80)), draw(st.none() | st.integers(1, 80))
    levels = sorted((draw(SHARES), draw(SHARES)))
    drawn: dict[str, Any] = {
        "cycle_first_step_size": up,
        "cycle_second_step_size": down,
        low: levels[0],
        high: levels[1],
        decay: draw(st.sampled_from([0.0, 0.1])),
        "decay_step_size": draw(st.sampled_from([0, 1, 5])),
        "cycle_first_stair_count": draw(st.sampled_from([0, 0, 3, 10])),
        "cycle_second_stair_count": draw(st.sampled_from([None, 0, 4])),
    }
    if based:
        drawn["base_lr"] = draw(RATES)
    return drawn, up + (down or up) + draw(st.integers(1, 60))


@st.composite
def _deepspeed_warmup(draw: DrawFn, *, total: bool, ratios: bool = False) -> Drawn:
    T = draw(st.integers(2, 300))
    W = draw(st.integers(1, T + 3 if total else max(1, T - 2)))
    drawn: dict[str, Any] = {"warmup_num_steps": W, "warmup_type": draw(st.sampled_from(["log", "linear"]))}
    if total:
        drawn["total_num_steps"] = T
    if ratios:
        return drawn | {"warmup_min_ratio": draw(SHARES), "cos_min_ratio": draw(SHARES)}, T
    levels = sorted((draw(SHARES), draw(SHARES)))
    drawn |= {"warmup_min_lr": levels[0], "warmup_max_lr": levels[1], "base_lr": draw(RATES)}
    return drawn, T if total else max(T, W + 3)


_DEEPSPEED: dict[str, SearchStrategy[Drawn]] = {
    "LRRangeTest": st.tuples(
        st.fixed_dictionaries(
            {
                "lr_range_test_min_lr": RATES,
                "lr_range_test_step_size": st.integers(1, 50),
                "lr_range_test_step_rate": SHARES,
                "lr_range_test_staircase": st.booleans(),
                "base_lr": RATES,
            }
        ),
        _run(),
    ),
    "OneCycle": _deepspeed_cycle("cycle_min_lr", "cycle_max_lr", "decay_lr_rate", based=True),
    "OneCycleMomentum": _deepspeed_cycle("cycle_min_mom", "cycle_max_mom", "decay_mom_rate", based=False),
    "WarmupCosineLR": _deepspeed_warmup(total=True, ratios=True),
    "WarmupDecayLR": _deepspeed_warmup(total=True),
    "WarmupLR": _deepspeed_warmup(total=False),
}

_ENDS = {"start": st.floats(0.1, 1.0), "end": st.floats(0.01, 1.0), "base_lr": RATES}


@st.composite
def _sgdr(draw: DrawFn) -> Drawn:
    count, first, growth = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(2, 3))
    epochs = first * (growth**count - 1) // (growth - 1)
    return {"n_cycles": count, "cycle_len": first, "cycle_mult": growth}, epochs * draw(st.integers(1, 12))


@st.composite
def _fine_tune(draw: DrawFn) -> Drawn:
    epochs, frozen = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    drawn = {
        "epochs": epochs,
        "freeze_epochs": frozen,
        "base_lr": draw(RATES),
        "pct_start": draw(st.floats(0.1, 0.9)),
    }
    return drawn | {"div": draw(st.floats(1.0, 50.0))}, (epochs + frozen) * draw(st.integers(2, 40))


_FASTAI: dict[str, SearchStrategy[Drawn]] = {
    **{
        name: st.tuples(st.fixed_dictionaries(_ENDS), _run())
        for name in ("SchedCos", "SchedExp", "SchedLin", "SchedNo")
    },
    "SchedPoly": st.tuples(st.fixed_dictionaries({**_ENDS, "power": POWERS}), _run()),
    "combined_cos": st.tuples(
        st.fixed_dictionaries(
            {
                "pct": st.floats(0.1, 0.9),
                "start": SHARES,
                "middle": st.floats(0.1, 2.0),
                "end": SHARES,
                "base_lr": RATES,
            }
        ),
        _run(2),
    ),
    "fine_tune": _fine_tune(),
    "fit_flat_cos": st.tuples(
        st.fixed_dictionaries({"pct_start": st.floats(0.1, 0.9), "div_final": st.floats(1.0, 1e5)}), _run(2)
    ),
    "fit_one_cycle": st.tuples(
        st.fixed_dictionaries(
            {"pct_start": st.floats(0.1, 0.9), "div": st.floats(1.0, 50.0), "div_final": st.floats(1.0, 1e5)}
        ),
        _run(2),
    ),
    "fit_one_cycle_momentum": st.tuples(
        st.fixed_dictionaries(
            {"pct_start": st.floats(0.1, 0.9), "moms": st.lists(st.floats(0.5, 1.0), min_size=3, max_size=3)}
        ),
        _run(2),
    ),
    "fit_sgdr": _sgdr(),
}

_TWO = {"start_value": SHARES, "end_value": SHARES, "base_lr": RATES}


@st.composite
def _fvcore_multi(draw: DrawFn) -> Drawn:
    whole = draw(st.integers(5, 300))
    marks = sorted(draw(st.sets(st.integers(1, whole - 1), max_size=3)))
    drawn: dict[str, Any] = {"values": [draw(SHARES) for _ in range(len(marks) + 1)], "num_updates": whole}
    drawn["milestones"] = marks
    if draw(st.booleans()):
        drawn |= {"num_updates": None, "milestones": [*marks, whole]}
    T = draw(STEPS | st.just(whole))
    return drawn | {"steps": T}, T


@st.composite
def _fvcore_composite(draw: DrawFn) -> Drawn:
    count = draw(st.integers(1, 3))
    parts = [
        ("ConstantParamScheduler", {"value": 0.5}),
        ("CosineParamScheduler", {"start_value": 1.0, "end_value": 0.1}),
        ("LinearParamScheduler", {"start_value": 0.2, "end_value": 1.0}),
        ("ExponentialParamScheduler", {"start_value": 1.0, "decay": 0.1}),
        ("PolynomialDecayParamScheduler", {"base_value": 1.0, "power": 0.9}),
    ]
    weights = [draw(st.integers(1, 5)) for _ in range(count)]
    modes = ["rescaled"] if count == 1 else ["rescaled", "fixed"]
    T = draw(STEPS)
    return {
        "schedulers": [draw(st.sampled_from(parts)) for _ in range(count)],
        "lengths": [weight / sum(weights) for weight in weights],
        "interval_scaling": [draw(st.sampled_from(modes)) for _ in range(count)],
        "steps": T,
    }, T


_FVCORE: dict[str, SearchStrategy[Drawn]] = {
    "CompositeParamScheduler": _fvcore_composite(),
    "ConstantParamScheduler": st.tuples(st.fixed_dictionaries({"value": SHARES}), _run()),
    "CosineParamScheduler": st.tuples(st.fixed_dictionaries(_TWO), _run()),
    "ExponentialParamScheduler": st.tuples(
        st.fixed_dictionaries({"start_value": st.floats(0.1, 1.0), "decay": st.floats(1e-3, 1.0)}), _run()
    ),
    "LinearParamScheduler": st.tuples(st.fixed_dictionaries(_TWO), _run()),
    "MultiStepParamScheduler": _fvcore_multi(),
    "PolynomialDecayParamScheduler": st.tuples(
        st.fixed_dictionaries({"base_value": SHARES, "power": POWERS}), _run()
    ),
    "StepParamScheduler": _run(5).flatmap(
        lambda T: st.tuples(
            st.fixed_dictionaries(
                {"num_updates": st.just(T), "values": st.lists(SHARES, min_size=1, max_size=5)}
            ),
            st.just(T),
        )
    ),
    "StepWithFixedGammaParamScheduler": _run(5).flatmap(
        lambda T: st.tuples(
            st.fixed_dictionaries(
                {
                    "num_updates": st.just(T),
                    "base_value": st.floats(0.1, 1.0),
                    "num_decays": st.integers(1, 4),
                    "gamma": st.floats(0.1, 1.0),
                }
            ),
            st.just(T),
        )
    ),
}


@st.composite
def _torchtitan(draw: DrawFn) -> Drawn:
    T = draw(STEPS)
    return {
        "total_steps": T,
        "warmup_steps": draw(st.integers(0, T)),
        "decay_ratio": draw(st.none() | SHARES),
        "decay_type": draw(st.sampled_from(["linear", "sqrt", "cosine"])),
        "min_lr_factor": draw(SHARES),
    }, T


@st.composite
def _olmo(draw: DrawFn, *, alpha: bool = False, decay: bool = False, floor: float = 0.0) -> Drawn:
    T = draw(st.integers(4, 300))
    base = draw(RATES)
    drawn: dict[str, Any] = {"t_max": T, "base_lr": base, "warmup_min_lr": base * draw(st.floats(0.0, 0.4))}
    least = 1 if floor else 0
    if draw(st.booleans()):
        drawn["warmup"] = draw(st.integers(least, max(1, T // 2)))
    else:
        drawn["warmup_fraction"] = draw(st.floats(0.3 if least else 0.0, 0.45))
    if alpha:
        drawn["alpha_f"] = draw(st.floats(0.0, 1.0))
    if decay:
        drawn["decay_min_lr"] = base * draw(st.floats(0.0, 0.3) | st.just(0.0)) * (floor or 1.0)
        if draw(st.booleans()):
            drawn |= {"decay": draw(st.integers(1, max(1, T // 3))), "decay_fraction": None}
        else:
            drawn["decay_fraction"] = draw(st.floats(0.25, 0.4))
    return drawn, T


@st.composite
def _wsds(draw: DrawFn) -> Drawn:
    lengths = draw(st.lists(st.integers(20, 60), min_size=1, max_size=4))
    base = draw(RATES)
    drawn: dict[str, Any] = {
        "period_lengths": lengths,
        "base_lr": base,
        "decay_min_lr": base * draw(SHARES) * 0.09,
    }
    few = st.integers(0, 9)  # the shortest period holds a warmup and a decay
    drawn |= {"warmup": draw(few)} if draw(st.booleans()) else {"warmup_fraction": draw(st.floats(0.0, 0.45))}
    drawn |= (
        {"decay": draw(few) + 1} if draw(st.booleans()) else {"decay_fraction": draw(st.floats(0.05, 0.45))}
    )
    if draw(st.booleans()):
        drawn["period_lr_multipliers"] = [draw(st.floats(0.1, 1.0)) for _ in lengths]
    return drawn, sum(lengths)


_OLMO: dict[str, SearchStrategy[Drawn]] = {
    "ConstantScheduler": st.tuples(st.just({}), _run()),
    "ConstantWithWarmup": _olmo(),
    "CosWithWarmup": _olmo(alpha=True),
    "CosWithWarmupAndLinearDecay": _olmo(alpha=True, decay=True, floor=1e-3),
    "ExponentialScheduler": STEPS.flatmap(
        lambda T: st.tuples(
            st.fixed_dictionaries({"t_max": st.just(T), "lr_min": st.floats(1e-6, 1.0)}), st.just(T)
        )
    ),
    "HalfCosWithWarmup": _olmo(alpha=True),
    "InvSqrtWithWarmup": _olmo(alpha=True),
    "LinearWithWarmup": _olmo(alpha=True),
    "PowerLR": _olmo(decay=True, floor=0.1),
    "WSD": _olmo(decay=True),
    "WSDS": _wsds(),
}

_TABLES: dict[str, dict[str, SearchStrategy[Drawn]]] = {
    "composer": _COMPOSER,
    "d2l": _D2L,
    "deepspeed": _DEEPSPEED,
    "diffusers": _DIFFUSERS,
    "fastai": _FASTAI,
    "fvcore": _FVCORE,
    "kohya": _KOHYA,
    "megatron": _MEGATRON,
    "olmo": _OLMO,
    "timm": _TIMM,
    "torchtitan": {"linear_warmup_stable_decay": _torchtitan()},
    "transformers": _TRANSFORMERS,
}

DRAWS: dict[str, SearchStrategy[Drawn]] = {
    f"{peer}:{name}": drawn for peer, table in _TABLES.items() for name, drawn in table.items()
}
