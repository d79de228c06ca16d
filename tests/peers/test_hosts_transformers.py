"""Under the transformers Trainer: optimizer and scheduler passed as `optimizers=`, a tiny model made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from lrkit import lr_scheduler
from peers.hosts import MAKERS, PER_EPOCH, TOTAL, Make, expected


class Noting(TrainerCallback):
    """Notes the lr of each update."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_pre_optimizer_step(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        self.used.append(float(optimizer.param_groups[0]["lr"]))


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The same few tokens, as often as a run needs them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, _: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.arange(4), "labels": torch.arange(4)}


def train(make: Make, folder: Path, *, resume: str | None = None, **more: Any) -> tuple[list[float], Trainer]:
    """A run of TOTAL updates, and the lr of each."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    optimizer = SGD(model.parameters(), lr=0.5)
    settings: dict[str, Any] = {"max_steps": TOTAL, "per_device_train_batch_size": 1, "logging_steps": 1}
    settings |= {"save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(output_dir=str(folder), **(settings | more))
    noting = Noting()
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Tokens(TOTAL * 2),
        eval_dataset=Tokens(2),
        optimizers=(optimizer, make(optimizer)),
        callbacks=[noting],
    )
    trainer.train(resume_from_checkpoint=resume)
    return noting.used, trainer


@pytest.mark.parametrize("name", MAKERS)
def test_each_update_has_its_own_lr(name: str, tmp_path: Path) -> None:
    used, trainer = train(MAKERS[name], tmp_path)
    assert used == pytest.approx(expected(name, TOTAL), rel=1e-12, abs=1e-15)
    logged = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert len(logged) == TOTAL


def test_micro_batches_are_no_updates(tmp_path: Path) -> None:
    used, _ = train(MAKERS["Scheduler"], tmp_path, gradient_accumulation_steps=2)
    assert used == pytest.approx(expected("Scheduler", TOTAL), rel=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_resumes_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    whole, _ = train(MAKERS[name], tmp_path, save_strategy="steps", save_steps=PER_EPOCH)
    rest, _ = train(MAKERS[name], tmp_path, resume=str(tmp_path / f"checkpoint-{PER_EPOCH}"))
    assert rest == whole[PER_EPOCH:]


def test_plateau_is_stepped_at_each_evaluation(tmp_path: Path) -> None:
    """Threshold 10 lets no loss be better than the first: with a patience of 1 every second evaluation cuts."""
    used, _ = train(
        lambda o: lr_scheduler.ReduceLROnPlateau(
            o, factor=0.1, patience=1, threshold=10.0, threshold_mode="abs"
        ),
        tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="eval_loss",
    )
    assert used[:6] == [0.5] * 6
    assert used[6:10] == pytest.approx([0.05] * 4, rel=1e-12)
    assert used[10:14] == pytest.approx([0.005] * 4, rel=1e-12)
