"""Data sets that lie in memory: samples by index, a whole batch fetched at once."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

__all__ = ["TensorPairs", "packaged_arrays", "pair_loader", "split_indices"]


class TensorPairs(Dataset[tuple[Tensor, Tensor]]):
    """`(input, target)` pairs by index. `__getitems__` gives a batch in one gather: collating sample by sample costs
    more than a training step of a small model."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(indices)
        return self.inputs[chosen], self.targets[chosen]


def _as_gathered(batch: Any) -> Any:  # what __getitems__ gave is a batch already
    return batch


def pair_loader(
    inputs: Tensor, targets: Tensor, *, batch_size: int, shuffle: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A DataLoader over `(input, target)` pairs in memory."""
    return DataLoader(
        TensorPairs(inputs, targets), batch_size=batch_size, shuffle=shuffle, collate_fn=_as_gathered
    )


def packaged_arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a data file that ships inside the package."""
    with files("lrkit.training.builtin").joinpath("data", name).open("rb") as file, np.load(file) as arrays:
        return dict(arrays)


def split_indices(total: int, *, test: float) -> tuple[Tensor, Tensor]:
    """Indices for training and for the test, cut once and for all: every user's test figures mean the same."""
    order = torch.randperm(total, generator=torch.Generator().manual_seed(20_261_121))
    count = round(test * total)
    return order[count:], order[:count]
