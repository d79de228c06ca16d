from __future__ import annotations

import pytest

from lrkit.cli.app import run

TASK = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import lrkit

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] > x[:, 1]).long()
calls = []

def loss(model, batch):
    calls.append(1)
    {before}
    value = nn.functional.cross_entropy(model(batch[0]), batch[1])
    return {value}

task = lrkit.Task(
    name="tiny",
    model=lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
    loss=loss,
    train=DataLoader(TensorDataset(x{rows}, y{rows}), batch_size=8, shuffle=True),
    test=DataLoader(TensorDataset(x, y), batch_size=64),
    epochs=3,
)
"""


class Outcome:
    """What one command line did: its code, and what it wrote on the two streams."""

    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    def __repr__(self):
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


@pytest.fixture
def lrkit(capsys, monkeypatch, tmp_path):
    """Runs one command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        capsys.readouterr()
        return Outcome(run([str(arg) for arg in args]), capsys.readouterr())

    return call


@pytest.fixture
def task_file(tmp_path):
    """Writes a task file that trains in milliseconds, with the given faults, and gives what names the task."""

    def write(name="tiny.py", *, before="pass", value="value", rows=""):
        (tmp_path / name).write_text(TASK.format(before=before, value=value, rows=rows))
        return f"{name}:task"

    return write
