"""`lrkit tune ... -- COMMAND`: what a script in any framework gets, on the screen and in the run folder."""

from __future__ import annotations

import json
import os
import shlex
import sys

import pytest

from search.command.scripts import CURVE, PYTHON, script

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="commands run in process groups, which are POSIX's"
)


@pytest.fixture
def tune(lrkit, tmp_path):
    """`lrkit tune` of a script over the lr, for 6 epochs."""

    def call(*options, text=CURVE, command=("{lr}", "{seed}", "{epochs}"), param="lr=1e-3..1e-1:log"):
        path = script(tmp_path, text)
        given = ["--param", param, "--epochs", 6, "--grace", 5, "--out", "run", *options]
        return lrkit("tune", *given, "--", *PYTHON, path, *command)

    return call


def test_it_ends_with_the_command_to_copy_and_the_same_again_runs_nothing(tune, tmp_path):
    outcome = tune("--budget", 30)
    assert outcome.code == 0, outcome
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert 1e-3 < report["lr"] < 1e-2
    last = outcome.out.rstrip().splitlines()[-1].strip()
    assert shlex.split(last) == report["best_command"]
    assert float(report["best_command"][3]) == report["lr"]
    for words in ["learning rate", "90 % interval", "status", "stopped", "search.png, report.json, trials/"]:
        assert words in outcome.out
    assert (tmp_path / "run" / "search.png").stat().st_size > 0
    assert outcome.err == ""
    runs = sorted((tmp_path / "run" / "trials").iterdir())

    again = tune("--budget", 30, "--json", "--no-plots")
    assert again.out.count("\n") == 1
    data = json.loads(again.out)
    assert {key: data[key] for key in ("lr", "trials", "member_steps", "best_command")} == {
        key: report[key] for key in ("lr", "trials", "member_steps", "best_command")
    }
    assert sorted((tmp_path / "run" / "trials").iterdir()) == runs

    refused = tune("--budget", 30, command=("{lr}", "{seed}", "5"))
    assert refused.code == 2
    assert "command was" in refused.err


def test_values_by_the_environment_and_a_csv(tune, tmp_path):
    text = """
import math, os, sys
lr = float(os.environ["LRKIT_LR"])
with open(os.environ["LRKIT_OUT"] + "/log.csv", "w") as log:
    log.write("epoch,score\\n")
    for epoch in range(int(os.environ["LRKIT_EPOCHS"])):
        log.write(f"{epoch},{1 - (math.log10(lr) + 2) ** 2}\\n")
"""
    outcome = tune(
        "--env",
        "--metric-csv",
        "log.csv:score",
        "--direction",
        "max",
        "--budget",
        "24",
        text=text,
        command=(),
    )
    assert outcome.code == 0, outcome
    last = outcome.out.rstrip().splitlines()[-1].split()
    assert last[0].startswith("LRKIT_LR=")
    assert "LRKIT_SEED=0" in last
    assert 5e-3 < float(last[0].removeprefix("LRKIT_LR=")) < 2e-2


def test_the_environment_is_passed_on_and_never_written_down(tune, tmp_path, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "s3cr3t-t0ken")
    text = "import os\nassert os.environ['API_TOKEN'] == 's3cr3t-t0ken'\n" + CURVE
    outcome = tune("--env", "--budget", 24, "--no-plots", text=text)
    assert outcome.code == 0, outcome
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if b"s3cr3t" in path.read_bytes()]


def test_a_script_that_fails_is_told_with_its_own_words(tune):
    outcome = tune(text="raise ImportError('no module named nn')")
    assert outcome.code == 1
    *notes, error = outcome.err.splitlines()
    assert ["counts as diverged" in note for note in notes] == [True, True]
    assert "3 trials, and all failed" in error
    assert "ImportError: no module named nn" in error


def test_a_failed_trial_is_named_in_the_table(tune):
    text = CURVE.replace("loss = math.nan", "sys.exit('overflow')")
    outcome = tune("--budget", 30, "--no-plots", text=text)
    assert outcome.code == 0, outcome
    assert "failed" in outcome.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--param", "lr=1e-5..1e-1:log", "--"], "there is no command"),
        (["--param", "lr=1e-5..1e-1:log", "--", "true"], "no use of {lr}"),
        (["--param", "lr=1e-5..1e-1:log", "--", "true", "{lr}", "{epochs}"], "give --epochs"),
        (["--param", "lr=1e-5..1e-1:log", "--", "true", "{lr}", "{sede}"], "did you mean 'seed'"),
        (["--param", "lr=1e-5..1e-1:lgo", "--", "true", "{lr}"], "did you mean 'log'"),
        (["--param", "lr=relu|gelu", "--", "true", "{lr}"], "lr is a range"),
        (["--param", "lr=1..2", "--param", "lr=2..3", "--", "true", "{lr}"], "given twice"),
        (["--", "true", "{lr}"], "add its range"),
        (["--param", "lr=1..2", "--", "no-such-program", "{lr}"], "no program 'no-such-program'"),
        (["--param", "lr=1..2", "--metric", "a", "--metric-regex", "b", "--", "true", "{lr}"], "one place"),
        (["--param", "lr=1..2", "--metric-csv", "a.csv", "--", "true", "{lr}"], "FILE:COLUMN"),
        (["--param", "lr=1..2", "--metric-regex", "(", "--", "true", "{lr}"], "no regular expression"),
        (["digits", "--param", "lr=1..2", "--", "true", "{lr}"], "unexpected extra argument"),
        (["--epochs", "3", "python", "train.py", "--lr", "{lr}"], "two dashes go before a command"),
        (["--schedule", "wsd", "--", "true", "{lr}"], "--schedule"),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_what_is_wrong_is_one_line_before_anything_runs(lrkit, tmp_path, args, words):
    outcome = lrkit("tune", *args)
    assert outcome.code == 2, outcome
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_help_tells_of_both_and_each_has_its_own(lrkit):
    task, command = lrkit("tune", "--help"), lrkit("tune", "--help", "--")
    assert "lrkit tune --help --" in task.out
    assert "--device" in task.out
    assert "-- COMMAND" in command.out
    assert "--metric-regex" in command.out
    assert "--device" not in command.out


def test_a_folder_without_a_name_is_called_after_the_script(lrkit, tmp_path):
    path = script(tmp_path, "print('{\"loss\": 1}')", "my_net.py")
    outcome = lrkit(
        "tune",
        "--param",
        "lr=1e-3..1e-2",
        "--budget",
        5,
        "--no-plots",
        "--",
        sys.executable,
        "-S",
        path,
        "{lr}",
    )
    assert outcome.code == 0, outcome
    assert "could not tell" in outcome.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("my_net-")
