"""Under Accelerate: `prepare` with one process, with accumulation, and with two gloo processes.

A prepared scheduler is stepped once for each process at each update. lrkit's Scheduler counts updates all the same;
the drop-in does as torch's classes do, and moves twice as far.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.scheduler import AcceleratedScheduler
from accelerate.state import AcceleratorState, GradientState
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from peers.hosts import MAKERS, TOTAL, expected


def prepared(name: str, **settings: Any) -> tuple[Accelerator, Any, Any, Any, Any]:
    accelerator = Accelerator(cpu=True, **settings)
    model = torch.nn.Linear(1, 1)
    optimizer = SGD(model.parameters(), lr=0.5)
    scheduler = MAKERS[name](optimizer)
    data = DataLoader(TensorDataset(torch.ones(512, 1)), batch_size=1)
    return accelerator, *accelerator.prepare(model, optimizer, data, scheduler)


def run(name: str, updates: int, **settings: Any) -> tuple[list[float], Any]:
    """The lr of each update, with a backward pass for each micro-batch, as Accelerate's own loop has it."""
    accelerator, model, optimizer, data, scheduler = prepared(name, **settings)
    used: list[float] = []
    for (batch,) in data:
        with accelerator.accumulate(model):
            accelerator.backward(model(batch).square().mean())
            if accelerator.sync_gradients:
                used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if len(used) == updates and accelerator.sync_gradients:
            break
    return used, scheduler


@pytest.fixture(autouse=True)
def fresh() -> Any:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_each_update_has_its_own_lr(name: str, micro_batches: int) -> None:
    used, scheduler = run(name, TOTAL, gradient_accumulation_steps=micro_batches)
    assert isinstance(scheduler, AcceleratedScheduler)
    assert used == pytest.approx(expected(name, TOTAL), rel=1e-12, abs=1e-15)
    assert scheduler.get_last_lr() == [scheduler.optimizers[0].param_groups[0]["lr"]]


def test_its_state_is_saved_and_loaded(tmp_path: Any) -> None:
    accelerator, model, optimizer, data, scheduler = prepared("Scheduler")

    def updates(count: int) -> list[float]:
        used = []
        for _, (batch,) in zip(range(count), data, strict=False):
            accelerator.backward(model(batch).square().mean())
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        return used

    first = updates(8)
    accelerator.save_state(str(tmp_path))
    second = updates(6)
    accelerator.load_state(str(tmp_path))
    assert updates(6) == second
    assert first + second == pytest.approx(expected("Scheduler", 14), rel=1e-12)


def in_two_processes(name: str, stride: int) -> None:
    used, _ = run(name, 8)
    assert torch.distributed.get_world_size() == 2
    assert torch.distributed.get_backend() == "gloo"
    assert used == pytest.approx(expected(name, 8 * stride)[::stride], rel=1e-12, abs=1e-15), used


@pytest.mark.parametrize("name", ["Scheduler", "CosineAnnealingLR", "LinearLR", "SequentialLR", "StepLR"])
def test_two_processes(name: str) -> None:
    debug_launcher(in_two_processes, (name, 1 if name == "Scheduler" else 2), num_processes=2)


def test_what_fails_in_a_process_fails_here() -> None:
    with pytest.raises(ProcessRaisedException, match="AssertionError"):
        debug_launcher(in_two_processes, ("StepLR", 1), num_processes=2)
