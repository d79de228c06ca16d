"""digits and digits-cnn: 1,797 handwritten digits of 8 x 8 pixels, which ship with the package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lrkit.training.builtin.arrays import packaged_arrays, pair_loader, split_indices
from lrkit.training.builtin.measures import accuracy
from lrkit.training.metrics import supervised
from lrkit.training.task import Task

__all__ = ["digits", "digits_cnn"]


def digits() -> Task:
    """A perceptron 64-128-10 on digits, AdamW: 1,437 images to train on, 360 to test. 20 epochs of 36 updates."""
    return _task(
        "digits", lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    )


def digits_cnn() -> Task:
    """Two convolutions with BatchNorm and dropout on the same digits: buffers and random masks to keep exact."""
    return _task(
        "digits-cnn",
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * 4 * 4, 10),
        ),
        epochs=10,
    )


def _task(name: str, model: Callable[[], nn.Module], *, epochs: int = 20) -> Task:
    images, labels = _data()
    train, test = split_indices(len(images), test=0.2)
    return Task(
        name=name,
        model=model,
        loss=supervised(nn.functional.cross_entropy),
        train=pair_loader(images[train], labels[train], batch_size=32, shuffle=True),
        test=pair_loader(images[test], labels[test], batch_size=512, shuffle=False),
        optimizer=torch.optim.AdamW,
        metrics={"accuracy": supervised(accuracy)},
        epochs=epochs,
    )


def _data() -> tuple[Tensor, Tensor]:
    arrays = packaged_arrays("digits.npz")
    return torch.from_numpy(arrays["images"]).float().div(8).sub(1).unsqueeze(1), torch.from_numpy(
        arrays["labels"]
    ).long()
