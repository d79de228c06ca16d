"""Under Lightning's Trainer: epochs and steps, plateau with a monitor, resuming from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

import lrkit
from lrkit import lr_scheduler
from lrkit.control import plateau
from peers.hosts import EPOCHS, MAKERS, PER_EPOCH, TOTAL, Make, expected


class Module(lightning.LightningModule):
    """One weight, and a note of the lr that each update used."""

    def __init__(self, make: Make, **config: Any) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.make, self.config = make, config
        self.used: list[float] = []
        self.losses = iter([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        self.used.append(self.optimizers().param_groups[0]["lr"])
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: Any, _: int) -> None:
        return None

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("val_loss", next(self.losses))

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer), **self.config}}


def loader() -> Any:
    return DataLoader(TensorDataset(torch.ones(PER_EPOCH, 1)), batch_size=1)


def fit(
    module: Module, folder: Path, *, epochs: int = EPOCHS, resume: Path | None = None
) -> lightning.Trainer:
    trainer = lightning.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader(), loader(), ckpt_path=resume, weights_only=False)
    return trainer


@pytest.mark.parametrize("name", MAKERS)
def test_each_update_has_its_own_lr(name: str, tmp_path: Path) -> None:
    module = Module(MAKERS[name], interval="step")
    fit(module, tmp_path)
    assert module.used == pytest.approx(expected(name, TOTAL), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "Scheduler"])
def test_with_the_interval_epoch_the_lr_moves_once_an_epoch(name: str, tmp_path: Path) -> None:
    module = Module(MAKERS[name], interval="epoch")
    fit(module, tmp_path)
    curve = expected(name, EPOCHS)
    assert module.used == pytest.approx([curve[t // PER_EPOCH] for t in range(TOTAL)], rel=1e-12, abs=1e-15)


def test_a_scheduler_that_counts_updates_does_so_whatever_the_interval(tmp_path: Path) -> None:
    module = Module(MAKERS["Scheduler"], interval="epoch")
    fit(module, tmp_path)
    assert module.used == pytest.approx(expected("Scheduler", TOTAL), rel=1e-12)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_run_that_stops_and_resumes_is_the_same(name: str, interval: str, tmp_path: Path) -> None:
    whole = Module(MAKERS[name], interval=interval)
    fit(whole, tmp_path)
    before = Module(MAKERS[name], interval=interval)
    fit(before, tmp_path, epochs=2).save_checkpoint(tmp_path / "half.ckpt")
    after = Module(MAKERS[name], interval=interval)
    fit(after, tmp_path, resume=tmp_path / "half.ckpt")
    assert before.used + after.used == whole.used


def test_plateau_is_stepped_with_its_monitor(tmp_path: Path) -> None:
    """The metric stands still from epoch 1 on: with a patience of 1 it is cut after epochs 3 and 5."""
    module = Module(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=1),
        monitor="val_loss",
        interval="epoch",
    )
    fit(module, tmp_path, epochs=7)
    by_epoch = module.used[::PER_EPOCH]
    assert by_epoch == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.05, 0.05, 0.005], rel=1e-12)


class Observing(Module):
    """Tells lrkit's Scheduler each validation loss, as a module of one's own would."""

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.lr_schedulers().observe(next(self.losses))


def test_a_controller_beside_the_schedule_hears_of_each_validation(tmp_path: Path) -> None:
    """The loss stands still from epoch 1 on: with a patience of 1 the lr is halved after epochs 3 and 5."""
    module = Observing(
        lambda o: lrkit.Scheduler(
            o, "linear(to=0)", 7 * PER_EPOCH, control=[plateau(factor=0.5, patience=1)]
        ),
        interval="step",
    )
    fit(module, tmp_path, epochs=7)
    halved = [1.0] * 4 + [0.5] * 2 + [0.25]
    wanted = [0.5 * (1 - t / (7 * PER_EPOCH)) * halved[t // PER_EPOCH] for t in range(7 * PER_EPOCH)]
    assert module.used == pytest.approx(wanted, rel=1e-12)
