"""A plan's controllers in a training: told at every epoch's end, exact in resume, in the record."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import lrkit
from lrkit.control import Observation, plateau, replay
from lrkit.errors import PlanError, StateError, StudyError, TaskError
from lrkit.plan import Plan
from lrkit.records import read_record
from lrkit.training import Run, default_plan, final_part, load_checkpoint, save_checkpoint, train
from toys import blobs, fingerprint, toy_task

# A threshold that nothing reaches, so that each decision but the first is a bad one.
STUBBORN = "hold() & plateau(patience=0, factor=0.5, threshold=0.99)"


def plan_of(task: lrkit.Task, spec: str = STUBBORN, **changes: object) -> Plan:
    return dataclasses.replace(default_plan(task, schedule=spec, lr=4e-3), **changes)


def lrs_of(run: Run, until: int = 24) -> list[float]:
    found: list[float] = []
    run.advance(until, on_step=lambda info: found.append(info.lr[0]))
    return found


def test_controllers_are_told_at_the_end_of_every_epoch() -> None:
    task = toy_task()
    run = Run(task, plan_of(task), seed=0)
    assert run.plan.horizon.steps_per_epoch == 10
    assert lrs_of(run) == [4e-3] * 20 + [2e-3] * 4


def test_every_says_otherwise_and_after_waits() -> None:
    task = toy_task()
    spec = "hold() & plateau(patience=0, factor=0.5, threshold=0.99, every=4, after=25%)"
    run = Run(task, plan_of(task, spec), seed=0)
    assert lrs_of(run) == [4e-3] * 12 + [2e-3] * 4 + [1e-3] * 4 + [5e-4] * 4


@pytest.mark.parametrize("stop", [0, 4, 9, 10, 11, 20, 21, 24])
def test_a_controlled_run_resumed_anywhere_equals_the_unbroken_one(tmp_path, stop: int) -> None:
    task = toy_task()
    plan = plan_of(task, "hold() & plateau(patience=0, factor=0.5, threshold=0.99, every=5, smoothing=0.5)")
    whole, first = Run(task, plan, seed=3), Run(task, plan, seed=3)
    expected = lrs_of(whole)
    found = lrs_of(first, stop)
    save_checkpoint(tmp_path / "checkpoint.pt", first.state_dict())
    second = Run(task, plan, seed=3)
    second.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert found + lrs_of(second) == expected
    assert len(set(expected)) == 4
    assert fingerprint(second.model.state_dict(), second.losses) == fingerprint(
        whole.model.state_dict(), whole.losses
    )


def test_what_controllers_see_does_not_touch_the_training() -> None:
    task = toy_task()
    watched = Run(task, plan_of(task, "hold() & plateau(patience=99)"), seed=0)
    plain = Run(task, plan_of(task, "hold()"), seed=0)
    watched.advance(24)
    plain.advance(24)
    assert fingerprint(watched.model.state_dict(), watched.losses) == fingerprint(
        plain.model.state_dict(), plain.losses
    )


def test_the_record_has_what_they_saw_and_replays_to_what_they_did(tmp_path) -> None:
    task = toy_task()
    plan = plan_of(task, "hold() & plateau(patience=0, factor=0.5, threshold=0.99, every=5)")
    train(task, plan, data="search", out=tmp_path)
    record = read_record(tmp_path / "record.jsonl")
    used = record.lrs[:, 0].tolist()
    told = [
        Observation(step + 1, value, (used[step],))
        for step, value in zip(
            *(column.tolist() for column in record.metrics["validation loss"]), strict=True
        )
        if (step + 1) % 5 == 0
    ]
    assert len(told) == 4
    actions = replay(plateau(patience=0, factor=0.5, threshold=0.99, every=5), told)
    assert [action.factors for action in actions] == [(1.0,), (0.5,), (0.5,), (0.5,)]
    lr = 4e-3
    for observation, action in zip(told, actions, strict=True):
        lr *= action.factors[0]
        assert set(used[observation.step : observation.step + 5]) == {lr}


def test_a_cut_training_with_control_goes_on(tmp_path) -> None:
    task = toy_task()
    plan = plan_of(task)
    whole = train(task, plan, data="search")
    run = Run(task, plan, data="search")
    run.advance(20)
    save_checkpoint(tmp_path / "checkpoint.pt", run.state_dict())
    resumed = train(task, plan, data="search", out=tmp_path)
    assert fingerprint(resumed.model.state_dict()) == fingerprint(whole.model.state_dict())
    with pytest.raises(StudyError, match=r"control \['plateau.*there, \['plateau\(\)'\] here"):
        train(task, dataclasses.replace(plan, control=("plateau()",)), data="search", out=tmp_path)


def test_a_checkpoint_of_before_there_was_control_still_loads() -> None:
    task = toy_task()
    run = Run(task, plan_of(task, "hold()"))
    run.advance(5)
    old = run.state_dict()
    del old["of"]["control"]
    Run(task, plan_of(task, "hold()")).load_state_dict(old)
    with pytest.raises(StateError, match=r"control \[\] there"):
        Run(task, plan_of(task)).load_state_dict(old)


def test_control_needs_data_that_is_not_trained_on() -> None:
    task = toy_task()
    plan = plan_of(task)
    assert final_part(task, plan) == "search"
    assert final_part(task, plan_of(task, "hold()")) == "all"
    with pytest.raises(TaskError, match="leaves none: pass data='search', or give the task validation="):
        train(task, plan)
    held_out = toy_task(validation=DataLoader(blobs(48, seed=5), batch_size=16))
    assert final_part(held_out, plan) == "all"
    assert train(held_out, plan).steps == 24


def test_a_metric_by_name() -> None:
    task = toy_task()
    spec = "hold() & plateau(mode=max, metric='validation accuracy', patience=0, threshold=10, factor=0.5)"
    assert lrs_of(Run(task, plan_of(task, spec)))[-1] == 2e-3
    with pytest.raises(
        TaskError, match="measures no 'validation acuracy'; did you mean 'validation accuracy'"
    ):
        Run(task, plan_of(task, spec.replace("accuracy", "acuracy")))
    with pytest.raises(TaskError, match="name a metric for mode=max"):
        Run(task, plan_of(task, "hold() & plateau(mode=max)"))


def test_without_an_epoch_the_plan_must_say_how_often() -> None:
    task = toy_task()
    horizon = lrkit.Horizon(24)
    with pytest.raises(PlanError, match="decides once an epoch, which this horizon has not: say every="):
        Run(task, plan_of(task, horizon=horizon))
    plan = plan_of(task, "hold() & plateau(every=8)", horizon=horizon)
    Run(task, plan).advance(24)


def test_a_validation_loss_that_is_no_number_ends_the_run_as_a_training_loss_does() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return value if model.training else value * math.nan

    task = toy_task(loss=loss)
    run = Run(task, plan_of(task))
    run.advance(24)
    assert run.diverged
    assert run.step == 10
    tolerant = Run(task, plan_of(task, "hold() & plateau(nan=skip)"))
    tolerant.advance(24)
    assert (tolerant.diverged, tolerant.step) == (False, 24)


def test_a_search_and_a_tuning_follow_the_controllers(tmp_path) -> None:
    task = toy_task()
    tuning = lrkit.tune(task, schedule=STUBBORN, budget=400, out=tmp_path, plots=False)
    assert tuning.plan.control == ("plateau(factor=0.5, patience=0, threshold=0.99)",)
    assert Plan.load(tmp_path / "plan.toml") == tuning.plan
    assert tuning.to_dict()["control"] == list(tuning.plan.control)
    rates = read_record(tmp_path / "record.jsonl").lrs[:, 0]
    assert rates[-1] == pytest.approx(0.5 * rates[0])
