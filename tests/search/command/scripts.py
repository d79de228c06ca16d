"""Scripts that stand for trainings: without torch, they start in a hundredth of a second (`python -S`)."""

from __future__ import annotations

import sys
from pathlib import Path

PYTHON = [sys.executable, "-S"]

CURVE = """\
import json, math, signal, sys, time
lr, seed, epochs = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x = math.log10(lr) + 2.5
for epoch in range(1, epochs + 1):
    loss = (0.3 + 0.5 * x * x) * (1 + 2 / epoch) + 0.01 * math.sin(1e5 * lr + seed)
    if x > 1.2:
        loss = math.nan
    print(json.dumps({"epoch": epoch, "loss": loss}))
    if epoch == epochs // 3 or x > 1.2:
        time.sleep(0.02)
"""
"""Lowest at 10**-2.5, with NaN from 10**-1.3 on."""


def script(folder: Path, text: str, name: str = "train.py") -> Path:
    """Write a script, and give its path."""
    path = folder / name
    path.write_text(text)
    return path
