"""Worker processes that are killed, left alone, interrupted, or given what they cannot work with."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from lrkit.errors import TaskError
from lrkit.search import Proposal
from lrkit.search.states import FileStates
from lrkit.search.workers import PoolExecutor
from search.marked import Marked
from search.worker_tasks import DIES, LEAVES
from search.worker_trials import comparable, proposals, searched, trainer_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.timeout(900)  # on a busy machine
def test_a_search_whose_workers_are_killed_ten_times_ends_as_if_nothing_had_been(tmp_path):
    """Each kill hits a worker in the midst of a chunk, half of them right after it was begun."""
    trainer = trainer_of("slow")
    undisturbed = searched(trainer, trainer, tmp_path / "undisturbed")
    killed: list[int] = []
    hit: Counter[Proposal] = Counter()
    pool = PoolExecutor(trainer, workers=2)

    def disturb() -> None:
        threading.Timer(0.05 if len(killed) % 2 else 0.3, kill).start()

    def kill() -> None:
        # No trial three times: that it would take for its own doing.
        for worker in pool._workers:
            chunk = tuple(worker.chunk)
            if len(killed) == 10 or not chunk or worker._process.pid in killed:
                continue
            if all(hit[proposal] < 2 for proposal in chunk):
                hit.update(chunk)
                killed.append(worker._process.pid)
                os.kill(killed[-1], signal.SIGKILL)
                return

    with pool:
        assert searched(pool, trainer, tmp_path / "disturbed", disturb=disturb) == undisturbed
    assert len(killed) == 10


def test_a_trial_under_which_workers_die_is_named(tmp_path):
    with (
        PoolExecutor(trainer_of("task"), workers=1) as pool,
        pytest.raises(
            TaskError, match=r"killed by signal 9 at each of 3 attempts to train lr 0\.25, seed 0; if memory"
        ),
    ):
        list(pool.run(proposals(1e-3, DIES, 1e-2), FileStates(tmp_path)))


def test_a_task_that_is_another_one_at_each_import_is_refused(tmp_path):
    with (
        PoolExecutor(trainer_of("unseeded"), workers=1) as pool,
        pytest.raises(TaskError, match="seed what its file"),
    ):
        pool.ready()


def test_workers_load_data_by_processes_of_their_own_which_go_with_them(tmp_path):
    trainer = trainer_of("with_loaders")
    batch = proposals(1e-3, 1e-2, stop=3)
    expected = comparable(trainer.run(batch, FileStates(tmp_path / "here")))
    with PoolExecutor(trainer, workers=1) as pool:
        assert comparable(pool.run(batch, FileStates(tmp_path / "there"))) == expected
        with closing(pool.run(proposals(1e-3, 3e-3, 1e-2, stop=3), FileStates(tmp_path / "more"))) as running:
            next(running)


def test_a_task_that_leaves_python_does_so_as_in_this_process(tmp_path):
    with PoolExecutor(trainer_of("task"), workers=1) as pool, pytest.raises(SystemExit, match="3"):
        list(pool.run(proposals(LEAVES), FileStates(tmp_path)))


CALL = "train_with(lambda trainer: PoolExecutor(trainer, workers=2))"


@pytest.fixture
def under_way(tmp_path) -> Iterator[Marked]:
    marked = Marked(tmp_path, f'if __name__ == "__main__":\n    {CALL}')
    assert marked.process.stdout is not None
    assert marked.process.stdout.readline()
    assert len(marked.alive()) >= 3
    yield marked
    marked.end()


def test_ctrl_c_ends_everything_at_once(under_way):
    os.killpg(under_way.process.pid, signal.SIGINT)
    _, errors = under_way.process.communicate(timeout=10)
    assert under_way.process.returncode not in (0, None)
    assert errors.count("Traceback") == 1  # the driver's own: the workers have heard nothing
    assert "KeyboardInterrupt" in errors
    assert under_way.all_gone_within(2)


def test_workers_leave_when_the_driver_is_killed(under_way):
    under_way.process.kill()
    assert under_way.all_gone_within(10)


def test_a_script_without_a_guard_is_told_so(tmp_path):
    marked = Marked(tmp_path, CALL)
    _, errors = marked.process.communicate(timeout=120)
    assert 'must do so under `if __name__ == "__main__":`' in errors
    assert marked.all_gone_within(10)
