"""torch's SWALR after the drop-in's classes and after a Scheduler, on one optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as torchs
from torch.optim.swa_utils import SWALR, AveragedModel

import lrkit
from convert.stepping import sgd
from lrkit import lr_scheduler

CASES = {
    "CosineAnnealingLR": (lambda m, o: m.CosineAnnealingLR(o, 6)),
    "LinearLR": (lambda m, o: m.LinearLR(o, total_iters=6)),
    "StepLR": (lambda m, o: m.StepLR(o, 2)),
}


def trained(scheduler: Any, optimizer: Any) -> list[float]:
    """Six updates under the scheduler, then six under SWALR, as torch's own recipe has it."""
    swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=4)
    used = []
    for t in range(12):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        (scheduler if t < 6 else swa).step()
    return used


@pytest.mark.parametrize("name", CASES)
def test_swalr_takes_over_from_the_drop_in_as_from_torchs_own(name: str) -> None:
    mine, theirs = sgd(0.5), sgd(0.5)
    used = trained(CASES[name](lr_scheduler, mine), mine)
    assert used == pytest.approx(trained(CASES[name](torchs, theirs), theirs), rel=1e-12, abs=1e-15)


def test_the_drop_ins_swalr_too() -> None:
    mine, theirs = sgd(0.5), sgd(0.5)
    ours, torchs_own = lr_scheduler.SWALR(mine, swa_lr=0.05, anneal_epochs=4), SWALR(theirs, 0.05, 4)
    assert isinstance(ours, SWALR)
    for _ in range(8):
        assert mine.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        for optimizer, scheduler in ((mine, ours), (theirs, torchs_own)):
            optimizer.step()
            scheduler.step()


def test_swalr_takes_over_from_a_closed_scheduler() -> None:
    optimizer = sgd(0.5)
    scheduler = lrkit.Scheduler(optimizer, "linear(to=0.2)", 6)
    averaged = AveragedModel(torch.nn.Linear(1, 1))
    used = []
    for _ in range(6):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    scheduler.close()
    swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=4, anneal_strategy="linear")
    for _ in range(6):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        averaged.update_parameters(averaged.module)
        swa.step()
    assert used[:6] == pytest.approx([0.5 * (1 - 0.8 * t / 6) for t in range(6)], rel=1e-12)
    assert used[6:] == pytest.approx([0.1, 0.0875, 0.075, 0.0625, 0.05, 0.05], rel=1e-12)
