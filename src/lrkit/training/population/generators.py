"""Whether two states are the same; of the random generators: whether anything was drawn, or as much as elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from lrkit.optim.rng import RngState

__all__ = ["are_equal", "same"]


def are_equal(one: RngState, two: RngState) -> bool:
    """Whether every generator stands at the same place in both."""
    mine, theirs = one.to_dict(), two.to_dict()
    return all(same(mine[key], theirs[key]) for key in ("python", "numpy", "torch_cpu", "cuda", "mps"))


def same(one: object, two: object) -> bool:
    """Whether two pieces of plain data with tensors in them are equal."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return torch.equal(one, two)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return bool(one == two)
