"""The command starts quickly: what it does not need it does not load."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ["numpy", "torch", "rich", "matplotlib", "msgspec", "tomlkit", "sqlite3"]


def loaded_by(*args):
    code = (
        "import sys; from lrkit.cli.app import run; code = run(sys.argv[1:]);"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["tune", "--help"], ["find", "--help"], ["plot", "-h"]]
)
def test_help_loads_nothing_heavy(args):
    assert loaded_by(*args) == (0, "[]")


def test_a_wrong_command_loads_nothing_heavy():
    assert loaded_by("tnue", "digits") == (2, "[]")


@pytest.mark.parametrize("args", [["schedules"], ["schedules", "cosine"], ["plot", "cosine(to=0)"]])
def test_schedules_need_no_torch(args):
    code, modules = loaded_by(*args)
    assert code == 0
    assert "torch" not in modules
    assert "matplotlib" not in modules


def test_help_takes_at_most_200_ms_of_cpu():
    """The least of several, as other work on the machine only adds."""

    def cpu():
        before = os.times()
        subprocess.run([sys.executable, "-m", "lrkit", "--help"], check=True, capture_output=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(cpu() for _ in range(5)) <= 0.2


def test_python_dash_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "lrkit", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: lrkit [OPTIONS] COMMAND")
    for name in ["tune", "find", "search", "train", "plot", "schedules", "new-task"]:
        assert f"\n  {name} " in done.stdout


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m lrkit schedules | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_a_stream_without_braille_gets_question_marks_and_no_error():
    done = subprocess.run(
        [sys.executable, "-m", "lrkit", "plot", "cosine(to=0)"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"cosine(to=0)" in done.stdout


def test_a_warning_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "lrkit", "plot", "warmup(1%) >> cosine(to=0)", "--steps", "10"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("lrkit: warning: ")
