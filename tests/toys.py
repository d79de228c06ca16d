"""Small tasks that train in milliseconds, for every test that needs one."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrkit
from lrkit.plan import TrainingPlan
from lrkit.training import default_plan


def blobs(samples: int = 96, *, seed: int = 3) -> TensorDataset:
    """Three overlapping clouds in four dimensions: learnable, never to zero loss."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 3
    centres = torch.randn(3, 4, generator=generator)
    return TensorDataset(centres[labels] + 0.8 * torch.randn(samples, 4, generator=generator), labels)


def small_net(*, dropout: float = 0.2) -> nn.Module:
    """Buffers (BatchNorm) and random masks (dropout): what a resume or a snapshot may forget."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def toy_task(**changes) -> lrkit.Task:
    """A classifier on `blobs`, ten updates an epoch of the part that a search trains on."""
    parts = {
        "name": "toy",
        "model": small_net,
        "loss": lrkit.supervised(nn.functional.cross_entropy),
        "train": DataLoader(blobs(), batch_size=8, shuffle=True),
        "test": DataLoader(blobs(48, seed=4), batch_size=16),
        "optimizer": torch.optim.AdamW,
        "metrics": {
            "accuracy": lrkit.supervised(lambda out, target: (out.argmax(-1) == target).float().mean())
        },
        "steps": 24,
    }
    return lrkit.Task(**(parts | changes))


def toy_plan(task: lrkit.Task, *, lr: float = 3e-3, **training):
    return default_plan(task, lr=lr, training=TrainingPlan(**training))


def fingerprint(*things) -> str:
    """A hash of tensors, states and all random generators: two are equal only bit for bit."""
    digest = hashlib.sha256()

    def feed(value) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(str((value.dtype, tuple(value.shape))).encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(repr(key).encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                feed(item)
        else:
            digest.update(repr(value).encode())

    for thing in things:
        feed(thing)
    return digest.hexdigest()


def random_states() -> list:
    """Every generator that a user's code may draw from."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return [random.getstate(), name, keys.tobytes(), position, has_gauss, cached, torch.get_rng_state()]
