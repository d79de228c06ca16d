"""All the peers that can be asked, the versions that were, and those that answer in float32."""

from __future__ import annotations

from importlib.metadata import version

from convert import oracle_torch
from convert.stepping import Rates
from peers import (
    alone,
    oracle_huggingface,
    oracle_keras,
    oracle_large,
    oracle_optax,
    oracle_shares,
    oracle_sklearn,
    oracle_timm,
)

__all__ = ["ORACLES", "TOLERANCE", "VERSIONS"]

_MODULES = (
    oracle_huggingface,
    oracle_keras,
    oracle_large,
    oracle_optax,
    oracle_shares,
    oracle_sklearn,
    oracle_timm,
    oracle_torch,
)

ORACLES: dict[str, Rates] = {name: rates for module in _MODULES for name, rates in module.RATES.items()}

VERSIONS: dict[str, str] = {
    **{name: version(name) for name in ("diffusers", "fastai", "fvcore", "jax", "keras", "optax", "torch")},
    "transformers": version("transformers"),
    "sklearn": version("scikit-learn"),
    "composer": alone.version("mosaicml"),
    "deepspeed": alone.version("deepspeed"),
    "megatron": alone.version("megatron-core"),
    "timm": alone.version("timm"),
}

TOLERANCE: dict[str, float] = {"fastai": 1e-6}
"""Of peers that reckon in float32: what may lie between, of the peak."""
