"""mnist and mnist-cnn: images from idx files of any length; Fashion-MNIST and the like have the same format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lrkit.errors import TaskError
from lrkit.training.builtin.arrays import pair_loader
from lrkit.training.builtin.idx import read_idx
from lrkit.training.builtin.measures import accuracy
from lrkit.training.metrics import supervised
from lrkit.training.task import Task

__all__ = ["mnist", "mnist_cnn"]


def mnist(folder: Path) -> Task:
    """A perceptron 784-512-256-10 with dropout 0.4, AdamW, 10 epochs of batches of 32."""
    return _task(
        "mnist",
        folder,
        lambda classes: nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 512),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(256, classes),
        ),
        batch_size=32,
    )


def mnist_cnn(folder: Path) -> Task:
    """Two convolutions with BatchNorm and dropout, AdamW, 10 epochs of batches of 64."""
    return _task(
        "mnist-cnn",
        folder,
        lambda classes: nn.Sequential(
            nn.Conv2d(1, 16, 5),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(32 * 4 * 4, classes),
        ),
        batch_size=64,
    )


def _task(name: str, folder: Path, model: Callable[[int], nn.Module], *, batch_size: int) -> Task:
    if not folder.is_dir():
        raise TaskError(f"task {name!r}: no such folder: {folder}")
    images, labels = _read(folder, "train")
    test_images, test_labels = _read(folder, "t10k")
    classes = int(max(labels.max(), test_labels.max())) + 1
    # Standardised by the training images alone, as a whole: pixels at the rim are constant.
    mean, deviation = images.mean(), images.std().clamp_min(1e-6)
    return Task(
        name=name,
        model=lambda: model(classes),
        loss=supervised(nn.functional.cross_entropy),
        train=pair_loader((images - mean) / deviation, labels, batch_size=batch_size, shuffle=True),
        test=pair_loader((test_images - mean) / deviation, test_labels, batch_size=1000, shuffle=False),
        optimizer=torch.optim.AdamW,
        metrics={"accuracy": supervised(accuracy)},
        epochs=10,
    )


def _read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images, labels = (
        read_idx(folder, f"{part}-images-idx3-ubyte"),
        read_idx(folder, f"{part}-labels-idx1-ubyte"),
    )
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.ndim != 1 or len(images) != len(labels):
        raise TaskError(
            f"{folder}: {part} images of shape {images.shape} and labels of shape {labels.shape} do not make a set of "
            "28 x 28 images with a label each"
        )
    if not len(images):
        raise TaskError(f"{folder}: the {part} files hold no image")
    return torch.from_numpy(images.copy()).float().div(255).unsqueeze(1), torch.from_numpy(
        labels.copy()
    ).long()
