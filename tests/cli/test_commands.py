"""What each command prints and writes when all is well."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lrkit.cli.folders import new_run_folder, remove_unused
from lrkit.plan import Plan
from lrkit.plot import rate_text
from lrkit.range_test import RangeTest
from lrkit.spec import CATALOG


def only_object(outcome):
    """The one JSON object on standard output."""
    assert outcome.code == 0, outcome
    assert outcome.out.count("\n") == 1
    return json.loads(outcome.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


class TestTune:
    def test_it_tells_the_answer_and_leaves_the_run_folder(self, lrkit, task_file, tmp_path):
        outcome = lrkit("tune", task_file(), "--out", "run")
        assert outcome.code == 0, outcome
        plan = Plan.load(tmp_path / "run" / "plan.toml")
        for words in [
            "learning rate",
            "90 % interval",
            "as good",
            "of a grid of 32 rates",
            "test loss",
            "from_plan",
        ]:
            assert words in outcome.out
        assert f"learning rate   {rate_text(plan.lr)}" in outcome.out
        for name in ["plan.toml", "find.png", "search.png", "training.png", "checkpoint.pt", "report.json"]:
            assert (tmp_path / "run" / name).stat().st_size > 0
            assert name in outcome.out

    def test_off_a_terminal_there_are_no_colours_and_no_progress(self, lrkit, task_file):
        outcome = lrkit("tune", task_file(), "--no-plots", "--out", "run")
        assert "\x1b" not in outcome.out + outcome.err
        assert outcome.err == ""

    def test_json_is_one_object_and_what_the_task_prints_goes_elsewhere(self, lrkit, task_file):
        outcome = lrkit("tune", task_file(before="print('hello')"), "--json", "--no-plots", "--out", "run")
        data = only_object(outcome)
        promised = {"lr", "interval", "schedule", "member_steps", "seconds", "metrics", "out"}
        assert promised <= set(data)
        assert "hello" in outcome.err

    def test_a_default_folder_is_new_each_time(self, lrkit, task_file, tmp_path):
        task = task_file()
        folders = [only_object(lrkit("search", task, "--json", "--no-plots"))["out"] for _ in range(2)]
        assert [re.fullmatch(r"runs/tiny-\d{4}-\d\d-\d\d-(\d)", folder)[1] for folder in folders] == [
            "1",
            "2",
        ]
        assert all((tmp_path / folder / "study.db").exists() for folder in folders)

    def test_the_same_command_again_does_no_work_twice(self, lrkit, task_file):
        task = task_file()
        first, again = (
            only_object(lrkit("tune", task, "--json", "--no-plots", "--out", "run")) for _ in range(2)
        )
        timeless = {key: value for key, value in first.items() if key != "seconds"}
        assert timeless == {key: value for key, value in again.items() if key != "seconds"}


class TestFind:
    def test_it_draws_and_tells_the_bracket(self, lrkit, task_file, tmp_path):
        before = set(tmp_path.iterdir())
        outcome = lrkit("find", task := task_file(), "--steps", "60")
        assert outcome.code == 0, outcome
        assert "\u28c0" in outcome.out or "\u2809" in outcome.out
        assert "bracket" in outcome.out
        assert f"lrkit tune {task}" in outcome.out
        written = {path.name for path in set(tmp_path.iterdir()) - before}
        assert written - {"__pycache__"} == {"tiny.py"}, "Python alone may keep what it compiled"

    def test_out_keeps_the_result(self, lrkit, task_file, tmp_path):
        data = only_object(lrkit("find", task_file(), "--steps", "60", "--json", "--out", "kept"))
        assert RangeTest.load(tmp_path / "kept" / "find.json").suggestion == data["suggestion"]
        assert (tmp_path / "kept" / "find.png").exists()

    def test_options_reach_the_sweep(self, lrkit, task_file):
        data = only_object(
            lrkit(
                "find",
                task_file(),
                "--steps",
                "100",
                "--repeats",
                "2",
                "--rule",
                "steep",
                "--low",
                "1e-6",
                "--json",
            )
        )
        assert len(data["losses"]) == 2
        assert data["rule"] == "steep"


class TestSearchAndTrain:
    def test_a_searched_plan_trains(self, lrkit, task_file, tmp_path):
        task = task_file()
        found = only_object(lrkit("search", task, "--json", "--out", "run", "--epochs", "2"))
        assert (tmp_path / "run" / "search.png").exists()
        trained = only_object(lrkit("train", "run/plan.toml", task, "--json", "--out", "final"))
        assert trained["lr"] == found["lr"]
        assert trained["training_steps"] == Plan.load(tmp_path / "run" / "plan.toml").horizon.steps
        assert "test loss" in trained["metrics"]
        assert {path.name for path in (tmp_path / "final").iterdir()} >= {
            "plan.toml",
            "checkpoint.pt",
            "training.png",
        }

    def test_a_bracket_replaces_the_range_test(self, lrkit, task_file, tmp_path):
        data = only_object(
            lrkit(
                "search",
                task_file(),
                "--json",
                "--no-plots",
                "--low",
                "1e-3",
                "--high",
                "1e-1",
                "--out",
                "run",
            )
        )
        report = json.loads((tmp_path / "run" / "report.json").read_text())
        assert report["search"]["range_test"] is None
        assert data == {key: report[key] for key in data}, "what is printed is the head of the report"

    def test_an_empty_folder_name_is_a_mistake(self, lrkit, task_file, tmp_path):
        """`--out "$UNSET"` would fill the current folder."""
        for command in ("search", "find", "tune"):
            outcome = lrkit(command, task_file(), "--out", "")
            assert outcome.code == 2
            assert "it is empty" in outcome.err
        assert [path.name for path in tmp_path.iterdir()] == ["tiny.py"]

    def test_what_a_reader_must_know_is_told_off_a_terminal_too(self, lrkit, task_file):
        line = ["search", task_file(), "--low", "1e-3", "--high", "1e-1", "--no-plots", "--out", "run"]
        assert lrkit(*line).err == ""
        again = lrkit(*line, "--budget", "100", "--json")
        assert "nothing further is trained" in again.err
        assert len(again.err.splitlines()) == 1
        assert only_object(again)["ended_by"] == "budget"

    def test_the_screen_names_the_next_command(self, lrkit, task_file):
        task = task_file()
        outcome = lrkit("search", task, "--no-plots", "--out", "run")
        assert "lrkit train run/plan.toml tiny.py:task" in outcome.out
        outcome = lrkit("train", "run/plan.toml", task, "--out", "final")
        assert outcome.code == 0, outcome
        assert "test loss" in outcome.out

    def test_a_training_that_diverges_is_exit_1(self, lrkit, task_file):
        task = task_file()
        lrkit("search", task, "--no-plots", "--out", "run")
        task_file(value="value * (float('nan') if len(calls) > 12 else 1)")
        outcome = lrkit("train", "run/plan.toml", task, "--no-plots", "--out", "final")
        assert outcome.code == 1
        assert "not finite at step" in outcome.err


class TestPlot:
    def test_every_spec_is_drawn_with_its_limits(self, lrkit, tmp_path):
        outcome = lrkit(
            "plot", "warmup(5%) >> cosine(to=0)", "linear(to=0.5)", "--steps", "200", "-o", "a.svg"
        )
        assert outcome.code == 0, outcome
        assert outcome.out.count("\u2514") == 2
        assert "warmup(5%) >> cosine(to=0)" in outcome.out
        assert "199" in outcome.out
        assert (tmp_path / "a.svg").read_text().startswith("<?xml")

    def test_units_need_their_horizon(self, lrkit):
        args = ["plot", "warmup(1 epochs) >> cosine(to=absolute(1e-5))", "--base-lr", "1e-3", "--json"]
        data = only_object(lrkit(*args, "--steps", "100", "--steps-per-epoch", "20"))
        first, second = data["schedules"][0]["phases"]
        assert (first["start"], first["stop"], second["stop"]) == (0, 20, 100)
        assert second["first"] == pytest.approx(1e-3)
        assert 1e-5 <= second["last"] < 2e-5


class TestSchedules:
    def test_every_schedule_is_listed(self, lrkit):
        outcome = lrkit("schedules")
        assert outcome.code == 0
        names = [line.split()[0] for line in outcome.out.splitlines() if line.strip()]
        assert [entry.name for entry in CATALOG] == [
            name for name in names if name in {e.name for e in CATALOG}
        ]

    @pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
    def test_every_schedule_can_be_explained(self, lrkit, entry):
        outcome = lrkit("schedules", entry.name)
        assert outcome.code == 0, outcome
        for words in [entry.name, entry.example, entry.source.split(",")[0], "\u2524"]:
            assert words in outcome.out

    def test_json_has_the_whole_catalog(self, lrkit):
        data = only_object(lrkit("schedules", "--json"))
        assert [each["name"] for each in data["schedules"]] == [entry.name for entry in CATALOG]
        (one,) = only_object(lrkit("schedules", "hold", "--json"))["schedules"]
        assert one["formula"] == next(entry.formula for entry in CATALOG if entry.name == "hold")


class TestNewTask:
    def test_the_file_is_python_and_says_what_to_do_next(self, lrkit, tmp_path):
        outcome = lrkit("new-task", "mine.py")
        assert outcome.code == 0
        assert "lrkit tune mine.py:task" in outcome.out
        compile((tmp_path / "mine.py").read_text(), "mine.py", "exec")

    def test_a_file_that_exists_is_kept(self, lrkit, tmp_path):
        (tmp_path / "mine.py").write_text("precious")
        outcome = lrkit("new-task", "mine.py")
        assert outcome.code == 2
        assert "--force" in outcome.err
        assert (tmp_path / "mine.py").read_text() == "precious"
        assert lrkit("new-task", "mine.py", "--force").code == 0
        assert (tmp_path / "mine.py").read_text() != "precious"

    def test_the_template_runs_as_it_is(self, lrkit):
        lrkit("new-task", "mine.py")
        found = only_object(lrkit("find", "mine.py:task", "--json"))
        assert found["suggestion"] is not None

    @pytest.mark.slow
    def test_the_template_tunes_to_a_good_model(self, tmp_path):
        for args in [["new-task", "mine.py"], ["tune", "mine.py:task", "--json", "--out", "run"]]:
            command = [sys.executable, "-m", "lrkit", *args]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["metrics"]["test accuracy"] > 0.9


class TestRunFolders:
    @pytest.mark.parametrize(
        ("task", "word"),
        [
            ("digits", "digits"),
            ("a/b/my task.py:thing", "my-task"),
            ("x.py:y", "x"),
            ("..", "task"),
            ("../..:x", "task"),
        ],
    )
    def test_a_folder_is_named_after_its_task_and_stays_below_its_root(self, tmp_path, task, word):
        import datetime

        folder = new_run_folder(task, root=tmp_path, today=datetime.date(2026, 1, 2))
        assert folder == tmp_path / f"{word}-2026-01-02-1"
        assert folder.is_dir()
        assert new_run_folder(task, root=tmp_path, today=datetime.date(2026, 1, 2)).name.endswith("-2")

    def test_processes_that_begin_at_once_have_a_folder_each(self, tmp_path):
        with ThreadPoolExecutor(16) as pool:
            folders = list(pool.map(lambda _: new_run_folder("digits", root=tmp_path / "runs"), range(64)))
        assert len(set(folders)) == 64

    def test_a_command_that_fails_at_once_leaves_no_folder(self, lrkit, tmp_path, task_file):
        outcome = lrkit("tune", task_file(), "--schedule", "hold(1000 steps) >> linear(to=0)")
        assert outcome.code == 2, outcome
        assert "1000 steps" in outcome.err
        assert not (tmp_path / "runs").exists()

    def test_only_an_empty_folder_of_its_own_making_is_removed(self, tmp_path):
        empty, used = (new_run_folder("digits", root=tmp_path) for _ in range(2))
        (used / "study.db").touch()
        (tmp_path / "mine").mkdir()
        for folder in (empty, used, tmp_path / "mine", tmp_path / "gone-2026-01-02-1"):
            remove_unused(folder, root=tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([used, tmp_path / "mine"])

    def test_a_place_that_cannot_be_written_is_told(self, lrkit, tmp_path, task_file):
        (tmp_path / "runs").touch()
        outcome = lrkit("tune", task_file())
        assert outcome.code == 1, outcome
        assert "cannot make the folder runs: " in outcome.err
