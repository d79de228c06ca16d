"""Trials on a Ray of this machine: the same answers as in this process, whatever becomes of Ray's workers."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lrkit.errors import SpecError, StudyError, TaskError
from lrkit.search.states import FileStates
from lrkit.search.workers import RayExecutor
from lrkit.search.workers.remote import state_from, state_to_bytes
from search.marked import Marked
from search.worker_tasks import LEAVES, RAISES
from search.worker_trials import comparable, proposals, searched, trainer_of


@pytest.mark.parametrize("cpus", [0, True, 1.5])
def test_cores_are_a_whole_number_above_zero(cpus):
    with pytest.raises(SpecError, match="cpus="):
        RayExecutor(trainer_of("task"), cpus=cpus)


def test_a_state_travels_as_tensors_and_plain_data_and_as_nothing_else():
    state = {"model": {"w": torch.arange(3.0)}, "losses": [1.0, float("inf")], "of": {"lr": 1e-3}}
    again = state_from(state_to_bytes(state))
    assert torch.equal(again["model"].pop("w"), state["model"].pop("w"))
    assert again == state
    for wrong in ([1, 2], nn.Linear(1, 1)):
        buffer = io.BytesIO()
        torch.save(wrong, buffer)
        with pytest.raises(StudyError, match="a state of a trial that came through Ray"):
            state_from(buffer.getvalue())


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    """It starts the Ray that all others here find running."""
    before = signal.getsignal(signal.SIGTERM)
    with RayExecutor(trainer_of("task")) as executor:
        yield executor
    assert not sys.modules["ray"].is_initialized()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and processes
    pytest.mark.usefixtures("_one_thread"),
]


@pytest.mark.slow
class TestOnRay:
    def test_two_stretches_are_those_in_this_process(self, executor, tmp_path):
        here, there = FileStates(tmp_path / "here"), FileStates(tmp_path / "there")
        for start, stop in ((0, 8), (8, 24)):
            batch = proposals(1e-3, 3e-3, 1e-2, start=start, stop=stop)
            expected = comparable(trainer_of("task").run(batch, here))
            assert comparable(executor.run(batch, there)) == expected

    def test_it_listens_on_this_machine_alone(self, executor):
        addresses = {address for pid in family(os.getpid()) for address in listening(pid)}
        assert addresses
        assert addresses <= {
            "0100007F",
            "0000000000000000FFFF00000100007F",
            "00000000000000000000000001000000",
        }

    def test_what_the_users_code_raises_arrives_as_itself(self, executor, tmp_path):
        own = sys.modules["lrkit_task_worker_tasks"].BadRate
        with pytest.raises(ValueError, match="no such rate") as caught:
            list(executor.run(proposals(RAISES), FileStates(tmp_path)))
        assert type(caught.value).__name__ == own.__name__
        assert "worker_tasks.py" in caught.value.__notes__[0]
        with pytest.raises(TaskError, match=r"SystemExit\(3\)"):
            list(executor.run(proposals(LEAVES), FileStates(tmp_path)))

    def test_parts_without_a_name_go_by_value_and_what_cannot_is_told(self, executor, tmp_path):
        class Net(nn.Linear):
            pass

        trainer = trainer_of("task", model=lambda: Net(4, 3))
        expected = comparable(trainer.run(proposals(1e-2), FileStates(tmp_path)))
        with RayExecutor(trainer) as second:
            assert comparable(second.run(proposals(1e-2), FileStates(tmp_path))) == expected
        lock = threading.Lock()
        with pytest.raises(TaskError, match="'worker-toy' cannot be sent by Ray"):
            RayExecutor(trainer_of("task", model=lambda: lock and Net(4, 3)))

    @pytest.mark.timeout(900)  # on a busy machine
    def test_a_search_whose_workers_are_killed_ten_times_ends_as_if_nothing_had_been(
        self, executor, tmp_path
    ):
        """Each kill hits a worker in the midst of a chunk."""
        trainer = trainer_of("slow")
        undisturbed = searched(trainer, trainer, tmp_path / "undisturbed")
        killed: list[int] = []

        def disturb() -> None:
            threading.Timer(0.3, kill).start()

        def kill() -> None:
            busy = [pid for pid in family(os.getpid()) if "ChunkTrainer.train" in title(pid)]
            if busy and len(killed) < 10:
                killed.append(busy[0])
                os.kill(busy[0], signal.SIGKILL)

        with RayExecutor(trainer) as second:
            assert searched(second, trainer, tmp_path / "disturbed", disturb=disturb) == undisturbed
        assert len(killed) == 10


@pytest.mark.slow
def test_ctrl_c_ends_everything(tmp_path):
    marked = Marked(tmp_path, "train_with(RayExecutor)")
    try:
        assert marked.process.stdout is not None
        while "ChunkTrainer" not in " ".join(marked.alive()):
            assert marked.process.poll() is None
        os.killpg(marked.process.pid, signal.SIGINT)
        _, errors = marked.process.communicate(timeout=30)
        assert "KeyboardInterrupt" in errors
        assert marked.all_gone_within(10)
    finally:
        marked.end()


@pytest.mark.slow
def test_a_ray_that_would_listen_to_everybody_is_not_started(tmp_path):
    marked = Marked(tmp_path, "import ray\ntrain_with(RayExecutor)")
    _, errors = marked.process.communicate(timeout=120)
    assert "set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before `import ray`" in errors
    assert marked.all_gone_within(10)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_told_at_once(address):
    with pytest.raises(TaskError, match=f"no Ray at {address}: Connection refused"):
        RayExecutor(trainer_of("task"), address)


def family(pid: int) -> set[int]:
    """The process and all that come from it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def listening(pid: int) -> set[str]:
    """The addresses, in the kernel's hexadecimal, on which a process accepts TCP connections."""
    sockets = set()
    for file in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            sockets.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}
