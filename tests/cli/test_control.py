"""Where a command takes a schedule it takes controllers, too: SPEC & plateau(...)."""

from __future__ import annotations

import json

from lrkit.plan import Plan

SPEC = "warmup(5%) >> hold() & plateau(patience=5, after=5%)"


def test_plot_draws_the_schedule_and_says_what_it_cannot_draw(lrkit):
    outcome = lrkit("plot", SPEC, "hold()", "--steps", "100")
    assert outcome.code == 0, outcome
    assert "\n  warmup(5%) >> hold()\n" in outcome.out
    told = "not drawn: plateau(patience=5, after=5%) multiplies this by what the metric calls for"
    assert outcome.out.count("not drawn") == 1
    assert told in outcome.out


def test_plot_as_json_names_the_controllers(lrkit):
    outcome = lrkit("plot", SPEC, "--steps", "100", "--json")
    (drawn,) = json.loads(outcome.out)["schedules"]
    assert (drawn["schedule"], drawn["control"]) == (
        "warmup(5%) >> hold()",
        ["plateau(patience=5, after=5%)"],
    )


def test_a_mistake_in_a_controller_is_one_line_with_its_column(lrkit):
    outcome = lrkit("plot", "hold() & platau()")
    assert outcome.code == 2
    assert (
        "unknown controller 'platau' at column 10 of 'hold() & platau()'; did you mean 'plateau'"
        in outcome.err
    )


def test_a_search_writes_a_plan_with_control_and_a_training_follows_it(lrkit, task_file, tmp_path):
    task = task_file()
    found = lrkit("search", task, "--schedule", SPEC, "--json", "--no-plots", "--out", "found")
    assert found.code == 0, found
    assert json.loads(found.out)["control"] == ["plateau(patience=5, after=5%)"]
    assert Plan.load(tmp_path / "found" / "plan.toml").control == ("plateau(patience=5, after=5%)",)
    trained = lrkit("train", "found/plan.toml", task, "--json", "--no-plots", "--out", "trained")
    assert trained.code == 0, trained
    assert json.loads(trained.out)["control"] == ["plateau(patience=5, after=5%)"]
    rows = [json.loads(line) for line in (tmp_path / "trained" / "record.jsonl").read_text().splitlines()]
    assert any("validation loss" in row for row in rows)
    again = lrkit("search", task, "--schedule", "warmup(5%) >> hold()", "--no-plots", "--out", "found")
    assert again.code == 2
    assert "control" in again.err


def test_tune_takes_it_too_and_its_final_training_has_something_to_watch(lrkit, task_file, tmp_path):
    outcome = lrkit("tune", task_file(), "--schedule", SPEC, "--no-plots", "--out", "run")
    assert outcome.code == 0, outcome
    assert "warmup(5%) >> hold() & plateau(patience=5, after=5%)" in outcome.out
    assert '"validation loss"' in (tmp_path / "run" / "record.jsonl").read_text()


def test_the_controllers_are_listed_and_explained(lrkit):
    listed = lrkit("schedules")
    assert any(line.split()[:1] == ["plateau"] for line in listed.out.splitlines())
    told = lrkit("schedules", "plateau")
    assert told.code == 0
    for words in ["plateau(mode=min, factor=0.1", "ReduceLROnPlateau", "a decay laid over it ends lower"]:
        assert words in told.out
    data = json.loads(lrkit("schedules", "--json").out)
    assert [each["name"] for each in data["controllers"]] == ["plateau"]
    assert json.loads(lrkit("schedules", "plateau", "--json").out)["controllers"][0]["rule"]
    near = lrkit("schedules", "platau")
    assert near.code == 2
    assert "did you mean 'plateau'?" in near.err
