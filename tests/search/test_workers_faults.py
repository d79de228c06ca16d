"""Worker processes that are killed, left alone, interrupted, or given what they cannot work with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from lrkit.errors import TaskError
from lrkit.search.states import FileStates
from lrkit.search.workers import PoolExecutor
from search.worker_tasks import DIES, LEAVES
from search.worker_trials import TASKS, comparable, proposals, searched, trainer_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_search_whose_workers_are_killed_ten_times_ends_as_if_nothing_had_been(tmp_path):
    """Each kill hits a worker in the midst of a chunk, half of them right after it was begun."""
    trainer = trainer_of("slow")
    undisturbed = searched(trainer, trainer, tmp_path / "undisturbed")
    killed: list[int] = []
    pool = PoolExecutor(trainer, workers=2)

    def disturb() -> None:
        threading.Timer(0.05 if len(killed) % 2 else 0.3, kill).start()

    def kill() -> None:
        busy = [worker for worker in pool._workers if worker.chunk and worker._process.pid not in killed]
        if busy and len(killed) < 10:
            killed.append(busy[0]._process.pid)
            os.kill(killed[-1], signal.SIGKILL)

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
        list(pool.run(proposals(DIES), FileStates(tmp_path)))


def test_a_task_that_is_another_one_at_each_import_is_refused(tmp_path):
    with (
        PoolExecutor(trainer_of("unseeded"), workers=1) as pool,
        pytest.raises(TaskError, match="seed what its file"),
    ):
        pool.ready()


def test_workers_load_data_by_processes_of_their_own_which_go_with_them(tmp_path):
    trainer = trainer_of("with_loaders")
    batch = proposals(1e-3, 1e-2, stop=6)
    expected = comparable(trainer.run(batch, FileStates(tmp_path / "here")))
    with PoolExecutor(trainer, workers=1) as pool:
        assert comparable(pool.run(batch, FileStates(tmp_path / "there"))) == expected
        with closing(pool.run(proposals(1e-3, 3e-3, 1e-2, stop=6), FileStates(tmp_path / "more"))) as running:
            next(running)


def test_a_task_that_leaves_python_does_so_as_in_this_process(tmp_path):
    with PoolExecutor(trainer_of("task"), workers=1) as pool, pytest.raises(SystemExit, match="3"):
        list(pool.run(proposals(LEAVES), FileStates(tmp_path)))


SCRIPT = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from search.worker_trials import proposals, trainer_of
from lrkit.search.states import FileStates
from lrkit.search.workers import PoolExecutor

def main():
    torch.set_num_threads(1)
    pool = PoolExecutor(trainer_of("slow"), workers=2)
    for result in pool.run(proposals(*(1e-3 * i for i in range(1, 200))), FileStates(Path(sys.argv[1]))):
        print(result.lr, flush=True)

{call}
"""
GUARDED = 'if __name__ == "__main__":\n    main()'


class Marked:
    """A script under way, and whatever process it has started, known by a mark in their environment."""

    def __init__(self, folder: Path, call: str) -> None:
        script = folder / "script.py"
        script.write_text(SCRIPT.format(tests=str(TASKS.parent.parent), call=call))
        self._mark = f"LRKIT_TEST_MARK={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(folder / "trials")],
            env=os.environ | {name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def alive(self) -> list[str]:
        """The command lines of those that live."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                        found.append((folder / "cmdline").read_text().replace("\0", " "))
                except OSError:
                    continue
        return found

    def all_gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True


@pytest.fixture
def under_way(tmp_path) -> Iterator[Marked]:
    marked = Marked(tmp_path, GUARDED)
    assert marked.process.stdout is not None
    assert marked.process.stdout.readline()
    assert len(marked.alive()) >= 3
    yield marked
    marked.process.kill()
    marked.process.communicate()
    assert marked.all_gone_within(10)


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
    marked = Marked(tmp_path, "main()")
    _, errors = marked.process.communicate(timeout=120)
    assert 'must do so under `if __name__ == "__main__":`' in errors
    assert marked.all_gone_within(10)
