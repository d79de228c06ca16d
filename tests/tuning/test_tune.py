"""The main job on a small task: what it answers, what it leaves on disk, and what happens the second time."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import pytest
import torch

import lrkit
from lrkit.errors import LrkitError, StudyError, TaskError
from lrkit.records import read_record
from lrkit.training import Route, load_checkpoint
from toys import fingerprint, random_states, toy_task

FILES = {
    "plan.toml",
    "report.json",
    "study.db",
    "curves.bin",
    "record.jsonl",
    "checkpoint.pt",
    "find.png",
    "search.png",
    "training.png",
}


def timeless(plan: lrkit.Plan) -> lrkit.Plan:
    return dataclasses.replace(plan, evidence=dataclasses.replace(plan.evidence, date=None, seconds=None))


@pytest.fixture(scope="module", autouse=True)
def trained_one_by_one():
    """The route is chosen by time: two searches that took different ones would differ by rounding."""
    with pytest.MonkeyPatch.context() as patch:
        route = Route(name="loop", reason="a test")
        patch.setattr("lrkit.training.population._population.choose_route", lambda *_, **__: route)
        yield


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "toy"
    before = fingerprint(random_states())
    tuning = lrkit.tune(toy_task(steps=160), out=out)
    assert fingerprint(random_states()) == before, "the caller's random generators are left alone"
    return tuning


def test_a_run_folder_holds_the_answer_and_its_evidence(tuned):
    assert {path.name for path in tuned.out.iterdir()} >= FILES
    plan = lrkit.Plan.load(tuned.out / "plan.toml")
    assert plan == tuned.plan
    assert plan.lr == tuned.search.lr
    assert plan.evidence.interval[0] <= plan.lr <= plan.evidence.interval[1]
    record = read_record(tuned.out / "record.jsonl")
    assert record.steps.tolist() == list(range(160))
    assert (
        load_checkpoint(tuned.out / "checkpoint.pt")["model"].keys()
        == tuned.training.model.state_dict().keys()
    )
    report = json.loads((tuned.out / "report.json").read_text())
    assert report["lr"] == plan.lr
    assert report["metrics"] == tuned.metrics


def test_the_search_costs_less_than_a_quarter_of_the_grid(tuned):
    assert 0 < tuned.member_steps <= tuned.grid_steps / 4
    assert tuned.grid_steps == 32 * 160
    assert tuned.training_steps == 160
    assert math.isfinite(tuned.metrics["test accuracy"])


def test_the_same_call_does_nothing_twice_and_gives_the_same_answer(tuned, monkeypatch):
    from lrkit.training.run import Run

    updates = []
    monkeypatch.setattr(Run, "_update", lambda *args, **kwargs: updates.append(1))
    again = lrkit.tune(toy_task(steps=160), out=tuned.out, plots=False)
    assert not updates
    assert timeless(again.plan) == timeless(tuned.plan)
    assert again.metrics == tuned.metrics
    assert fingerprint(again.training.model.state_dict()) == fingerprint(tuned.training.model.state_dict())


def test_an_answer_without_a_folder_is_the_same_answer(tuned):
    free = lrkit.tune(toy_task(steps=160))
    assert free.out is None
    assert timeless(free.plan) == timeless(tuned.plan)
    assert free.metrics == tuned.metrics


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 161}, {"schedule": "hold()"}])
def test_another_search_on_the_same_folder_is_refused(tuned, change):
    with pytest.raises(StudyError, match=r"another|differ|other"):
        lrkit.tune(toy_task(steps=160), out=tuned.out, plots=False, **change)


def test_named_groups_reach_the_plan():
    def two_groups(model, lr):
        body = {"params": model[0].parameters(), "name": "body", "lr": lr / 10}
        return torch.optim.AdamW([body, {"params": model[-1].parameters(), "name": "head"}], lr=lr)

    plan = lrkit.tune(toy_task(optimizer=two_groups, steps=120)).plan
    assert plan.optimizer.name == "task"
    assert plan.groups["head"].lr == plan.lr
    assert plan.groups["body"].lr == pytest.approx(plan.lr / 10)


def test_a_metric_can_be_the_objective():
    tuning = lrkit.tune(toy_task(objective="accuracy", direction="max", steps=120))
    assert tuning.plan.evidence.objective == "accuracy"
    assert 0 < tuning.search.objective <= 1.001


def nan_loss(model, batch):
    return model(batch[0]).sum() * math.nan


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"loss": nan_loss}, LrkitError),
        ({"train": []}, TaskError),
        ({"loss": lambda model, batch: 1 / 0}, TaskError),
    ],
    ids=["NaN at any rate", "empty loader", "raises"],
)
def test_what_cannot_be_tuned_is_one_clear_error_and_leaves_nothing_half_written(tmp_path, changes, error):
    with pytest.raises(error) as caught:
        lrkit.tune(toy_task(**changes), out=tmp_path / "run", plots=False)
    assert "\n" not in str(caught.value)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not any(name.endswith(".part") or name == "plan.toml" for name in left)


def test_an_interrupted_final_training_goes_on_with_the_same_call(tmp_path, tuned):
    calls = 0

    class Stop(Exception):
        pass

    class Stopping:
        """A reporter is told of every update: here it stands for Ctrl-C in the final training."""

        def stage(self, name, total):
            self.name = name

        def advance(self, steps, *, loss, lr):
            nonlocal calls
            calls += self.name == "training"
            if calls == 30:
                raise Stop

        def note(self, text): ...

        def close(self): ...

    with pytest.raises(Stop):
        lrkit.tune(toy_task(steps=160), out=tmp_path / "run", plots=False, reporter=Stopping())
    resumed = lrkit.tune(toy_task(steps=160), out=tmp_path / "run", plots=False)
    assert timeless(resumed.plan) == timeless(tuned.plan)
    assert resumed.metrics == tuned.metrics


def test_a_search_that_time_cut_short_stays_as_it_was_once_the_training_has_begun(tmp_path):
    call = {"out": tmp_path / "run", "plots": False}
    cut = lrkit.tune(toy_task(steps=160), seconds=0.0, **call)
    assert "seconds=" in cut.search.reason
    again = lrkit.tune(toy_task(steps=160), seconds=600.0, **call)
    assert timeless(again.plan) == timeless(cut.plan)


def test_a_refused_budget_leaves_nothing_behind(tmp_path) -> None:
    with pytest.raises(StudyError, match="too small"):
        lrkit.tune(toy_task(), steps=40, budget=5, out=tmp_path / "run", plots=False)
    assert not (tmp_path / "run").exists()


def test_groups_that_no_rate_reaches_are_in_the_report(tmp_path) -> None:
    def optimizer(model, lr):
        parameters = list(model.parameters())
        rest = {"params": parameters[1:], "lr": 1e-3, "name": "head"}
        return torch.optim.SGD([{"params": parameters[:1], "name": "body"}, rest], lr=lr)

    found = lrkit.tune(toy_task(optimizer=optimizer), steps=40, out=tmp_path / "run", plots=False)
    assert found.unscaled_groups == ("head",)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["unscaled_groups"] == ["head"]


def test_a_larger_budget_goes_on_and_the_earlier_training_is_kept(tmp_path):
    small = lrkit.tune(toy_task(steps=60), budget=260, out=tmp_path, plots=False)
    before = (tmp_path / "record.jsonl").read_bytes()
    large = lrkit.tune(toy_task(steps=60), out=tmp_path, plots=False)
    assert large.member_steps > small.member_steps
    tried = {(t.lr, t.seed) for t in large.search.trials}
    assert {(t.lr, t.seed) for t in small.search.trials} <= tried
    assert small.plan.lr != large.plan.lr
    assert (tmp_path / "earlier-1" / "record.jsonl").read_bytes() == before
    assert lrkit.Plan.load(tmp_path / "plan.toml").lr == large.plan.lr


def test_a_kill_while_the_earlier_training_moves_is_mended_by_the_next_call(tmp_path, monkeypatch):
    small = lrkit.tune(toy_task(steps=60), budget=260, out=tmp_path, plots=False)
    before = {name: (tmp_path / name).read_bytes() for name in ("plan.toml", "record.jsonl", "checkpoint.pt")}
    replace = os.replace

    def killed(source, target):
        if str(source).endswith("checkpoint.pt") and "earlier" in str(target):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        lrkit.tune(toy_task(steps=60), out=tmp_path, plots=False)
    monkeypatch.undo()
    large = lrkit.tune(toy_task(steps=60), out=tmp_path, plots=False)
    assert large.plan.lr != small.plan.lr
    assert before == {name: (tmp_path / "earlier-1" / name).read_bytes() for name in before}
    assert lrkit.Plan.load(tmp_path / "plan.toml").lr == large.plan.lr


def test_what_a_space_varies_is_trained_with_at_its_best(tmp_path):
    tuning = lrkit.tune(
        toy_task(steps=30),
        space={"weight_decay": "1e-4..1e-1:log", "schedule": "wsd|linear(to=0)"},
        budget=400,
        out=tmp_path,
        plots=False,
    )
    values = dict(tuning.search.values)
    assert set(values) == {"weight_decay", "schedule"}
    assert tuning.plan.optimizer.options["weight_decay"] == values["weight_decay"]
    assert tuning.plan.schedule == lrkit.parse_spec(values["schedule"]).schedule
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["values"] == values
    assert report["search"]["joint"]["importance"]
