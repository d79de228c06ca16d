"""A task file as a user writes one, with lambdas, whose trials do at certain rates what trials may do in the wild."""

import os
import signal
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrkit

RAISES, DIES, LEAVES, HANGS = 0.5, 0.25, 0.125, 0.75


class BadRate(ValueError):
    """The user's own error."""


class OddError(Exception):
    """One that cannot be pickled and back."""

    def __init__(self, code, text):
        super().__init__(text)


def optimizer(model, lr):
    if lr == RAISES:
        raise BadRate("no such rate", lr)
    if lr == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if lr == LEAVES:
        sys.exit(3)
    if lr == HANGS:
        time.sleep(600)
    return torch.optim.AdamW(model.parameters(), lr=lr)


def blobs():
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(96) % 3
    centres = torch.randn(3, 4, generator=generator)
    return TensorDataset(centres[labels] + 0.8 * torch.randn(96, 4, generator=generator), labels)


def make(**changes):
    parts = {
        "name": "worker-toy",
        "model": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)),
        "loss": lrkit.supervised(nn.functional.cross_entropy),
        "train": DataLoader(blobs(), batch_size=8, shuffle=True),
        "optimizer": optimizer,
        "steps": 24,
    }
    return lrkit.Task(**(parts | changes))


task = make()


def slow():
    """Each update takes two hundredths of a second: long enough to be hit in its midst."""

    def loss(model, batch):
        time.sleep(0.02)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return make(loss=loss)


def with_loaders():
    """Data are loaded by processes of the worker's own."""
    return make(train=DataLoader(blobs(), batch_size=8, shuffle=True, num_workers=1))


def unseeded():
    """Other data at each import."""
    data = TensorDataset(torch.randn(96, 4) * 3, torch.arange(96) % 3)
    return make(train=DataLoader(data, batch_size=8, shuffle=True))
