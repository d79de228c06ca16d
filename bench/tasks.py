"""The tasks that benches train: the built-in ones, and MNIST-1D from its package."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import torch
from torch import nn

from lrkit.training import Task, load_task, supervised
from lrkit.training.builtin.arrays import pair_loader
from lrkit.training.builtin.measures import accuracy

TASKS = ("digits", "digits-cnn", "diabetes", "mnist1d", "mnist", "mnist-cnn", "char-lm")
DATA = {"mnist": "mnist", "mnist-cnn": "mnist", "char-lm": "tinyshakespeare.txt"}


def bench_task(name: str, data: Path | None = None, *, seed: int = 0) -> Task:
    """The task of that name. `data` is the folder that holds mnist/ and tinyshakespeare.txt."""
    if name == "mnist1d":
        task = mnist1d()
    elif name in DATA:
        if data is None:
            raise SystemExit(f"{name} needs --data FOLDER with {DATA[name]}")
        task = load_task(name, data=data / DATA[name])
    else:
        task = load_task(name)
    return dataclasses.replace(task, seed=seed)


def mnist1d() -> Task:
    """MNIST-1D (Greydanus 2020): 4,000 series of 40 numbers, ten classes; an MLP with AdamW for 20 epochs.

    The data are made by the package's own generator, with its own seed.
    """
    from mnist1d.data import get_dataset_args, make_dataset

    with contextlib.redirect_stdout(io.StringIO()):
        made = make_dataset(get_dataset_args())
    parts = {name: torch.tensor(made[name], dtype=torch.float32) for name in ("x", "x_test")}
    labels = {name: torch.tensor(made[name], dtype=torch.int64) for name in ("y", "y_test")}
    return Task(
        name="mnist1d",
        model=lambda: nn.Sequential(
            nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
        ),
        loss=supervised(nn.functional.cross_entropy),
        train=pair_loader(parts["x"], labels["y"], batch_size=64, shuffle=True),
        test=pair_loader(parts["x_test"], labels["y_test"], batch_size=500, shuffle=False),
        optimizer=torch.optim.AdamW,
        metrics={"accuracy": supervised(accuracy)},
        epochs=20,
    )
