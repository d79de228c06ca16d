"""What Hypothesis may draw for torch's own classes: (parameters, T), as `convert.peer_draws`."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from convert.peer_draws import RATES, SHARES, STEPS, Drawn

__all__ = ["TORCH_DRAWS"]

Parameters = dict[str, SearchStrategy[Any]]

_GAMMAS = st.sampled_from([0.1, 0.5, 0.9, 1.0]) | st.floats(0.05, 1.0)
_PERIODS = st.integers(1, 80)


def _waves(step: int) -> float:
    return 1.0 + 0.5 * math.sin(step)


@st.composite
def _for(draw: DrawFn, more: Parameters, length: str | None = None) -> Drawn:
    T = draw(STEPS)
    parameters = {name: draw(strategy) for name, strategy in more.items()}
    if length is not None:
        parameters[length] = T
        T += draw(st.just(0) | st.integers(0, 60)) if length != "T_max" else 0  # a wave ends with the run
    return parameters, T


@st.composite
def _floored(draw: DrawFn, name: str, more: Parameters, length: str | None = None) -> Drawn:
    parameters, T = draw(_for(more, length))
    base = draw(RATES)
    return parameters | {"base_lr": base, name: base * draw(SHARES)}, T


@st.composite
def _cyclic(draw: DrawFn) -> Drawn:
    base = draw(RATES)
    mode = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))
    down = draw(st.none() | _PERIODS)
    parameters = {"base_lr": base, "max_lr": base * draw(st.floats(1.0, 20.0)), "mode": mode}
    gamma = draw(_GAMMAS) if mode == "exp_range" else 1.0
    return parameters | {"step_size_up": draw(_PERIODS), "step_size_down": down, "gamma": gamma}, draw(STEPS)


@st.composite
def _one_cycle(draw: DrawFn) -> Drawn:
    three = draw(st.booleans())
    T = draw(st.integers(2, 300))
    pct_start = draw(st.floats(0.0, 0.5 if three else 0.99))
    assume(pct_start * T != 1.0)  # the first phase would end where it starts, and torch divides by 0
    parameters = {
        "max_lr": draw(RATES),
        "total_steps": T,
        "pct_start": pct_start,
        "anneal_strategy": draw(st.sampled_from(["cos", "linear"])),
        "div_factor": draw(st.floats(1.0, 50.0)),
        "final_div_factor": draw(st.floats(1.0, 1e5)),
        "three_phase": three,
        "base_lr": draw(RATES),
    }
    return parameters, T


_MEMBERS: dict[str, SearchStrategy[dict[str, Any]]] = {
    "ConstantLR": st.fixed_dictionaries({"factor": st.floats(0.1, 1.0), "total_iters": st.integers(1, 40)}),
    "ExponentialLR": st.fixed_dictionaries({"gamma": _GAMMAS}),
    "LinearLR": st.fixed_dictionaries(
        {
            "start_factor": st.floats(0.01, 1.0),
            "end_factor": st.floats(0.1, 1.0),
            "total_iters": st.integers(1, 40),
        }
    ),
    "StepLR": st.fixed_dictionaries({"step_size": st.integers(1, 40), "gamma": _GAMMAS}),
}


@st.composite
def _member(draw: DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(_MEMBERS)))
    return name, draw(_MEMBERS[name])


@st.composite
def _sequence(draw: DrawFn) -> Drawn:
    members = draw(st.lists(_member(), min_size=2, max_size=4))
    marks = sorted(draw(st.sets(st.integers(1, 150), min_size=len(members) - 1, max_size=len(members) - 1)))
    return {"schedulers": members, "milestones": marks}, draw(st.integers(marks[-1] + 50, 300))


_chain = st.tuples(
    st.lists(_member(), min_size=1, max_size=3).map(lambda members: {"schedulers": members}),
    st.integers(50, 300),
)

_TORCH: dict[str, SearchStrategy[Drawn]] = {
    "ChainedScheduler": _chain,
    "ConstantLR": _for({"factor": st.floats(0.01, 1.0)}, "total_iters"),
    "CosineAnnealingLR": _floored("eta_min", {}, "T_max"),
    "CosineAnnealingWarmRestarts": _floored("eta_min", {"T_0": _PERIODS, "T_mult": st.integers(1, 3)}),
    "CyclicLR": _cyclic(),
    "ExponentialLR": _for({"gamma": _GAMMAS}),
    "LambdaLR": _for({"lr_lambda": st.just(_waves)}),
    "LinearLR": _for(
        {"start_factor": st.floats(0.01, 1.0), "end_factor": st.floats(0.0, 1.0)}, "total_iters"
    ),
    "MultiStepLR": _for({"milestones": st.lists(st.integers(0, 60), max_size=5), "gamma": _GAMMAS}),
    "MultiplicativeLR": _for({"lr_lambda": st.just(lambda step: 0.98)}),
    "OneCycleLR": _one_cycle(),
    "PolynomialLR": _for({"power": st.floats(0.1, 4.0)}, "total_iters"),
    "SWALR": _floored("swa_lr", {"anneal_strategy": st.sampled_from(["cos", "linear"])}, "anneal_epochs"),
    "SequentialLR": _sequence(),
    "StepLR": _for({"step_size": _PERIODS, "gamma": _GAMMAS}),
}

TORCH_DRAWS: dict[str, SearchStrategy[Drawn]] = {f"torch:{name}": drawn for name, drawn in _TORCH.items()}
