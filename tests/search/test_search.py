"""A whole search on a task that trains in milliseconds: what it promises, and what it does when things go wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

import lrkit
from lrkit.errors import NoAnswer, SpecError, StudyError, TaskError
from lrkit.range_test import find_lr
from lrkit.search import Result, Search, Settings, SqliteStudy, Stop, search_lr
from lrkit.search._search import _past_warmup, _require_answer
from lrkit.search.methods.batches import SPENT
from lrkit.search.result import conclude
from lrkit.search.space import Space
from lrkit.search.trainer import Trainer
from lrkit.training import SILENT, Run, default_plan
from toys import random_states, small_net, toy_task

BRACKET = (1e-3, 5e-2)
STEPS = 24


@pytest.fixture(scope="module")
def found() -> Search:
    return search_lr(toy_task(), bracket=BRACKET)


def comparable(search: Search) -> dict:
    return {**search.to_dict(), "seconds": None}


def test_the_budget_holds_and_everything_is_counted(found):
    assert found.member_steps <= 8 * STEPS
    assert found.grid_steps == 32 * STEPS
    assert found.seconds > 0


def test_the_range_test_is_counted_too():
    task = toy_task(steps=60)
    search = search_lr(task)
    assert search.range_test is not None
    trials = sum({(t.lr, t.seed): t.steps for t in search.trials}.values())
    assert search.member_steps == trials + search.range_test.steps <= 480


def test_a_range_test_made_before_is_used_and_counted():
    task = toy_task(steps=60)
    measured = find_lr(task, steps=30, repeats=1, low=1e-5, high=1.0)
    assert measured.bracket is not None
    search = search_lr(task, range_test=measured)
    assert search.range_test is measured
    trials = sum({(t.lr, t.seed): t.steps for t in search.trials}.values())
    assert search.member_steps == trials + measured.steps


def test_the_answer_lies_between_rates_trained_to_the_end(found):
    full = [t.lr for t in found.trials if t.status == "finished"]
    assert min(full) * 0.99 <= found.lr <= max(full) * 1.01
    assert found.interval[0] < found.lr < found.interval[1]
    assert found.good[0] <= found.lr <= found.good[1]
    assert found.status in ("settled", "not settled", "could not tell")
    assert found.reason


def test_all_rates_of_a_seed_share_weights_and_batches(found):
    """The same trial by hand, alone, ends with the same objective to the last bit."""
    task = toy_task()
    trial = next(t for t in found.trials if t.status == "finished" and t.seed == 0)
    run = Run(task, default_plan(task).with_lr(trial.lr), seed=0, data="search")
    run.advance(STEPS)
    assert run.evaluate("validation")["validation loss"] == trial.objective
    assert dict(trial.metrics)["validation loss"] == trial.objective
    assert "validation accuracy" in dict(trial.metrics)


def test_a_replicate_takes_another_seed_and_another_held_out_part(found):
    trial = next(t for t in found.trials if t.seed == 1)
    task = toy_task()
    other = dataclasses.replace(task, seed=1)
    run = Run(other, default_plan(task).with_lr(trial.lr), seed=1, data="search")
    run.advance(trial.steps)
    assert run.evaluate("validation")["validation loss"] == trial.objective


def test_the_same_call_gives_the_same_answer_and_leaves_the_generators_alone(found):
    before = random_states()
    again = search_lr(toy_task(), bracket=BRACKET)
    assert all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(before, random_states(), strict=True)
    )
    assert comparable(again) == comparable(found)


class Interrupted(Exception):
    """Stands for Ctrl-C and kill -9: whatever ends a search in the midst of a trial."""


def interrupting(after: int):
    """A loss that fails for good after some calls."""
    calls = 0

    def loss(model, batch):
        nonlocal calls
        calls += 1
        if calls > after:
            raise Interrupted
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return loss


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(tmp_path, found):
    """Cut off every 41 batches, a couple of dozen times: the same answer, no finished trial run twice."""
    sessions = 0
    while True:
        sessions += 1
        try:
            search = search_lr(toy_task(loss=interrupting(41)), bracket=BRACKET, out=tmp_path)
        except Interrupted:
            assert sessions < 60
            continue
        break
    assert sessions > 3
    assert comparable(search) == comparable(found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.bin", "study.db", "study.lock"]


KILLED = """
import sys
from toys import toy_task
from lrkit.search import search_lr
task = toy_task(steps=180)
print("ready", flush=True)
found = search_lr(task, bracket=(1e-3, 5e-2), out=sys.argv[1])
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_ten_times_and_then_to_the_end(tmp_path):
    """The same answer as undisturbed, and no result was lost or made twice on the way."""
    draw = random.Random(11)
    kept: tuple = ()
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.05, 0.5))
            process.kill()
        with sqlite3.connect(tmp_path / "study.db") as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            rows = connection.execute(
                "select lr, seed, steps, objective from results order by number"
            ).fetchall()
        connection.close()
        assert rows[: len(kept)] == list(kept)
        kept = tuple(rows)
    assert kept
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    shutil.copy(tmp_path / "study.db", undisturbed)
    with sqlite3.connect(undisturbed / "study.db") as connection:
        connection.execute("delete from results")  # what is left pins the route, which is chosen by timing
    connection.close()
    whole, resumed = (search_lr(toy_task(steps=180), bracket=BRACKET, out=f) for f in (undisturbed, tmp_path))
    assert comparable(resumed) == comparable(whole)


def test_a_finished_search_is_not_run_again(tmp_path):
    first = search_lr(toy_task(), bracket=BRACKET, out=tmp_path)
    again = search_lr(toy_task(loss=interrupting(3)), bracket=BRACKET, out=tmp_path)
    assert again == first


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    search_lr(toy_task(), bracket=BRACKET, out=tmp_path)
    with pytest.raises(StudyError, match=r"schedule was 'warmup\(5%\).*now 'linear"):
        search_lr(toy_task(), schedule="linear(to=0)", bracket=BRACKET, out=tmp_path)


def test_with_a_larger_budget_the_search_goes_on(tmp_path, found):
    small = search_lr(toy_task(), budget=100, bracket=BRACKET, out=tmp_path)
    assert small.member_steps <= 100
    larger = search_lr(toy_task(loss=interrupting(10_000)), bracket=BRACKET, out=tmp_path)
    kept = {(t.lr, t.seed): t for t in larger.trials}
    for trial in small.trials:
        assert kept[trial.lr, trial.seed].steps >= trial.steps
    assert small.member_steps < larger.member_steps <= 8 * STEPS


def test_another_model_or_other_data_are_noticed(tmp_path):
    search_lr(toy_task(), bracket=BRACKET, out=tmp_path)
    wider = toy_task(model=lambda: nn.Linear(4, 3))
    with pytest.raises(StudyError, match="the task has changed since this study was begun"):
        search_lr(wider, bracket=BRACKET, out=tmp_path)


def test_seconds_are_a_soft_stop_that_the_answer_tells_and_more_time_continues(tmp_path, found):
    hurried = search_lr(toy_task(), bracket=BRACKET, seconds=0.0, out=tmp_path)
    assert len(hurried.trials) == 3
    assert min(t.lr for t in hurried.trials) > BRACKET[0]
    assert "seconds=" in hurried.reason
    assert hurried.status != "settled"
    assert comparable(search_lr(toy_task(), bracket=BRACKET, out=tmp_path)) == comparable(found)


def test_a_smaller_budget_than_a_study_has_spent_is_told_and_trains_nothing(tmp_path, monkeypatch, found):
    search_lr(toy_task(), bracket=BRACKET, out=tmp_path)
    notes: list[str] = []
    monkeypatch.setattr(Run, "advance", lambda *_, **__: pytest.fail("something was trained"))
    monkeypatch.setattr(type(SILENT), "note", lambda _, text: notes.append(text))
    again = search_lr(toy_task(), bracket=BRACKET, out=tmp_path, budget=5 * STEPS)
    assert again.member_steps == found.member_steps > 5 * STEPS
    assert again.lr == found.lr
    (note,) = notes
    assert f"{found.member_steps:,} updates" in note
    assert f"{5 * STEPS:,}" in note


def test_what_a_population_has_trained_counts_when_the_time_is_up(monkeypatch):
    """Nothing that is finished is thrown away, and what was spent is told."""
    trained = []
    run = Trainer.run

    def counted(self, proposals, states, **more):
        for result in run(self, proposals, states, **more):
            trained.append(result)
            yield result

    monkeypatch.setattr(Trainer, "run", counted)
    search = search_lr(toy_task(steps=60), bracket=BRACKET, seconds=0.05)
    assert "seconds=" in search.reason
    assert search.member_steps == sum(r.cost for r in trained)
    assert len(search.trials) == len({r.key for r in trained}) >= 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 0}, "workers="),
        ({"workers": True}, "workers="),
        ({"seconds": math.nan}, "seconds="),
        ({"seconds": -1.0}, "seconds="),
        ({"method": "gird"}, "did you mean 'grid'"),
        ({"method": "auto", "space": {"weight_decay": "0..0.1"}}, "searches the lr alone"),
        ({"space": {"lr": "1e-3..1e-1:log"}, "bracket": BRACKET}, "leave out bracket="),
        ({"name": "long"}, "storage="),
        ({"workers": 2, "ray": True}, "one of them"),
    ],
)
def test_arguments_that_cannot_be_are_told_at_once(monkeypatch, wrong, message):
    monkeypatch.setattr(Run, "advance", lambda *_, **__: pytest.fail("something was trained"))
    with pytest.raises(SpecError, match=message):
        search_lr(toy_task(), **wrong)


@pytest.mark.parametrize("method", ["grid", "halving"])
def test_a_budget_too_small_for_the_method_is_told_before_the_range_test(monkeypatch, method):
    monkeypatch.setattr("lrkit.search._search.find_lr", lambda *_, **__: pytest.fail("swept"))
    with pytest.raises(StudyError, match="budget"):
        search_lr(toy_task(steps=60), method=method, space={"weight_decay": "0..0.1"}, budget=200)


def test_a_value_at_the_end_of_its_range_is_told():
    settings = Settings(steps=STEPS, budget=100, low=1e-3, high=1e-1, space=Space({"weight_decay": "0..0.1"}))
    results = [
        Result(
            lr, 0, STEPS, 0.5 + abs(math.log10(lr / 1e-2)), False, STEPS, 0.1, values=(("weight_decay", wd),)
        )
        for lr in (3e-3, 1e-2, 3e-2)
        for wd in (0.05, 0.1)
    ]
    results = [
        r if r.values[0][1] == 0.1 else dataclasses.replace(r, objective=r.objective + 1) for r in results
    ]
    found = conclude(settings, results, SPENT, objective_name="loss", range_test=None, seconds=0.0)
    assert dict(found.values) == {"weight_decay": 0.1}
    assert "the best weight_decay is at the upper end of its range" in found.reason
    assert found.ended_by == "budget"
    done = conclude(
        settings, results, Stop("the grid is done"), objective_name="loss", range_test=None, seconds=0.0
    )
    assert done.ended_by == "method"


def test_through_two_rates_there_is_no_curve(tmp_path):
    """The interval is then all that was searched, and the status says so."""
    settings = Settings(steps=STEPS, budget=100, low=1e-3, high=1e-1)
    results = [Result(lr, 0, STEPS, 0.5, False, STEPS, 0.1) for lr in (5e-3, 2e-2)]
    found = conclude(settings, results, Stop("a test"), objective_name="loss", range_test=None, seconds=0.0)
    assert found.interval == (1e-3, 1e-1)
    assert found.status == "could not tell"


def test_a_best_rate_expected_where_none_was_trained_to_the_end_is_not_settled():
    def result(x: float, steps: int) -> Result:
        return Result(10.0**x, 0, steps, math.exp(0.8 * abs(x + 3.0)), False, steps, 0.0)

    short = [result(x, 270) for x in (-4.0, -3.6, -3.2, -2.8, -2.4, -2.0, -1.6)]
    full = [result(x, 900) for x in (-2.4, -2.0, -1.6)]
    settings = Settings(steps=900, budget=8000, low=1e-4, high=1e-1)
    found = conclude(
        settings, short + full, Stop("a test"), objective_name="loss", range_test=None, seconds=0.0
    )
    assert found.lr == pytest.approx(10.0**-2.4, rel=0.01)
    assert (found.status, found.reason.split(";")[0]) == (
        "not settled",
        "the best rate is expected where none was trained to the end",
    )


def test_rates_that_diverge_are_data():
    """Above 0.01 the loss is NaN: the search ends below, and says what diverged."""

    def loss(model, batch):
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        moved = sum(float(p.detach().abs().max()) for p in model.parameters())
        return value * (math.nan if moved > 4.5 else 1.0)

    search = search_lr(toy_task(loss=loss), bracket=(1e-3, 3.0))
    burst = [t for t in search.trials if t.status == "diverged"]
    assert burst
    assert all(math.isnan(t.objective) for t in burst)
    assert search.lr < min(t.lr for t in burst)
    assert search.member_steps <= 8 * STEPS


def test_a_validation_loss_that_is_nan_is_told_before_anything_is_trained(tmp_path):
    def loss(model, batch):
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return value if model.training else value * math.nan

    with pytest.raises(TaskError, match="untrained model is NaN"):
        search_lr(toy_task(loss=loss), bracket=BRACKET, out=tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        assert connection.execute("select count(*) from results").fetchone() == (0,)


def test_rates_that_all_burst_in_the_end_are_no_answer_though_they_were_measured_on_the_way():
    def result(lr, steps, objective):
        return Result(lr, 0, steps, objective, math.isnan(objective), steps, 0.1)

    burst = [result(lr, 30, 0.5) for lr in (1e-3, 1e-2)] + [result(lr, 60, math.nan) for lr in (1e-3, 1e-2)]
    with pytest.raises(NoAnswer, match=r"at every rate tried, 1\.0e-03 to 1\.0e-02, after 60 updates"):
        _require_answer(burst)
    _require_answer([*burst, result(1e-4, 30, 0.5)])


@pytest.mark.parametrize("bracket", [None, BRACKET])
def test_a_loss_that_is_nan_everywhere_is_one_clear_line(bracket, tmp_path):
    def loss(model, batch):
        return model(batch[0]).sum() * math.nan

    with pytest.raises(TaskError, match=r"NaN|not finite") as caught:
        search_lr(toy_task(loss=loss, steps=60), bracket=bracket, out=tmp_path)
    assert "\n" not in str(caught.value)
    assert "check the" in str(caught.value)


def test_a_flat_range_test_is_no_reason_to_give_up():
    """With labels that mean nothing there is nothing to learn: the search says so and does not fail."""
    torch.manual_seed(0)
    noise = torch.utils.data.TensorDataset(torch.randn(96, 4), torch.randint(0, 3, (96,)))
    search = search_lr(
        toy_task(train=torch.utils.data.DataLoader(noise, batch_size=8, shuffle=True), steps=60)
    )
    assert search.status != "settled"


def test_an_accuracy_is_maximised():
    search = search_lr(toy_task(objective="accuracy", direction="max"), bracket=BRACKET)
    finished = {t.lr: t.objective for t in search.trials if t.status == "finished"}
    assert search.objective == pytest.approx(max(finished.values()), abs=0.2)
    assert search.to_dict()["objective"] == "accuracy"


def test_a_whole_plan_says_schedule_and_length():
    task = toy_task()
    plan = default_plan(task, schedule="linear(to=0)", steps=16, lr=123.0)
    search = search_lr(task, plan=plan, bracket=BRACKET)
    assert max(t.steps for t in search.trials) == 16
    assert search == dataclasses.replace(
        search_lr(task, schedule="linear(to=0)", steps=16, bracket=BRACKET), seconds=search.seconds
    )
    with pytest.raises(SpecError, match="a plan says"):
        search_lr(task, plan=plan, steps=16)


def test_a_budget_too_small_for_any_answer_says_what_is_needed():
    with pytest.raises(StudyError, match=r"need at least 30$"):
        search_lr(toy_task(), budget=10, bracket=BRACKET)
    assert search_lr(toy_task(), budget=30, bracket=BRACKET).member_steps <= 30


def test_errors_of_the_tasks_own_code_come_through_and_the_folder_stays_usable(tmp_path, found):
    with pytest.raises(Interrupted):
        search_lr(toy_task(loss=interrupting(100)), bracket=BRACKET, out=tmp_path)
    assert comparable(search_lr(toy_task(), bracket=BRACKET, out=tmp_path)) == comparable(found)


def test_a_state_taken_away_costs_its_training_and_changes_nothing(tmp_path, found):
    with pytest.raises(Interrupted):
        search_lr(toy_task(loss=interrupting(100)), bracket=BRACKET, out=tmp_path)
    for state in (tmp_path / "trials").iterdir():
        state.unlink()
    assert comparable(search_lr(toy_task(), bracket=BRACKET, out=tmp_path)) == comparable(found)


def test_it_is_plain_data_and_draws_itself(found):
    pytest.importorskip("matplotlib")
    data = json.loads(json.dumps(found.to_dict()))
    assert data["lr"] == found.lr
    assert {t["status"] for t in data["trials"]} <= {"finished", "stopped", "diverged"}
    assert len(data["curve"]["lrs"]) == len(data["curve"]["mean"])
    assert found.plot().axes


def test_a_second_search_in_the_folder_is_refused_while_one_runs(tmp_path):
    search_lr(toy_task(), bracket=BRACKET, out=tmp_path / "other")

    def loss(model, batch):
        with pytest.raises(StudyError, match="is in use"):
            search_lr(toy_task(), bracket=BRACKET, out=tmp_path)
        raise Interrupted

    with pytest.raises(Interrupted):
        search_lr(toy_task(loss=loss), bracket=BRACKET, out=tmp_path)


def test_the_public_names_are_the_rooms():
    assert lrkit.search.search_lr is search_lr
    assert set(lrkit.search.__all__) >= {"Search", "SqliteStudy", "search_lr"}
    assert isinstance(small_net(), nn.Module)
    assert SqliteStudy.__doc__


@pytest.mark.parametrize(
    ("space", "earliest"),
    [
        ({}, 45),
        ({"weight_decay": "0..1"}, 45),
        ({"warmup": "5..50"}, 495),
        ({"warmup": "5..100"}, 900),
        ({"schedule": ["cosine(to=0)", "warmup(20%) >> hold()"]}, 225),
        ({"schedule": ["warmup(20%) >> hold()", "wsd"], "warmup": "0..40"}, 405),
    ],
)
def test_no_trial_is_judged_before_the_last_warmup_of_the_space_is_over(space, earliest):
    task = toy_task(steps=900)
    found = _past_warmup(task, default_plan(task, schedule="hold()"), Space(space))
    assert earliest - 5 <= found <= earliest  # the last updates of a warmup are within 1 % of its end


def test_an_interval_that_ends_where_the_trials_do_is_open():
    low = search_lr(toy_task(), method="grid", bracket=(1e-6, 1e-5))
    assert low.open_ends[1]
    assert low.interval[1] >= max(trial.lr for trial in low.trials)
    assert low.to_dict()["open_ends"] == list(low.open_ends)
    inside = search_lr(toy_task(steps=200), bracket=(1e-4, 1.0))
    assert inside.open_ends == (False, False)


def test_the_ends_are_those_of_the_trials_that_the_interval_rests_on():
    """Other values of a space were tried further out, which says nothing of these."""
    found = search_lr(toy_task(), method="grid", bracket=(1e-6, 1e-5))
    other = dataclasses.replace(found.trials[0], lr=1.0, values=(("momentum", 0.9),))
    assert dataclasses.replace(found, trials=(*found.trials, other)).open_ends == found.open_ends
    burst = tuple(dataclasses.replace(trial, status="diverged") for trial in found.trials)
    assert dataclasses.replace(found, trials=burst).open_ends == (True, False)
