"""`lrkit export-study` as a user meets it: a run folder becomes a file that Optuna opens."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing, contextmanager

import numpy as np
import pytest

from lrkit.search import Result, SqliteStudy
from lrkit.search.loss_curves import LossCurves
from lrkit.search.optuna_file import CURVE_POINTS
from lrkit.search.optuna_trials import from_trial
from lrkit.search.space import Choice, Space
from search.command.scripts import CURVE, PYTHON, script

SPACE = Space({"batch_size": Choice((16, 32))})
SETTINGS = {"task": "toy", "objective": "validation loss", "steps": 200, "space": SPACE.to_dict()}
RESULTS = (
    Result(1e-3, 0, 60, 0.5, False, 60, 0.5, (("loss", 0.5),), (("batch_size", 32),)),
    Result(1.0, 0, 7, float("nan"), True, 7, 0.5, (), (("batch_size", 16),)),
    Result(1e-3, 0, 200, 0.1 + 0.2, False, 140, 0.5, (("loss", 0.3),), (("batch_size", 32),)),
)


@pytest.fixture
def run_folder(tmp_path):
    """A study with loss curves, under the given settings; made, not searched."""

    def make(**changes):
        folder = tmp_path / "run"
        with SqliteStudy(folder, SETTINGS | changes) as study:
            for result in RESULTS:
                study.add(result)
        curves = LossCurves(folder / "curves.bin")
        curves.append(RESULTS[0].key, 0, np.arange(60) / 4)
        curves.append(RESULTS[2].key, 60, np.arange(60, 200) / 4)
        return folder

    return make


@contextmanager
def opened(file):
    """The one study in `file`, through Optuna's own reader."""
    import optuna
    from sqlalchemy.pool import NullPool

    url = f"sqlite:///{file}"
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    (only,) = storage.get_all_studies()
    yield optuna.load_study(study_name=only.study_name, storage=storage)
    storage.remove_session()


def test_optuna_opens_what_was_exported(lrkit, run_folder, tmp_path):
    outcome = lrkit("export-study", run_folder(), "--to", "optuna", "--out", "study.db")
    assert outcome.code == 0, outcome
    assert outcome.out == "3 trials in study.db; open it with: optuna-dashboard sqlite:///study.db\n"
    assert outcome.err == ""
    with opened(tmp_path / "study.db") as study:
        trials = study.trials
        assert (study.study_name, study.direction.name) == ("toy", "MINIMIZE")
        assert study.user_attrs["steps"] == 200
    assert repr(tuple(map(from_trial, trials))) == repr(RESULTS)
    assert [trial.state.name for trial in trials] == ["PRUNED", "FAIL", "COMPLETE"]
    assert trials[2].params == {"lr": 1e-3, "batch_size": 32}


def test_the_study_of_a_command_is_exported_too(lrkit, tmp_path):
    path = script(tmp_path, CURVE)
    given = ["--param", "lr=1e-3..1e-1:log", "--epochs", 6, "--budget", 30, "--grace", 5, "--no-plots"]
    lrkit("tune", *given, "--out", "run", "--", *PYTHON, path, "{lr}", "{seed}", "{epochs}")
    outcome = lrkit("export-study", "run", "--out", "study.db")
    assert outcome.code == 0, outcome
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    with opened(tmp_path / "study.db") as study:
        assert study.study_name == "run"
        assert study.user_attrs["command"][-1] == "{epochs}"
        full = {trial.user_attrs["steps"] for trial in study.trials if trial.state.name == "COMPLETE"}
        part = {trial.user_attrs["steps"] for trial in study.trials if trial.state.name == "PRUNED"}
        assert full == {6}
        assert part
        assert max(part) < 6
        assert sum(trial.user_attrs["cost"] for trial in study.trials) == report["member_steps"]


def test_the_loss_curves_become_intermediate_values(lrkit, run_folder, tmp_path):
    lrkit("export-study", run_folder(), "--out", "study.db")
    with opened(tmp_path / "study.db") as study:
        first, burst, last = (trial.intermediate_values for trial in study.trials)
    assert len(first) == len(last) == CURVE_POINTS
    assert all(value == (step - 1) / 4 for step, value in {**first, **last}.items())
    assert (min(first), max(first), min(last), max(last)) == (1, 60, 61, 200)
    assert burst == {}


def test_without_curves_the_objective_is_the_intermediate_value(lrkit, run_folder, tmp_path):
    folder = run_folder()
    (folder / "curves.bin").unlink()
    lrkit("export-study", folder, "--out", "study.db")
    with opened(tmp_path / "study.db") as study:
        assert [trial.intermediate_values for trial in study.trials] == [{60: 0.5}, {}, {200: 0.1 + 0.2}]


def test_a_study_in_use_is_exported_and_left_as_it_is(lrkit, run_folder, tmp_path):
    folder = run_folder()
    with SqliteStudy(folder, SETTINGS) as study:
        outcome = lrkit("export-study", folder, "--out", "study.db", "--json")
        assert json.loads(outcome.out) == {"trials": 3, "out": "study.db"}
        assert len(study.results()) == 3


def test_a_metric_asks_for_its_direction(lrkit, run_folder, tmp_path):
    folder = run_folder(objective="accuracy")
    outcome = lrkit("export-study", folder, "--out", "study.db")
    assert outcome.code == 2
    assert "more of its objective, 'accuracy', is better: say direction 'max' or 'min'" in outcome.err
    assert not (tmp_path / "study.db").exists()
    assert lrkit("export-study", folder, "--out", "study.db", "--direction", "max").code == 0
    with opened(tmp_path / "study.db") as study:
        assert study.direction.name == "MAXIMIZE"


def test_a_file_that_is_there_is_left_alone(lrkit, run_folder):
    folder = run_folder()
    before = (folder / "study.db").read_bytes()
    outcome = lrkit("export-study", folder, "--out", folder / "study.db")
    assert outcome.code == 2
    assert "is there already: choose another file" in outcome.err
    assert (folder / "study.db").read_bytes() == before


def test_what_is_no_study_is_told(lrkit, tmp_path):
    (tmp_path / "run").mkdir()
    assert "no study in run: there is no study.db" in lrkit("export-study", "run", "--out", "x.db").err
    (tmp_path / "run" / "study.db").write_text("a text, and a long one at that" * 100)
    assert "as a study of lrkit: file is not a database" in lrkit("export-study", "run", "--out", "x.db").err
    (tmp_path / "run" / "study.db").unlink()
    with closing(sqlite3.connect(tmp_path / "run" / "study.db")) as other:
        other.execute("create table things (name text)")
    assert "as a study of lrkit: no such table" in lrkit("export-study", "run", "--out", "x.db").err
    assert not (tmp_path / "x.db").exists()


def test_a_folder_of_studies_names_them(lrkit, run_folder, tmp_path):
    folder = run_folder()
    (tmp_path / "comparison").mkdir()
    for name in ("1-step", "2-cosine"):
        (tmp_path / "comparison" / name).mkdir()
        (tmp_path / "comparison" / name / "study.db").write_bytes((folder / "study.db").read_bytes())
    outcome = lrkit("export-study", "comparison", "--out", "x.db")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    named = [f"comparison/{name}" for name in ("1-step", "2-cosine")]
    assert f"name one of those below it: {', '.join(named)}" in outcome.err
    assert lrkit("export-study", named[1], "--out", "x.db").code == 0


def test_a_study_of_another_format_is_told_with_its_own_path(lrkit, run_folder):
    folder = run_folder()
    with closing(sqlite3.connect(folder / "study.db")) as study, study:
        study.execute("update meta set value = '9' where key = 'format'")
    outcome = lrkit("export-study", folder, "--out", "x.db")
    assert outcome.code == 2
    assert f"{folder / 'study.db'} has format 9" in outcome.err


def test_without_optuna_the_extra_is_named(lrkit, run_folder, monkeypatch):
    folder = run_folder()
    monkeypatch.setitem(sys.modules, "optuna", None)
    outcome = lrkit("export-study", folder, "--out", "x.db")
    assert (outcome.code, outcome.out) == (2, "")
    assert "pip install 'lrkit[search]'" in outcome.err


def test_wrong_arguments_are_told(lrkit, run_folder):
    folder = run_folder()
    for args, words in (
        (("postgresql://host/db", "--out", "x.db"), "say which with --study"),
        ((folder, "--study", "toy", "--out", "x.db"), "a run folder has one study"),
        (
            ("mysql://me:hunter2@host/db", "--study", "toy", "--out", "x.db"),
            "through PostgreSQL, not through 'mysql'",
        ),
        (
            ("postgresql://me:hunter2@127.0.0.1:9/db", "--study", "toy", "--out", "x.db"),
            "cannot reach the study's server",
        ),
        ((folder, "--to", "csv", "--out", "x.db"), "'csv' is not 'optuna'"),
        ((folder,), "missing option '--out'"),
        ((folder, "--out", folder / "study.db" / "x.db"), "cannot make the folder"),
    ):
        outcome = lrkit("export-study", *args)
        assert outcome.code in (1, 2), outcome
        assert words in outcome.err
        assert "hunter2" not in outcome.err
        assert outcome.err.count("\n") == 1
