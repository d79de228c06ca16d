"""`lrkit compare`: what it prints and writes, what it refuses, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comparisons import assert_same_answer

ALONE = ["--workers", "1"]
TWO = ["down=linear(to=0)", "hold()"]


def compare(task, *args):
    return [
        "compare",
        task,
        *TWO,
        "--seeds",
        "2",
        "--epochs",
        "4",
        *args,
        *([] if "--workers" in args else ALONE),
    ]


@pytest.fixture
def compared(lrkit, task_file):
    return lrkit(*compare(task_file(), "--out", "run"))


def test_it_tells_the_answer_and_leaves_it_in_the_folder(compared, lrkit, task_file, tmp_path):
    assert compared.code == 0, compared
    assert compared.err == ""
    for words in ["peak lr", "90 % interval", "test loss", "to the best, 95 %", "down", "hold()", "paired"]:
        assert words in compared.out
    assert (tmp_path / "run" / "comparison.png").stat().st_size > 0
    result = json.loads((tmp_path / "run" / "comparison.json").read_text())["result"]
    assert result["verdict"] in compared.out
    again = lrkit(*compare(task_file(), "--out", "run", "--json"))
    assert again.code == 0, again
    assert json.loads(again.out) == result
    refused = lrkit(*compare(task_file(), "--out", "run", "--budget", "100"))
    assert refused.code == 2
    assert "budget was" in refused.err


def test_wrong_specs_are_one_line_with_all_of_them(lrkit, task_file, tmp_path):
    outcome = lrkit("compare", task_file(), "cosne()", "hold()", "x=linear(", "--out", "run")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "cosne" in outcome.err
    assert "'x'" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("args", [["hold()"], [], ["hold()", "linear(to=0)", "--seeds", "0"]])
def test_wrong_arguments_exit_with_2(lrkit, task_file, args):
    outcome = lrkit("compare", task_file(), *args, "--out", "run")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def command(folder, task, *args):
    return [
        sys.executable,
        "-m",
        "lrkit",
        *compare(task, "--no-plots", "--json", "--out", str(folder), *args),
    ]


def under_way(folder, task, *, until):
    """The command with two workers, in a session of its own, once there is a file `until` in its run folder."""
    process = subprocess.Popen(
        command("run", task, "--workers", "2"),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(folder.glob(f"run/{until}")):
        assert process.poll() is None, "it ended before it got so far"
        time.sleep(0.02)
    return process


def finished(folder, *command):
    """What the whole command prints."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def slow_task(task_file):
    """Slow enough to be hit in its midst."""
    return task_file(before="import time; time.sleep(0.002)")


@pytest.mark.slow
def test_workers_give_the_same_answer_and_a_kill_costs_nothing_that_was_finished(slow_task, tmp_path):
    process = under_way(tmp_path, slow_task, until="*/final-*")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = json.loads((tmp_path / "run" / "comparison.json").read_text())["schedules"]
    assert any(one["search"] for one in kept.values())
    time.sleep(1.0)  # for the workers, which leave when they miss the one who started them
    there = finished(tmp_path, *command("run", slow_task, "--workers", "2"))
    here = finished(tmp_path, *command("alone", slow_task))
    assert_same_answer(json.loads(there), json.loads(here))
    after = json.loads((tmp_path / "run" / "comparison.json").read_text())["schedules"]
    for name, one in kept.items():
        assert one["search"] in (None, after[name]["search"]), "a finished search was done again"


def somebody_is_left(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(slow_task, tmp_path):
    process = under_way(tmp_path, slow_task, until="1-down/study.db")
    everybody = [process.pid, *workers_of(process)]  # workers have groups of their own
    assert len(everybody) == 3
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip().count("\n") == 0, said
    assert "--out run" in said
    patience = time.monotonic() + 10  # Python's own helper process leaves a little later
    while any(map(somebody_is_left, everybody)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(map(somebody_is_left, everybody))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_dies_is_told_and_nothing_that_was_finished_is_lost(slow_task, tmp_path):
    process = under_way(tmp_path, slow_task, until="*/final-*")
    workers = workers_of(process)
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "died (exit code -9" in said
    assert said.count("\n") == 1
    finished(tmp_path, *command("run", slow_task))


@pytest.mark.slow
def test_what_a_task_raises_in_a_worker_is_told_by_its_name(task_file, tmp_path):
    before = "import multiprocessing; 1 / (multiprocessing.parent_process() is None)"
    done = subprocess.run(
        command("run", task_file(before=before), "--workers", "2"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.count("\n") == 1
