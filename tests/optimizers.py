"""Every optimizer that stacks, and what it is tried on."""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from toys import blobs

OPTIMIZERS = {
    "SGD": torch.optim.SGD,
    "SGD nesterov": functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
    "SGD dampened": functools.partial(torch.optim.SGD, momentum=0.9, dampening=0.5, maximize=False),
    "Adam": functools.partial(torch.optim.Adam, weight_decay=0.01),
    "AdamW": functools.partial(torch.optim.AdamW, betas=(0.8, 0.95)),
    "AdamW amsgrad": functools.partial(torch.optim.AdamW, amsgrad=True),
    "NAdam": functools.partial(torch.optim.NAdam, weight_decay=0.01),
    "NAdam decoupled": functools.partial(torch.optim.NAdam, weight_decay=0.01, decoupled_weight_decay=True),
    "RAdam": functools.partial(torch.optim.RAdam, weight_decay=0.01),
    "Adamax": torch.optim.Adamax,
    "RMSprop": torch.optim.RMSprop,
    "RMSprop centered": functools.partial(torch.optim.RMSprop, centered=True, momentum=0.9),
    "Adagrad": functools.partial(torch.optim.Adagrad, lr_decay=0.01, initial_accumulator_value=0.1),
    "Adadelta": torch.optim.Adadelta,
}


def plain_net() -> nn.Module:
    """Without BatchNorm: a bias before one has a gradient of rounding noise, which Adam makes a step of."""
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def double_blobs() -> DataLoader:
    inputs, labels = blobs().tensors
    return DataLoader(TensorDataset(inputs.double(), labels), batch_size=8, shuffle=True)


class Lion(torch.optim.Optimizer):
    """An optimizer that lrkit has never heard of: linear in lr, elementwise, with decoupled decay."""

    def __init__(self, params, lr, weight_decay=0.1):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                moment = self.state[p].setdefault("moment", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((0.9 * moment + 0.1 * p.grad).sign(), alpha=-group["lr"])
                moment.lerp_(p.grad, 0.01)
