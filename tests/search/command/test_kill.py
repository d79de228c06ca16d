"""kill -9 in the midst of `lrkit tune -- COMMAND`: no command is left running, and the same line goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.command.scripts import CURVE, PYTHON, script

EXAMPLE = Path(__file__).with_name("torch_example.py")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="kill -9 is a matter of POSIX")]


def tune(folder, *options, command, **more):
    line = [
        sys.executable,
        "-m",
        "lrkit",
        "tune",
        *options,
        "--no-plots",
        "--json",
        "--out",
        folder,
        "--",
        *command,
    ]
    return subprocess.Popen([str(word) for word in line], stdout=subprocess.PIPE, text=True, **more)


def answer(process):
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    data = json.loads(out)
    return {name: data[name] for name in ("lr", "interval", "status", "trials", "member_steps", "unit")}


def finished_rows(folder):
    """Every finished trial in the study, read as another program would; none while there is no study."""
    if not (folder / "study.db").exists():
        return []
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as study:
        with contextlib.suppress(sqlite3.OperationalError):
            return study.execute("select lr, seed, steps, objective from results order by number").fetchall()
        return []


def trial_rows(folder):
    return [json.loads(path.read_text()) for path in (folder / "trials").glob("*/trial.json")]


def killed_after(process, folder, rows, delay):
    """kill -9, once there are so many results and a moment has passed; the rows that are there then."""
    patience = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < patience and len(finished_rows(folder)) < rows:
        time.sleep(0.01)
    time.sleep(delay)
    process.kill()
    process.communicate()
    return finished_rows(folder)


def still_running(marker):
    """Processes with this text among their arguments, read from the process table; a killed one may take a moment."""
    patience = time.monotonic() + 15
    while time.monotonic() < patience:
        table = subprocess.run(
            ["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True
        ).stdout
        found = [row for row in table.splitlines() if marker in row and not row.startswith("Z")]
        if not found:
            return []
        time.sleep(0.05)
    return found


def test_five_kills_change_nothing(tmp_path):
    command = [*PYTHON, script(tmp_path, CURVE), "{lr}", "{seed}", "{epochs}"]
    options = ["--param", "lr=1e-3..1e-1:log", "--epochs", 9, "--budget", 45, "--grace", 1]
    undisturbed = answer(tune(tmp_path / "undisturbed", *options, command=command))
    folder, moments, survived = tmp_path / "run", random.Random(0), []
    for _ in range(5):
        process = tune(folder, *options, command=command)
        rows = killed_after(process, folder, len(survived) + 1, moments.uniform(0, 0.2))
        assert rows[: len(survived)] == survived, "a finished trial was lost or run again"
        survived = rows
    assert answer(tune(folder, *options, command=command)) == undisturbed
    assert finished_rows(folder) == finished_rows(tmp_path / "undisturbed")


def test_a_pytorch_example_is_tuned_pruned_killed_and_resumed(tmp_path):
    assert "lrkit" not in EXAMPLE.read_text().split('"""')[2]
    command = [sys.executable, EXAMPLE, "--lr", "{lr}", "--epochs", "{epochs}", "--seed", "{seed}"]
    options = ["--param", "lr=1e-2..1:log", "--epochs", 6, "--budget", 24, "--grace", 2]
    options += ["--metric-regex", r"epoch (?P<epoch>\d+).* val_loss=(\S+)"]
    folder = tmp_path / "run"
    killed = tune(folder, *options, command=command)
    survived = killed_after(killed, folder, 3, 0.5)
    assert len(survived) >= 3
    assert not still_running(f"{EXAMPLE} --lr"), "the trial in flight outlived its driver"

    interrupted = tune(folder, *options, command=command, stderr=subprocess.PIPE)
    patience = time.monotonic() + 120
    while len(finished_rows(folder)) < len(survived) + 1 and time.monotonic() < patience:
        time.sleep(0.01)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "goes on from there" in said
    assert not still_running(f"{EXAMPLE} --lr")

    found = answer(tune(folder, *options, command=command))
    rows = finished_rows(folder)
    assert rows[: len(survived)] == survived
    assert len({row[:3] for row in rows}) == len(rows), "a finished trial was run again"
    assert 0.05 < found["lr"] < 0.5
    assert found["member_steps"] <= 24
    assert max(row[2] for row in rows) == 6, "what is worth it is trained to the end"
    pruned = [row for row in trial_rows(folder) if row["status"] == "measured" and row["stop"] < 6]
    assert pruned, "most are ended early"
    assert all(len(row["reports"]) == row["stop"] and row["code"] is None for row in pruned)
