"""A mistake is one line that says what, where and what to do; its exit code says whose it was."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys

import pytest

from lrkit.cli.failures import explain
from lrkit.cli.session import Session
from lrkit.errors import LrkitError, PlanError, StudyError


def one_line(outcome, code):
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome
    assert lines[0].startswith("lrkit: ")
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["tnue", "digits"], "no command 'tnue'; did you mean 'tune'?"),
        (["tune"], "missing argument 'TASK'"),
        (["tune", "digits", "--epoch", "3"], "--epochs"),
        (["tune", "digits", "--epochs", "0"], "--epochs"),
        (["tune", "digits", "--epochs", "three"], "'three' is not a valid integer"),
        (["tune", "digits", "--seconds", "0"], "--seconds"),
        (["tune", "digits", "--epochs", "1", "--steps", "5"], "not both"),
        (["tune", "digts"], "did you mean 'digits'?"),
        (["tune", "digits", "--schedule", "cosin(to=0)"], "did you mean 'cosine'?"),
        (["tune", "digits", "--schedule", "warmup(5%) >> >> hold()"], "column"),
        (["tune", "digits", "--data", "."], "brings its own data"),
        (["tune", "mnist"], "--data"),
        (["tune", "mnist", "--data", "nowhere"], "nowhere"),
        (["tune", "nowhere.py:task"], "no such task file: nowhere.py"),
        (["tune", "nowhere.py"], "nowhere.py:task"),
        (["tune", "digits", "--device", "warp"], "warp"),
        (["find", "digits", "--rule", "kmim"], "did you mean 'kmin'?"),
        (["find", "digits", "--low", "1", "--high", "0.1"], "low= must be below high=: 1.0 is above 0.1"),
        (["find", "digits", "--low", "1e-3", "--high", "1e-3"], "low= must be below high=: both are 0.001"),
        (["find", "digits", "--low", "1e-3", "--high", "1.001e-3"], "leave nothing to sweep"),
        (["search", "digits", "--low", "1e-3"], "--low and --high"),
        (["search", "digits", "--low", "1e-3", "--high", "1.001e-3"], "nothing to search"),
        (["search", "digits", "--param", "lr=1e-3..1e-3"], "0.001..0.001 does not"),
        (["train", "nowhere.toml", "digits"], "nowhere.toml"),
        (["plot", "cosin(to=0)"], "did you mean 'cosine'?"),
        (["plot", "warmup(3 epochs) >> cosine(to=0)"], "steps_per_epoch"),
        (["plot", "cosine(to=absolute(1e-6))"], "base lr"),
        (["plot", "cosine(to=0)", "-o", "a.pgn"], "did you mean '.png'?"),
        (["plot", "cosine(to=0)", "-o", "nowhere/a.png"], "no folder 'nowhere'"),
        (["plot", "cosine(to=0)", "--steps", "0"], "--steps"),
        (["schedules", "cosin"], "did you mean 'cosine'?"),
        (["new-task", "task.txt"], "ends in .py"),
        (["new-task", "nowhere/task.py"], "no folder 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_line_and_exit_2(lrkit, tmp_path, args, words):
    assert words in one_line(lrkit(*args), 2)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_without_arguments_the_help_is_shown(lrkit):
    outcome = lrkit()
    assert outcome.code == 0
    assert "Commands:" in outcome.out


def test_a_task_file_that_raises_names_file_line_and_error(lrkit, tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\n\nboom = x / 0\n")
    line = one_line(lrkit("tune", "broken.py:task"), 2)
    assert "broken.py" in line
    assert "line 3" in line
    assert "ZeroDivisionError: division by zero" in line


def test_a_task_file_that_is_no_python_names_the_line(lrkit, tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")
    assert "broken.py, line 2" in one_line(lrkit("tune", "broken.py:task"), 2)


def test_a_misspelt_task_in_a_file_is_named(lrkit, task_file):
    task_file()
    assert "did you mean 'task'?" in one_line(lrkit("tune", "tiny.py:tsak"), 2)


@pytest.mark.parametrize("command", ["tune", "find", "search"])
@pytest.mark.parametrize("call", [1, 40])
def test_a_loss_that_raises_names_file_line_and_error(lrkit, task_file, command, call):
    task = task_file(before=f"if len(calls) >= {call}: raise RuntimeError('the cat sat\\non the data')")
    line = one_line(lrkit(command, task, "--no-plots"), 2)
    assert "tiny.py" in line
    assert "line 12" in line
    assert "RuntimeError: the cat sat on the data" in line


@pytest.mark.slow
def test_a_loss_that_raises_in_a_worker_names_file_line_and_error(task_file, tmp_path):
    task = task_file(before="if len(calls) >= 40: raise RuntimeError('bad batch')")
    arguments = ["search", task, "--workers", "2", "--low", "1e-3", "--high", "1e-1", "--out", "run"]
    told = subprocess.run(
        [sys.executable, "-m", "lrkit", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 2, told.stderr
    assert "Traceback" not in told.stderr
    assert "lrkit: tiny.py, line 12: RuntimeError: bad batch" in told.stderr


def test_an_empty_data_set_is_said(lrkit, task_file):
    """torch's DataLoader refuses to shuffle one: its words, and where in the task file."""
    line = one_line(lrkit("tune", task_file(rows="[:0]"), "--no-plots"), 2)
    assert "tiny.py, line 20" in line
    assert "num_samples=0" in line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "batch_size=8, shuffle=True",
            "batch_size=100, drop_last=True",
            "the train loader gives no batch: drop_last=True and fewer samples (64) than one batch",
        ),
        (
            "x, y), batch_size=8, shuffle=True",
            "x[:0], y[:0]), batch_size=8",
            "the train loader gives no batch: its data set is empty",
        ),
        ("    test=", "    validation=[],\n    test=", "the validation loader gave no batch"),
        (
            "TensorDataset(x, y), batch_size=64",
            "TensorDataset(x[:0], y[:0])",
            "the test loader gave no batch",
        ),
        ("    test=", "    final_train=[],\n    test=", "the final_train loader gave no batch"),
    ],
    ids=["train", "train of no samples", "validation", "test", "final_train"],
)
def test_a_loader_without_batches_is_named(lrkit, task_file, tmp_path, old, new, words):
    task = task_file()
    text = (tmp_path / "tiny.py").read_text()
    assert old in text
    (tmp_path / "tiny.py").write_text(text.replace(old, new))
    assert words in one_line(lrkit("tune", task, "--no-plots", "--out", "run"), 2)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_never_finite_is_said(lrkit, task_file):
    outcome = lrkit("tune", task_file(value="value * float('nan')"), "--no-plots")
    assert outcome.code in (1, 2)
    assert len(outcome.err.splitlines()) == 1
    assert outcome.out == ""


def test_a_range_test_without_an_answer_is_exit_1(lrkit, task_file):
    outcome = lrkit("find", task_file(value="value * 0 + model[0].weight.sum() * 0"), "--steps", "20")
    assert outcome.code == 1
    assert "none" in outcome.out
    assert outcome.err.splitlines()[-1].startswith("lrkit: no suggestion")


def test_a_folder_that_cannot_be_made_is_said(lrkit, task_file, tmp_path):
    (tmp_path / "file").write_text("")
    line = one_line(lrkit("tune", task_file(), "--no-plots", "--out", "file/run"), 1)
    assert "file/run" in line


def test_a_folder_of_another_run_is_refused(lrkit, task_file):
    task = task_file()
    assert lrkit("search", task, "--no-plots", "--out", "run").code == 0
    line = one_line(lrkit("search", task, "--no-plots", "--out", "run", "--epochs", "5"), 2)
    assert "other settings" in line


def test_debug_shows_where_it_happened(lrkit, task_file):
    with pytest.raises(LrkitError, match="digts"):
        lrkit("tune", "digts", "--debug")
    with pytest.raises(LrkitError, match="boom") as caught:
        lrkit("find", task_file(before="raise RuntimeError('boom')"), "--debug")
    assert isinstance(caught.value.__cause__, RuntimeError), "the traceback leads to the user's own line"


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch, lrkit):
    """What is nobody's mistake but lrkit's is not dressed up as one line."""
    monkeypatch.setattr("lrkit.spec.CATALOG", None)
    with pytest.raises(TypeError):
        lrkit("schedules")


def test_ctrl_c_says_how_to_go_on(lrkit, task_file):
    task = task_file(before="if len(calls) == 60: raise KeyboardInterrupt")
    outcome = lrkit("tune", task, "--no-plots", "--out", "run")
    assert outcome.code == 130, outcome
    assert outcome.err.strip().splitlines()[-1] == (
        "lrkit: interrupted; what was finished is kept: the same command with --out run goes on from there"
    )
    assert lrkit("tune", task_file(), "--no-plots", "--out", "run").code == 0


def test_ctrl_c_before_anything_was_written_says_so(lrkit, task_file):
    outcome = lrkit("find", task_file(before="raise KeyboardInterrupt"))
    assert outcome.code == 130
    assert outcome.err.strip().splitlines()[-1] == "lrkit: interrupted before anything was written"


def test_ctrl_c_in_a_folder_that_holds_a_study_says_how_to_go_on(lrkit, task_file, tmp_path):
    """Before the search is at its study again, and before there is a first result."""
    assert lrkit("search", task_file(), "--no-plots", "--out", "run").code == 0
    on = "lrkit: interrupted; what was finished is kept: the same command with --out run goes on from there"
    interrupted = task_file(before="raise KeyboardInterrupt")
    outcome = lrkit("search", interrupted, "--no-plots", "--out", "run")
    assert outcome.code == 130
    assert outcome.err.strip().splitlines()[-1] == on
    fresh = lrkit("search", interrupted, "--no-plots", "--out", "new")
    assert fresh.err.strip().splitlines()[-1] == "lrkit: interrupted before anything was written"
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_is_full_is_one_line_and_exit_1(task_file, tmp_path):
    """A limit on the size of files stands for the disk: the system refuses the write in the same way."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from lrkit.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "tune", task_file(), "--no-plots", "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lrkit: ")


def raised(error, cause=None):
    """`error` as it arrives: raised, from its cause if it has one."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (raised(StudyError("no room"), OSError(errno.ENOSPC, "No space left on device")), 1, "no room"),
        (raised(StudyError("no room"), sqlite3.OperationalError("database or disk is full")), 1, "no room"),
        (
            raised(StudyError("is the disk full?"), RuntimeError("PytorchStreamWriter failed")),
            1,
            "is the disk full?",
        ),
        (raised(StudyError("other settings")), 2, "other settings"),
        (raised(LrkitError("cannot save"), OSError(errno.EROFS, "Read-only file system")), 1, "cannot save"),
        (raised(PlanError("no plan"), FileNotFoundError(errno.ENOENT, "No such file")), 2, "no plan"),
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), 1, "a.json: No space left on device"),
        (MemoryError(), 1, "out of memory: make the batches or the model smaller"),
    ],
    ids=lambda value: str(value) if isinstance(value, BaseException) else "",
)
def test_the_machine_is_told_from_the_user(error, code, words):
    failure = explain(error, Session())
    assert failure.code == code
    assert failure.line.startswith(words)
