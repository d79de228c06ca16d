"""The final training can be cut anywhere: what it had done up to the last checkpoint is not done again."""

from __future__ import annotations

import pytest

from lrkit.errors import StudyError, TaskError
from lrkit.plan import OptimizerPlan
from lrkit.training import Run, train
from toys import fingerprint, toy_plan, toy_task


class Cut(Exception):
    pass


class CutAt:
    """A reporter that stands for Ctrl-C at update `last`."""

    def __init__(self, last: int):
        self.left = last

    def stage(self, name, total): ...

    def advance(self, steps, *, loss, lr):
        self.left -= 1
        if self.left == 0:
            raise Cut

    def note(self, text): ...

    def close(self): ...


def test_a_training_on_all_data_is_saved_on_the_way(tmp_path, monkeypatch):
    task = toy_task()
    plan = toy_plan(task)
    whole = train(task, plan)
    with pytest.raises(Cut):
        train(task, plan, out=tmp_path, checkpoint_seconds=0, reporter=CutAt(24))
    updates = []
    original = Run._update

    def counted(self, **options):
        updates.append(self.step)
        return original(self, **options)

    monkeypatch.setattr(Run, "_update", counted)
    resumed = train(task, plan, out=tmp_path)
    assert updates == [23]
    assert fingerprint(resumed.model.state_dict()) == fingerprint(whole.model.state_dict())
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) == 24


def test_an_edited_plan_is_another_training(tmp_path):
    import dataclasses

    task = toy_task()
    plan = toy_plan(task)
    train(task, plan, out=tmp_path)
    edited = OptimizerPlan(name=plan.optimizer.name, lr=plan.lr, options={"weight_decay": 0.5})
    with pytest.raises(StudyError, match="weight_decay"):
        train(task, dataclasses.replace(plan, optimizer=edited), out=tmp_path)


def test_a_loader_that_cannot_be_resumed_is_refused_before_the_training(tmp_path):
    loader = (batch for batch in list(toy_task().train))
    task = toy_task(train=loader, validation=list(toy_task().test))
    plan = toy_plan(toy_task())
    with pytest.raises(TaskError, match="cannot be resumed"):
        train(task, plan, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": []}, "test data or a metric|test loader gave no batch|gave no batch"),
        ({"metrics": {"broken": lambda model, batch: 1 / 0}}, "ZeroDivisionError"),
    ],
)
def test_a_check_tries_test_data_and_metrics_too(changes, message):
    with pytest.raises(TaskError, match=message):
        toy_task(**changes).check()
