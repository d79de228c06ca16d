"""An independent account of everything that a probe could change: content, storage and identity, as one list."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["fingerprint"]


def fingerprint(
    models: Iterable[nn.Module], optimizers: Iterable[Optimizer] = (), scaler: Any = None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": repr(np.random.get_state(legacy=False)),
        "torch": tensor_print(torch.get_rng_state(), where=False),
    }
    for m, model in enumerate(models):
        for name, module in model.named_modules(remove_duplicate=False):
            at = f"model {m} {name}"
            found[f"{at} self"] = (id(module), type(module), module.training)
            found[f"{at} names"] = (list(module._parameters), list(module._buffers), list(module._modules))
            found[f"{at} persistent"] = sorted(module._buffers.keys() - module._non_persistent_buffers_set)
            found[f"{at} hooks"] = [len(v) for k, v in sorted(vars(module).items()) if k.endswith("_hooks")]
            found[f"{at} plain"] = {
                k: v for k, v in sorted(vars(module).items()) if isinstance(v, int | float | str | None)
            }
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                found[f"{at} {key}"] = None if tensor is None else whole(tensor)
    for o, optimizer in enumerate(optimizers):
        found[f"optimizer {o}"] = sorted(vars(optimizer))
        found[f"optimizer {o} hooks"] = [
            list(v) for k, v in sorted(vars(optimizer).items()) if k.endswith("_hooks")
        ]
        for at, value in walk(optimizer.param_groups, f"optimizer {o} groups"):
            found[at] = value
        for parameter, state in optimizer.state.items():
            for at, value in walk(state, f"optimizer {o} state {id(parameter)}"):
                found[at] = value
    if scaler is not None:
        for at, value in walk(vars(scaler), "scaler"):
            found[at] = value
    return found


def whole(tensor: Tensor) -> Any:
    grad = tensor.grad if tensor.is_leaf else None
    return (id(tensor), tensor.requires_grad, tensor_print(tensor), None if grad is None else whole(grad))


def tensor_print(tensor: Tensor, *, where: bool = True) -> Any:
    if tensor.layout != torch.strided:
        return (id(tensor), str(tensor.coalesce()))
    detached = tensor.detach()
    content = detached.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    place = (detached.data_ptr(), tensor.stride()) if where else ()
    return (hash(content), tuple(tensor.shape), tensor.dtype, place)


def walk(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield at, whole(value)
    elif isinstance(value, dict):
        yield f"{at} keys", (id(value), [str(key) for key in value])
        for key, entry in value.items():
            yield from walk(entry, f"{at} {key}")
    elif isinstance(value, list | tuple):
        yield f"{at} length", (id(value) if isinstance(value, list) else None, len(value))
        for i, entry in enumerate(value):
            yield from walk(entry, f"{at} {i}")
    else:
        yield at, repr(value)
