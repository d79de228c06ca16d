"""Trials in other processes: the same answers as in this one, whatever becomes of the processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

import lrkit
from lrkit.errors import SpecError, TaskError
from lrkit.search.identity import same_measurement
from lrkit.search.states import FileStates
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal
from lrkit.search.workers import PoolExecutor, require_travel
from lrkit.search.workers.chunks import split
from lrkit.search.workers.messages import portable
from lrkit.search.workers.travel import first_loss, pack
from lrkit.training import default_plan
from search.worker_tasks import RAISES, BadRate, OddError
from search.worker_trials import comparable, proposals, trainer_of
from toys import blobs, small_net


class Counter:
    """A reporter that counts updates."""

    updates = 0

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        assert lr > 0
        self.updates += steps

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


COUNTER = Counter()
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As many as a worker has: then results are equal bit for bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolExecutor]:
    torch.set_num_threads(1)
    with PoolExecutor(dataclasses.replace(trainer_of("task"), reporter=COUNTER), workers=2) as pool:
        yield pool
    assert multiprocessing.active_children() == []


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from("abc")), max_size=12), st.integers(1, 5))
def test_chunks_hold_everything_once_in_order_and_none_is_empty(drawn, parts):
    chunks = split([Proposal(1.0 + i, 0, 0, cost, (("v", v),)) for i, (cost, v) in enumerate(drawn)], parts)
    rates = [[p.lr for p in chunk] for chunk in chunks]
    assert sorted(lr for chunk in rates for lr in chunk) == [1.0 + i for i in range(len(drawn))]
    assert all(chunk == sorted(chunk) for chunk in rates)
    assert len(chunks) == min(parts, len(drawn))
    assert all(rates)


@given(st.lists(st.integers(1, 50), max_size=12, unique=True), st.integers(1, 5))
def test_chunks_of_lone_trials_are_about_as_long(costs, parts):
    loads = [sum(p.cost for p in c) for c in split([Proposal(1.0, 0, 0, cost) for cost in costs], parts)]
    assert max(loads, default=0) - min(loads, default=0) <= max(costs, default=0)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 8))
def test_equal_values_stay_together_where_there_are_enough_for_all_workers(sizes, parts):
    batch = [Proposal(1.0 + i, 0, 0, 9, (("v", v),)) for v, size in enumerate(sizes) for i in range(size)]
    chunks = split(batch, parts)
    scattered = len({(p.values, n) for n, chunk in enumerate(chunks) for p in chunk})
    if len(sizes) >= parts:
        assert scattered == len(sizes)
    else:
        assert scattered == len(chunks)  # one choice of values each
        assert all(len({p.values for p in chunk}) == 1 for chunk in chunks)


def test_a_lone_population_is_shared_out_evenly():
    chunks = split([Proposal(1.0 + i, 0, 0, 9) for i in range(7)], 3)
    assert sorted(map(len, chunks)) == [2, 2, 3]
    two = split([Proposal(1.0 + i, seed, 0, 9) for seed in (0, 1) for i in range(6)], 4)
    assert [len(chunk) for chunk in two] == [3, 3, 3, 3]


def test_a_task_of_a_file_goes_by_its_name_and_what_was_replaced_by_itself():
    there = trainer_of("task", seed=7, metrics={"accuracy": lrkit.supervised(nn.functional.cross_entropy)})
    parcel = pack(there)
    assert len(parcel) < 5000  # the data stay in the file
    here = opened(parcel)
    assert here.task.seed == 7
    assert list(here.task.metrics) == ["accuracy"]
    assert here.task.model is not there.task.model
    assert same_measurement(first_loss(here), first_loss(there))


def test_a_task_of_importable_parts_goes_by_pickle():
    task = lrkit.Task(
        model=small_net,
        loss=lrkit.supervised(nn.functional.cross_entropy),
        train=DataLoader(blobs(), batch_size=8, shuffle=True),
        steps=24,
    )
    here = opened(pack(Trainer(task, default_plan(task), 0)))
    assert here.task.source is None
    assert first_loss(here) == first_loss(Trainer(task, default_plan(task), 0))


def cannot_travel() -> Iterator[tuple[str, dict]]:
    yield "model=", {"model": lambda: small_net()}
    yield "loss=", {"loss": lrkit.supervised(lambda out, target: out.mean())}
    yield "the metric 'width'", {"metrics": {"width": lambda model, batch: 1.0}}
    in_a_notebook = type("Net", (nn.Module,), {"__module__": "__main__"})
    yield "model=", {"model": in_a_notebook}
    yield "validation=", {"validation": (batch for batch in ())}


@pytest.mark.parametrize(("part", "change"), list(cannot_travel()))
def test_what_cannot_travel_is_told_by_its_name_before_anything_starts(part, change):
    told = rf"'worker-toy': {part} cannot be sent .*file\.py:task.*workers=1"
    with pytest.raises(TaskError, match=told):
        require_travel(trainer_of("task", **change))
    with pytest.raises(TaskError, match=told):
        PoolExecutor(trainer_of("task", **change), workers=2)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_a_number_of_workers_is_a_whole_one_above_zero(workers):
    with pytest.raises(SpecError, match="workers="):
        PoolExecutor(trainer_of("task"), workers=workers)


def test_an_error_goes_and_comes_as_itself_or_under_its_name():
    error = sent(portable(raised(BadRate("no such rate", 0.5)), pickle))
    assert type(error) is BadRate
    assert error.args == ("no such rate", 0.5)
    assert "In a worker process:\nTraceback" in error.__notes__[0]
    error = sent(portable(raised(OddError(1, "odd")), pickle))
    assert type(error) is TaskError
    assert str(error) == "OddError: odd"
    assert "in raised" in error.__notes__[0]
    assert type(portable(raised(KeyError("k")), pickle)) is KeyError


def sent(value: Any) -> Any:
    return opened(pickle.dumps(value))


def opened(parcel: bytes) -> Any:
    """What comes out of a pipe into which `parcel` was put."""
    here, there = multiprocessing.Pipe()
    with here, there:
        here.send_bytes(parcel)
        return there.recv()


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_two_stretches_in_a_pool_are_those_in_this_process(pool, tmp_path):
    here, there = FileStates(tmp_path / "here"), FileStates(tmp_path / "there")
    for start, stop in ((0, 8), (8, 24)):
        batch = proposals(*RATES, start=start, stop=stop)
        expected = list(trainer_of("task").run(batch, here))
        before = COUNTER.updates
        assert comparable(pool.run(batch, there)) == comparable(expected)
        assert COUNTER.updates - before == sum(result.cost for result in expected)


def test_a_killed_worker_costs_no_result_and_gives_none_twice(pool, tmp_path):
    states = FileStates(tmp_path)
    expected = comparable(trainer_of("task").run(proposals(*RATES), states))
    running = pool.run(proposals(*RATES), states)
    results = [next(running)]
    victim = next(worker for worker in pool._workers if worker.chunk)
    os.kill(victim._process.pid, signal.SIGKILL)
    assert comparable(results + list(running)) == expected


def test_what_the_users_code_raises_arrives_as_itself(pool, tmp_path):
    with pytest.raises(ValueError, match="no such rate") as caught:
        list(pool.run(proposals(1e-3, RAISES, 1e-2), FileStates(tmp_path)))
    assert type(caught.value).__name__ == "BadRate"
    assert caught.value.args == ("no such rate", RAISES)
    assert "worker_tasks.py" in caught.value.__notes__[0]
