"""Weight decay and rate together on a real task, each method driven to its end, stopped midway and resumed."""

import dataclasses
import math

import pytest

from lrkit.search.driver import drive
from lrkit.search.joint import best_values
from lrkit.search.methods.bayes import BAYES
from lrkit.search.methods.grid import GRID
from lrkit.search.methods.halving import HALVING
from lrkit.search.setting import check_space
from lrkit.search.space import Space
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.states import FileStates
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Settings
from lrkit.training import default_plan
from lrkit.training.builtin import BUILTIN_TASKS

STEPS = 54
SPACE = Space({"weight_decay": "1e-3..10:log", "batch_size": [32, 64]})


def asked(trainings):
    return Settings(steps=STEPS, budget=trainings * STEPS, low=1e-4, high=1e-1, space=SPACE)


class StoppedError(Exception):
    """Somebody pulled the plug."""


@dataclasses.dataclass
class Unplugged:
    """A trainer that stops after some results."""

    trainer: Trainer
    left: int

    def run(self, proposals, states, *, deadline=math.inf):
        for result in self.trainer.run(proposals, states):
            yield result
            self.left -= 1
            if not self.left:
                raise StoppedError

    def close(self):
        self.trainer.close()


def trained(method, settings, folder, *, stop_after=10**9):
    task = BUILTIN_TASKS["digits"]()
    plan = default_plan(task, steps=STEPS)
    check_space(task, plan, SPACE)
    with SqliteStudy(folder, {"test": method.__class__.__name__}) as study:
        executor = Unplugged(Trainer(task, plan, 0), stop_after)
        stop = drive(method, settings, study, FileStates(folder / "trials"), executor)
        return study.results(), stop


def comparable(results):
    return {dataclasses.replace(r, seconds=0.0, losses=()) for r in results}


@pytest.mark.parametrize(
    ("method", "trainings", "stops"),
    [
        pytest.param(HALVING, 5, (12, 3), id="halving"),
        pytest.param(GRID, 12, (3,), id="grid", marks=pytest.mark.slow),
        pytest.param(BAYES, 10, (7,), id="bayes", marks=pytest.mark.slow),
    ],
)
def test_digits_with_weight_decay_and_batch_size(method, trainings, stops, tmp_path):
    settings = asked(trainings)
    whole, reason = trained(method, settings, tmp_path / "whole")
    for many in stops:
        with pytest.raises(StoppedError):
            trained(method, settings, tmp_path / "stopped", stop_after=many)
    results, again = trained(method, settings, tmp_path / "stopped")
    assert comparable(results) == comparable(whole)
    assert again == reason
    assert sum(r.cost for r in results) <= settings.budget
    assert not (tmp_path / "stopped" / "trials").exists()
    joint = best_values(settings, results)
    SPACE.check(joint.best.values)
    assert joint.best.steps == STEPS
    assert joint.best.objective < 1.0  # an untrained model has 2.3
    assert {each.name for each in joint.importance} == set(SPACE)
