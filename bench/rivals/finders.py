"""What other libraries' learning-rate finders suggest, each after one sweep of its own default range.

The packages themselves are not asked: the sweep is the loop that they share (100 updates, the rate rising by a constant
factor, the loss before each update recorded beside its rate), and the suggestion is read off by `lrkit.range_test`'s
rules, which tests compare with twins written as the packages have them. Smoothing and the early stop are the rules'.
"""

from __future__ import annotations

import math

import numpy as np

from lrkit.range_test import RULES
from lrkit.training import BatchStream, Task, build_member, derive_seed, move_to, search_split, seeded
from rivals.outcome import Outcome

UPDATES = 100


def lightning(task: Task, seed: int) -> Outcome:
    return suggestion(task, seed, "lightning", low=1e-8, high=1.0)


def fastai_valley(task: Task, seed: int) -> Outcome:
    return suggestion(task, seed, "valley", low=1e-7, high=10.0)


def fastai_steep(task: Task, seed: int) -> Outcome:
    return suggestion(task, seed, "steep", low=1e-7, high=10.0)


def torch_lr_finder(task: Task, seed: int) -> Outcome:
    """From 1e-7, as its own examples begin, to its default of 10."""
    return suggestion(task, seed, "torch-lr-finder", low=1e-7, high=10.0)


def suggestion(task: Task, seed: int, rule: str, *, low: float, high: float) -> Outcome:
    rates = np.geomspace(low, high, UPDATES)
    losses = sweep(task, seed, rates)
    return Outcome(lr=RULES[rule](rates, losses), steps=len(losses))


def sweep(task: Task, seed: int, rates: np.ndarray) -> list[float]:
    """The loss before the update at each rate, up to the first that is not finite."""
    losses: list[float] = []
    with seeded(derive_seed(seed, 1)):
        member = build_member(task, seed=seed, lr=float(rates[0]))
        stream = BatchStream(search_split(task, seed=seed).train, seed=derive_seed(seed, 2))
        for lr in rates:
            for group in member.optimizer.param_groups:
                group["lr"] = float(lr)
            member.optimizer.zero_grad(set_to_none=True)
            loss = task.loss(member.model, move_to(next(stream), member.device))
            if not math.isfinite(loss.item()):
                break
            losses.append(loss.item())
            loss.backward()
            member.optimizer.step()
    return losses
