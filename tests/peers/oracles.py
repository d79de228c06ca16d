"""All the peers that can be asked, and the versions that were."""

from __future__ import annotations

from importlib.metadata import version

from convert import oracle_torch
from convert.stepping import Rates
from peers import alone, oracle_huggingface, oracle_keras, oracle_optax, oracle_sklearn, oracle_timm

__all__ = ["ORACLES", "TOLERANCE", "VERSIONS"]

ORACLES: dict[str, Rates] = {
    name: rates
    for module in (
        oracle_huggingface,
        oracle_keras,
        oracle_optax,
        oracle_sklearn,
        oracle_timm,
        oracle_torch,
    )
    for name, rates in module.RATES.items()
}

VERSIONS: dict[str, str] = {
    **{name: version(name) for name in ("diffusers", "jax", "keras", "optax", "torch", "transformers")},
    "sklearn": version("scikit-learn"),
    "timm": alone.version("timm"),
}

TOLERANCE: dict[str, float] = {}
"""Of peers that reckon in float32: what may lie between, of the peak."""
