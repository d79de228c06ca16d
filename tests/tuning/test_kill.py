"""kill -9 in the middle of `lrkit tune`: the same command goes on and ends with the same plan."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lrkit

COMMAND = [sys.executable, "-m", "lrkit", "tune", "digits", "--epochs", "6", "--no-plots", "--json", "--out"]
KILLS = 10

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="kill -9 is a matter of POSIX")]


def timeless(folder: Path) -> lrkit.Plan:
    plan = lrkit.Plan.load(folder / "plan.toml")
    return dataclasses.replace(plan, evidence=dataclasses.replace(plan.evidence, date=None, seconds=None))


def finished_rows(folder: Path) -> list[tuple]:
    """Every finished trial in the study, read as another program would; none while there is no study."""
    if not (folder / "study.db").exists():
        return []
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as study:
        with contextlib.suppress(sqlite3.OperationalError):
            return study.execute("select lr, seed, steps, objective from results order by number").fetchall()
        return []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run([*COMMAND, str(folder)], check=True, capture_output=True)
    return folder


def on_the_route_of(other: Path, folder: Path) -> Path:
    """`folder` with a study that knows nothing but how to train, which `other` had timed: no two timings are alike."""
    folder.mkdir()
    shutil.copy(other / "study.db", folder)
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as study, study:
        study.execute("delete from results")
        study.execute("delete from documents where name not in ('route', 'pairs')")
    return folder


def test_ten_kills_at_random_moments_change_nothing(undisturbed, tmp_path):
    folder, moments = on_the_route_of(undisturbed, tmp_path / "run"), random.Random(0)
    kills, survived = 0, []
    while kills < KILLS:
        process = subprocess.Popen(
            [*COMMAND, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        before = len(finished_rows(folder))
        patience = time.monotonic() + 60
        # Past the imports, into the work: until one more trial is in the study, and a random moment longer.
        while process.poll() is None and time.monotonic() < patience and len(finished_rows(folder)) <= before:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
        kills += 1
        rows = finished_rows(folder)
        assert rows[: len(survived)] == survived, "a finished trial was lost or run again"
        survived = rows
        with contextlib.closing(sqlite3.connect(folder / "study.db")) as study:
            assert study.execute("pragma integrity_check").fetchone() == ("ok",)
    subprocess.run([*COMMAND, str(folder)], check=True, capture_output=True)
    assert timeless(folder) == timeless(undisturbed)
    rows = finished_rows(folder)
    assert rows == finished_rows(undisturbed)
    assert len({row[:3] for row in rows}) == len(rows), "a finished trial was run twice"
    assert not list(folder.rglob("*.part")), "a half-written file is left"


def test_a_kill_before_the_first_trial_is_harmless_too(undisturbed, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < patience and not (folder / "study.db").exists():
        time.sleep(0.005)
    process.kill()
    process.wait()
    subprocess.run([*COMMAND, str(folder)], check=True, capture_output=True)
    assert timeless(folder) == timeless(undisturbed)
