"""A search's answer does not depend on who trains its trials: how many, in which order they finish, where they are."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.search import METHODS, SqliteStudy
from lrkit.search.driver import drive
from lrkit.search.result import conclude
from lrkit.search.states import FileStates
from lrkit.search.workers import PoolExecutor, RayExecutor
from lrkit.search.workers.chunks import split
from lrkit.training import usable_cores
from search.joint_simulated import Joint, without_space
from search.worker_trials import proposals, searched, trainer_of

BUDGETS = {"auto": 8.0, "grid": 12.0, "halving": 9.0, "bayes": 9.0}
SPACES = [(name, alone) for name in METHODS for alone in (True, False) if alone or name != "auto"]


@dataclass
class Workers:
    """`count` of them, which train made-up trials at speeds that nobody foresees; alone, one trains all in order."""

    objective: Joint
    asked: object
    count: int
    luck: random.Random

    def run(self, proposals, states, *, deadline=None):
        chunks = [list(chunk) for chunk in split(proposals, self.count)]
        while chunks:
            quickest = self.luck.choice(chunks)
            yield self.objective.outcome(self.asked, quickest.pop(0))
            chunks = [chunk for chunk in chunks if chunk]

    def close(self): ...


def answer(name, objective, folder, workers, luck):
    """The whole search by so many workers: the answer, but for wall time, and the trials that it rests on."""
    asked = objective.settings(BUDGETS[name])
    with SqliteStudy(None, {}) as study:
        crew = Workers(objective, asked, workers, random.Random(luck))
        stop = drive(METHODS[name], asked, study, FileStates(folder), crew)
        results = study.results()
    search = conclude(asked, results, stop, objective_name="loss", range_test=None, seconds=0.0)
    return dataclasses.replace(search, seconds=0.0), {(r.key, r.steps, r.objective, r.cost) for r in results}


@pytest.mark.parametrize(("name", "alone"), SPACES)
@settings(max_examples=2, deadline=None)
@given(number=st.integers(0, 99), workers=st.integers(2, 6), luck=st.integers(0, 999))
def test_any_number_of_workers_finishing_in_any_order(tmp_path_factory, name, alone, number, workers, luck):
    objective = without_space(Joint.drawn(number)) if alone else Joint.drawn(number)
    folder = tmp_path_factory.mktemp("states")
    (one, its), (other, theirs) = (answer(name, objective, folder, n, luck) for n in (1, workers))
    assert theirs == its
    assert repr(other) == repr(one)  # nan, where a trial diverged, is equal to itself


@pytest.fixture(scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[PoolExecutor, RayExecutor])
def elsewhere(request, _one_thread):
    options = {"workers": 2} if request.param is PoolExecutor else {}
    with request.param(trainer_of("task"), **options) as executor:
        yield executor


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray's own sockets and processes
@pytest.mark.parametrize("name", METHODS)
def test_real_trials_in_other_processes_and_on_ray(elsewhere, tmp_path, name):
    here = trainer_of("task")
    budget = BUDGETS[name]
    expected = searched(here, here, tmp_path / "here", method=METHODS[name], trainings=budget)
    found = searched(elsewhere, here, tmp_path / "there", method=METHODS[name], trainings=budget)
    assert found == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_after_the_deadline_no_further_trial_is_begun(elsewhere, tmp_path):
    batch = proposals(*(1e-4 * number for number in range(1, 401)))
    deadline = time.monotonic() + 0.5
    running = elsewhere.run(batch, FileStates(tmp_path), deadline=deadline)
    after = [time.monotonic() > deadline for _ in running]
    assert 0 < len(after) < len(batch)
    assert sum(after) <= max(2, usable_cores())  # what was under way
