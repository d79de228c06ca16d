"""Every entry of the catalog drives an optimizer, and goes on as if nothing had happened wherever it is stopped."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from lrkit.optim import Scheduler
from lrkit.schedule import Schedule
from lrkit.spec import CATALOG, Entry, parse

STEPS = 12
PAST = STEPS + 3  # what comes after the end is resumed as well
ENTRIES = pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)

# A phase of 2 % gets none of twelve steps, and what comes after the end is asked for on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gets none of 12 steps:UserWarning"),
    pytest.mark.filterwarnings("ignore:planned 12 updates:UserWarning"),
]


def built(lr: float, schedule: object) -> tuple[nn.Linear, Optimizer, Scheduler]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    groups = [{"params": [model.weight], "lr": lr}, {"params": [model.bias], "lr": lr / 8}]
    optimizer = SGD(groups, momentum=0.9)
    return model, optimizer, Scheduler(optimizer, schedule, STEPS)  # type: ignore[arg-type]


def train(model: nn.Module, optimizer: Optimizer, steps: int) -> list[Any]:
    """What each update used."""
    used = []
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        used.append([(group["lr"], group["momentum"]) for group in optimizer.param_groups])
        optimizer.step()
    return used


def saved(**parts: Any) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def resumes_at_every_step(schedule: object) -> None:
    whole, optimizer, _ = built(1 / 16, schedule)
    unbroken = train(whole, optimizer, PAST)
    model, optimizer, scheduler = built(1 / 16, schedule)
    for k in range(PAST + 1):
        for order in (("optimizer", "scheduler"), ("scheduler", "optimizer")):
            states = saved(model=model, optimizer=optimizer, scheduler=scheduler)
            again, other, resumed = built(0.03, schedule)  # another initial lr
            again.load_state_dict(states["model"])
            for part in order:
                {"optimizer": other, "scheduler": resumed}[part].load_state_dict(states[part])
            assert train(again, other, PAST - k) == unbroken[k:], (k, order)
            assert torch.equal(again.weight, whole.weight)
        train(model, optimizer, 1)


@ENTRIES
def test_it_is_written_as_the_curve_says(entry: Entry) -> None:
    model, optimizer, _ = built(1 / 16, entry.example)
    curve = parse(entry.example).over(STEPS)
    expected = [[(curve(t) / 16, 0.9), (curve(t) / 128, 0.9)] for t in range(PAST)]
    assert train(model, optimizer, PAST) == expected


@ENTRIES
def test_it_resumes_at_every_step_whatever_lr_the_new_optimizer_was_built_with(entry: Entry) -> None:
    resumes_at_every_step(entry.example)


def test_so_does_a_cycle_with_its_momentum() -> None:
    resumes_at_every_step({"lr": "one_cycle()", "momentum": "one_cycle_momentum()"})


@ENTRIES
def test_so_does_what_continues_past_its_end(entry: Entry) -> None:
    schedule = parse(entry.example)
    assert isinstance(schedule, Schedule)
    model, optimizer, scheduler = built(1 / 16, schedule.after("continue"))
    train(model, optimizer, STEPS + 1)
    states = saved(optimizer=optimizer, scheduler=scheduler)
    again, other, resumed = built(0.03, schedule.after("continue"))
    other.load_state_dict(states["optimizer"])
    resumed.load_state_dict(states["scheduler"])
    assert train(again, other, 4) == train(model, optimizer, 4)
