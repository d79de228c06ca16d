"""Adam's update by torch's fused kernel for the CPU: one pass over memory and one call, instead of ten a parameter.

torch leaves it to the user, for the kernel takes memory as it lies: a gradient in another layout than its parameter
is read in the wrong order, without a word. Here each update looks first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["fuse_updates"]

_KINDS = (torch.optim.Adam, torch.optim.AdamW)
_DTYPES = (torch.float32, torch.float64)


def fuse_updates(optimizer: Optimizer) -> None:
    """Let `optimizer` make its updates by the fused kernel where that is the same update but for rounding.

    It is for Adam and AdamW themselves where `fused`, `foreach`, `capturable` and `differentiable` are left open, and
    for parameters on the CPU in float32 or float64 that are contiguous, as their gradients are; a group with others is
    updated as without, and so is a step that is given a closure, which makes the gradients later. Another optimizer
    is left alone. States that are saved between updates show nothing of it.
    """
    if type(optimizer) in _KINDS and all(map(_is_open, optimizer.param_groups)):
        optimizer.register_step_pre_hook(_choose)
        optimizer.register_step_post_hook(_forget)


def _is_open(group: dict[str, Any]) -> bool:
    chosen = group["fused"] is not None or group["foreach"] is not None
    return not (chosen or group["capturable"] or group["differentiable"])


def _choose(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _forget(optimizer, args, kwargs)  # what a step that failed has left
    closures = (*args[1:], *kwargs.values())  # args[0] is the optimizer
    if any(closure is not None for closure in closures):
        return
    for group in filter(_is_open, optimizer.param_groups):
        if all(_suits(p, p.grad, optimizer.state.get(p, {})) for p in group["params"]):
            group["fused"] = True


def _forget(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """A state that is loaded where nobody looks must not ask for the kernel."""
    del args, kwargs
    for group in optimizer.param_groups:
        if group["fused"]:
            group["fused"] = None


def _suits(parameter: Tensor, gradient: Tensor | None, state: dict[str, Any]) -> bool:
    if gradient is None:
        return True
    return (
        parameter.device.type == "cpu"
        and parameter.dtype in _DTYPES
        and gradient.dtype == parameter.dtype
        and gradient.layout == torch.strided
        and all(t.is_contiguous() for t in (parameter, gradient, *state.values()))
    )
