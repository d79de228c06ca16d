"""What Hypothesis may draw for the peers that speak in rates of their own: optax, Keras, scikit-learn.

`RATE_DRAWS["peer:name"]` gives pairs (parameters, T), as `DRAWS` in `peer_draws` does. None of these peers knows a
horizon: T is at least as long as what the parameters describe.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from convert.peer_draws import CYCLES, POWERS, RATES, SHARES, STEPS, Drawn

__all__ = ["RATE_DRAWS"]

LEVELS = st.sampled_from([0.0, 1e-4, 0.1, 1.0]) | st.floats(1e-9, 10.0)
DECAYS = st.sampled_from([0.5, 0.96, 1.0]) | st.floats(0.05, 1.2)
Parameters = dict[str, SearchStrategy[Any]]


@st.composite
def _for(draw: DrawFn, length: str | None, more: Parameters, *, after: tuple[str, ...] = ()) -> Drawn:
    """The parameter named `length` is a number of steps, `after` names others that come on top of it."""
    own = draw(STEPS)
    parameters: dict[str, Any] = {name: draw(strategy) for name, strategy in more.items()}
    for name in after:
        parameters[name] = draw(st.integers(0, 60))
    if length is not None:
        parameters[length] = own
    own += sum(parameters[name] for name in after)
    return parameters | {"base_lr": draw(RATES)}, draw(st.just(own) | st.integers(own, own + 60))


@st.composite
def _warmed_cosine(draw: DrawFn) -> dict[str, Any]:
    steps, peak = draw(st.integers(1, 120)), draw(RATES)
    rates = {"init_value": draw(LEVELS), "peak_value": peak, "end_value": peak * draw(SHARES)}
    return rates | {
        "warmup_steps": draw(st.integers(0, steps - 1)),
        "decay_steps": steps,
        "exponent": draw(st.just(1.0) | POWERS),
    }


@st.composite
def _scales(draw: DrawFn) -> Drawn:
    marks = draw(st.sets(st.integers(0, 200), max_size=4))
    scales = {mark: draw(LEVELS) for mark in sorted(marks)}
    parameters = {"init_value": draw(LEVELS), "boundaries_and_scales": scales or None, "base_lr": draw(RATES)}
    last = max([1, *marks])
    return parameters, draw(st.integers(last, last + 60))


@st.composite
def _piecewise(draw: DrawFn) -> Drawn:
    parameters, T = draw(_scales())
    return parameters | {"interpolate_type": draw(st.sampled_from(["cosine", "linear"]))}, T


@st.composite
def _cycles(draw: DrawFn) -> Drawn:
    cycles = [draw(_warmed_cosine()) for _ in range(draw(st.integers(1, 4)))]
    own = sum(cycle["decay_steps"] for cycle in cycles)
    return {"cosine_kwargs": cycles, "base_lr": draw(RATES)}, draw(st.integers(own, own + 60))


@st.composite
def _keras_pieces(draw: DrawFn) -> Drawn:
    marks = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=4)))
    values = [draw(LEVELS) for _ in range(len(marks) + 1)]
    last = marks[-1] + 1
    return {"boundaries": marks, "values": values, "base_lr": draw(RATES)}, draw(st.integers(last, last + 60))


@st.composite
def _keras_cosine(draw: DrawFn) -> Drawn:
    n, initial, target = draw(STEPS), draw(LEVELS), draw(st.none() | RATES)
    warmup = draw(st.integers(0, 60))
    parameters = {"initial_learning_rate": initial, "decay_steps": n, "alpha": draw(SHARES)}
    own = n + (warmup if target is not None else 0)
    more = {"warmup_target": target, "warmup_steps": warmup, "base_lr": draw(RATES)}
    return parameters | more, draw(st.integers(own, own + 60))


@st.composite
def _keras_restarts(draw: DrawFn) -> Drawn:
    parameters = {
        "initial_learning_rate": draw(RATES),
        "first_decay_steps": draw(st.integers(1, 80)),
        "t_mul": draw(st.sampled_from([1.0, 1.5, 2.0, 3.0])),
        "m_mul": draw(st.sampled_from([0.5, 0.9, 1.0, 1.1])),
        "alpha": draw(SHARES),
        "base_lr": draw(RATES),
    }
    return parameters, draw(STEPS)


_RISE = {"init_value": LEVELS, "peak_value": LEVELS}
_FALL = {"init_value": LEVELS, "end_value": LEVELS}
_EXPONENTIAL: Parameters = {
    "decay_rate": DECAYS,
    "staircase": st.booleans(),
    "end_value": st.none() | LEVELS,
}
_KERAS: Parameters = {"initial_learning_rate": LEVELS}
_ONE_CYCLE: Parameters = {
    "peak_value": RATES,
    "pct_start": SHARES,
    "div_factor": st.floats(1.0, 50.0),
    "final_div_factor": st.floats(1.0, 1e5),
}

_OPTAX: dict[str, SearchStrategy[Drawn]] = {
    "constant_schedule": _for(None, {"value": LEVELS}),
    "cosine_decay_schedule": _for("decay_steps", {"init_value": LEVELS, "alpha": SHARES, "exponent": POWERS}),
    "cosine_onecycle_schedule": _for("transition_steps", _ONE_CYCLE),
    "exponential_decay": _for(
        "transition_steps", {"init_value": LEVELS, **_EXPONENTIAL}, after=("transition_begin",)
    ),
    "linear_onecycle_schedule": _for("transition_steps", {**_ONE_CYCLE, "pct_final": SHARES}),
    "linear_schedule": _for("transition_steps", _FALL, after=("transition_begin",)),
    "piecewise_constant_schedule": _scales(),
    "piecewise_interpolate_schedule": _piecewise(),
    "polynomial_schedule": _for("transition_steps", {**_FALL, "power": POWERS}, after=("transition_begin",)),
    "sgdr_schedule": _cycles(),
    "warmup_constant_schedule": _for(None, _RISE, after=("warmup_steps",)),
    "warmup_cosine_decay_schedule": _warmed_cosine().flatmap(
        lambda drawn: st.tuples(
            RATES.map(lambda base: drawn | {"base_lr": base}),
            st.integers(drawn["decay_steps"], drawn["decay_steps"] + 60),
        )
    ),
    "warmup_exponential_decay_schedule": _for(
        "transition_steps", {**_RISE, **_EXPONENTIAL}, after=("warmup_steps", "transition_begin")
    ),
}

_KERAS_CLASSES: dict[str, SearchStrategy[Drawn]] = {
    "CosineDecay": _keras_cosine(),
    "CosineDecayRestarts": _keras_restarts(),
    "ExponentialDecay": _for("decay_steps", {**_KERAS, "decay_rate": DECAYS, "staircase": st.booleans()}),
    "InverseTimeDecay": _for("decay_steps", {**_KERAS, "decay_rate": CYCLES, "staircase": st.booleans()}),
    "PiecewiseConstantDecay": _keras_pieces(),
    "PolynomialDecay": _for(
        "decay_steps",
        {**_KERAS, "end_learning_rate": LEVELS, "power": POWERS, "cycle": st.booleans()},
    ),
}

_SKLEARN: dict[str, SearchStrategy[Drawn]] = {
    "constant": _for(None, {"eta0": RATES}),
    "invscaling": _for(None, {"eta0": RATES, "power_t": st.just(0.0) | POWERS}),
    "optimal": _for(
        None, {"alpha": st.floats(1e-6, 1.0), "loss": st.sampled_from(["hinge", "log_loss", "squared_error"])}
    ),
}

RATE_DRAWS: dict[str, SearchStrategy[Drawn]] = {
    f"{peer}:{name}": drawn
    for peer, table in {"keras": _KERAS_CLASSES, "optax": _OPTAX, "sklearn": _SKLEARN}.items()
    for name, drawn in table.items()
}
