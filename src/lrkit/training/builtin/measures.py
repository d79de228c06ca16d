"""Metrics of the built-in tasks, over `(output, target)`."""

from __future__ import annotations

from torch import Tensor

__all__ = ["accuracy", "mean_absolute_error"]


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of samples whose largest output is the target class."""
    return (output.argmax(dim=-1) == target).float().mean()


def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """The mean of |output - target|, in the target's unit."""
    return (output - target).abs().mean()
