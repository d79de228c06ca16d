"""diabetes: regression on 442 patients, which ships with the package."""

from __future__ import annotations

import torch
from torch import nn

from lrkit.training.builtin.arrays import packaged_arrays, pair_loader, split_indices
from lrkit.training.builtin.measures import mean_absolute_error
from lrkit.training.metrics import supervised
from lrkit.training.task import Task

__all__ = ["diabetes"]


def diabetes() -> Task:
    """A perceptron 10-64-1 with squared loss, AdamW: 354 patients to train on, 88 to test.

    Features and target are standardised by the training part; losses are in units of the target's variance there.
    """
    arrays = packaged_arrays("diabetes.npz")
    features, targets = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["targets"]).unsqueeze(1)
    train, test = split_indices(len(features), test=0.2)
    features = (features - features[train].mean(0)) / features[train].std(0)
    targets = (targets - targets[train].mean()) / targets[train].std()
    return Task(
        name="diabetes",
        model=lambda: nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1)),
        loss=supervised(nn.functional.mse_loss),
        train=pair_loader(features[train], targets[train], batch_size=16, shuffle=True),
        test=pair_loader(features[test], targets[test], batch_size=128, shuffle=False),
        optimizer=torch.optim.AdamW,
        metrics={"absolute error": supervised(mean_absolute_error)},
        epochs=20,
        holdout=0.3,
    )
