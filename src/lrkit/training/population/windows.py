"""The batches of one update, looked into: their signature, by which graphs are kept, and stacks of them over seeds.

Only builtin containers are looked into. What else a loader may yield is trained on as it is, without a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrkit.training.batches import Batch
from lrkit.training.population.unfit import Unfit

__all__ = ["signature", "stack_batches"]


def signature(batch: Batch) -> str | None:
    """Containers, shapes and kinds of all tensors, and all other values: equal ones can use one traced graph.

    None where there is something in it that a graph would take for a constant.
    """
    if isinstance(batch, Tensor):
        return f"{batch.dtype}{tuple(batch.shape)}"
    if type(batch) in (list, tuple) or (isinstance(batch, tuple) and hasattr(batch, "_fields")):
        inner = [signature(item) for item in batch]
        return None if None in inner else f"{type(batch).__name__}({', '.join(map(str, inner))})"
    if type(batch) is dict:
        items = {repr(key): signature(value) for key, value in batch.items()}
        return None if None in items.values() else f"dict({items})"
    if batch is None or isinstance(batch, bool | int | float | str):
        return repr(batch)
    return None


def stack_batches(batches: Sequence[Batch]) -> Batch:
    """One batch of several seeds, each tensor with a leading axis. Raises Unfit where they cannot be stacked."""
    first = batches[0]
    if isinstance(first, Tensor):
        if any(batch.shape != first.shape for batch in batches):
            raise Unfit("the batches of two seeds differ in shape")
        return torch.stack(list(batches))
    if type(first) is dict:
        return {key: stack_batches([batch[key] for batch in batches]) for key in first}
    if type(first) in (list, tuple):
        return type(first)(stack_batches([batch[i] for batch in batches]) for i in range(len(first)))
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        made: Any = type(first)
        return made(*(stack_batches([batch[i] for batch in batches]) for i in range(len(first))))
    raise Unfit(f"a batch holds a {type(first).__name__}, which cannot be stacked over seeds")
