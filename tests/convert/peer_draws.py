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
SHARES = st.sampled_from([0.0, 0.1, 0.25, 1.0]) | st.floats(0.0, 1.0)
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
    return {"num_warmup_steps": draw(st.integers(0, T)), **rest}, T


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
        st.fixed_dictionaries({"warmup_init": st.booleans(), "base_lr": RATES}), st.integers(9_999, 12_000)
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

DRAWS: dict[str, SearchStrategy[Drawn]] = {
    f"{peer}:{name}": drawn
    for peer, table in {"diffusers": _DIFFUSERS, "transformers": _TRANSFORMERS}.items()
    for name, drawn in table.items()
}
