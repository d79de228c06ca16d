"""What `lrkit search` leaves in its folder: the report, the pictures, and what of them a tuning has alike."""

from __future__ import annotations

import json

import pytest

from lrkit.plan import Plan


def report_in(folder):
    text = (folder / "report.json").read_text()
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_search_leaves_its_report_and_what_its_range_test_and_its_trials_saw(lrkit, task_file, tmp_path):
    outcome = lrkit("search", task_file(), "--steps", "12", "--budget", "200", "--seed", "3", "--out", "run")
    assert outcome.code == 0, outcome
    folder, plan = tmp_path / "run", Plan.load(tmp_path / "run" / "plan.toml")
    for name in ["plan.toml", "report.json", "find.png", "search.png"]:
        assert (folder / name).stat().st_size > 0
        assert name in outcome.out
    report = report_in(folder)
    assert report["version"] == 1
    assert (report["lr"], tuple(report["interval"])) == (plan.lr, plan.evidence.interval)
    assert (report["status"], report["trials"]) == (plan.evidence.status, plan.evidence.trials)
    assert report["member_steps"] == plan.evidence.member_steps <= 200
    assert report["seconds"] > 0
    assert report["versions"] == dict(plan.evidence.versions)
    assert report["settings"] == {
        "steps": 12,
        "method": "auto",
        "space": {},
        "bracket": None,
        "budget": 200,
        "seconds": None,
        "seed": 3,
    }
    assert len(report["search"]["trials"]) == report["trials"]
    assert report["search"]["range_test"]["bracket"]


def test_what_a_tuning_has_too_it_has_alike(lrkit, task_file, tmp_path):
    task = task_file()
    for command in ("search", "tune"):
        assert lrkit(command, task, "--no-plots", "--out", command).code == 0
    searched, tuned = report_in(tmp_path / "search"), report_in(tmp_path / "tune")
    assert tuned.keys() - searched.keys() == {"training_steps", "metrics", "diverged"}
    assert not searched.keys() - tuned.keys()
    timed = {"out", "seconds", "search"}
    assert {key: searched[key] for key in searched if key not in timed} == {
        key: tuned[key] for key in searched if key not in timed
    }
    assert searched["search"].keys() == tuned["search"].keys()


def test_what_was_asked_stands_in_the_settings(lrkit, task_file, tmp_path):
    arguments = ["--method", "grid", "--param", "weight_decay=1e-3..1e-1:log", "--param", "lr=1e-3..1e-1:log"]
    outcome = lrkit("search", task_file(), "--steps", "12", "--budget", "120", *arguments, "--out", "run")
    assert outcome.code == 0, outcome
    report = report_in(tmp_path / "run")
    assert report["settings"]["method"] == "grid"
    assert report["settings"]["bracket"] == [1e-3, 1e-1]
    assert list(report["settings"]["space"]) == ["weight_decay"]
    assert list(report["values"]) == ["weight_decay"]
    assert report["search"]["range_test"] is None
    assert not (tmp_path / "run" / "find.png").exists(), "there was no range test to draw"


def test_groups_that_the_search_leaves_alone_are_in_the_report(lrkit, task_file, tmp_path):
    task = task_file()
    path = tmp_path / "tiny.py"
    path.write_text(
        path.read_text()
        + "import dataclasses\n"
        + "task = dataclasses.replace(task, optimizer=lambda model, lr: torch.optim.SGD(\n"
        + "    [{'params': model[0].parameters()}, {'params': model[2].parameters(), 'lr': 0.1}], lr=lr))\n"
    )
    assert lrkit("search", task, "--no-plots", "--out", "run").code == 0
    assert report_in(tmp_path / "run")["unscaled_groups"] == ["1"]


def test_the_same_command_again_leaves_the_same_report_and_pictures(lrkit, task_file, tmp_path):
    task, folder = task_file(), tmp_path / "run"
    kept = []
    for _ in range(2):
        assert lrkit("search", task, "--out", "run").code == 0
        kept.append([(folder / name).read_bytes() for name in ("report.json", "find.png", "search.png")])
    assert kept[0] == kept[1]


def test_a_report_that_cannot_be_written_is_one_clear_line_and_leaves_nothing_half(
    lrkit, task_file, tmp_path
):
    (tmp_path / "run" / "report.json").mkdir(parents=True)
    outcome = lrkit("search", task_file(), "--no-plots", "--out", "run")
    assert outcome.code == 1
    assert "cannot write run/report.json" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list((tmp_path / "run").glob(".report.json*"))
    assert Plan.load(tmp_path / "run" / "plan.toml").lr > 0, "the answer is kept"
