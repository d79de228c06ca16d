"""transformers and diffusers themselves: what their functions put on an optimizer."""

from __future__ import annotations

from typing import Any

from diffusers import optimization as diffusers
from transformers import optimization as transformers

from convert.stepping import Rates, stepped

__all__ = ["RATES"]

_TRANSFORMERS = {
    "constant": transformers.get_constant_schedule,
    "constant_with_warmup": transformers.get_constant_schedule_with_warmup,
    "cosine": transformers.get_cosine_schedule_with_warmup,
    "cosine_warmup_with_min_lr": transformers.get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    "cosine_with_min_lr": transformers.get_cosine_with_min_lr_schedule_with_warmup,
    "cosine_with_restarts": transformers.get_cosine_with_hard_restarts_schedule_with_warmup,
    "inverse_sqrt": transformers.get_inverse_sqrt_schedule,
    "linear": transformers.get_linear_schedule_with_warmup,
    "polynomial": transformers.get_polynomial_decay_schedule_with_warmup,
    "warmup_stable_decay": transformers.get_wsd_schedule,
}

_DIFFUSERS = {
    "constant": diffusers.get_constant_schedule,
    "constant_with_warmup": diffusers.get_constant_schedule_with_warmup,
    "cosine": diffusers.get_cosine_schedule_with_warmup,
    "cosine_with_restarts": diffusers.get_cosine_with_hard_restarts_schedule_with_warmup,
    "linear": diffusers.get_linear_schedule_with_warmup,
    "piecewise_constant": diffusers.get_piecewise_constant_schedule,
    "polynomial": diffusers.get_polynomial_decay_schedule_with_warmup,
}


def _of(function: Any) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {name: value for name, value in parameters.items() if name != "base_lr"}
        if function in (transformers.get_constant_schedule, diffusers.get_constant_schedule):
            rest.pop("num_warmup_steps", None)  # get_scheduler drops it
        return stepped(lambda optimizer: function(optimizer, **rest), n, parameters.get("base_lr", 1.0))

    return rates


def _adafactor(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    """The optimizer's own relative step, which it reckons itself at each update."""
    group = {
        "relative_step": True,
        "warmup_init": parameters["warmup_init"],
        "scale_parameter": False,
        "eps": (1e-30, 1e-3),
        "lr": None,
    }
    return [float(transformers.Adafactor._get_lr(group, {"step": t + 1, "RMS": 1.0})) for t in range(n)]


RATES: dict[str, Rates] = {
    **{f"transformers:{name}": _of(function) for name, function in _TRANSFORMERS.items()},
    **{f"diffusers:{name}": _of(function) for name, function in _DIFFUSERS.items()},
    "transformers:adafactor": _adafactor,
}
