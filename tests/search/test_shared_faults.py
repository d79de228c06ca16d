"""Drivers that share a study are killed, and their connections are cut: every trial has one result all the same, and
the answer is that of an undisturbed search.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from lrkit.plan import Plan
from lrkit.search import Stop
from lrkit.search.shared_study import SharedStudy
from search import drivers
from search.drivers import Batches, outcome
from search.postgres import Server, postgres_folder

pytestmark = pytest.mark.slow

NOBODY_DIES = (
    30.0  # seconds of grace: a machine that is busy with other things must not look like a dead driver
)

TASK = """\
from toys import toy_task
task = toy_task(name="two commands")
"""


@pytest.fixture(scope="module")
def server():
    programs = postgres_folder()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    server = Server(programs)
    yield server
    server.remove()


@pytest.fixture
def start(server, tmp_path, request):
    """Starts a driver of this test's study; all are ended with the test."""
    started = []

    def call(method, seconds, *, name="", grace=NOBODY_DIES):
        arguments = (server.url, name or request.node.name, tmp_path, method, seconds, grace)
        process = drivers.start(*arguments)
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.join()


def undisturbed(method):
    """The results of one search in this process, without any study."""
    results = []
    while not isinstance(asked := method.next_trials(drivers.SEARCH, results), Stop):
        results.append(outcome(asked[0]))
    return by_trial(results)


def by_trial(results):
    return sorted(results, key=lambda result: (result.seed, result.lr))


def found(server, name):
    with SharedStudy(server.url, name, drivers.SETTINGS, steps=drivers.SEARCH.steps) as study:
        return by_trial(study.results())


def trained(folder):
    """How often each trial was trained to its end, and by how many drivers in all."""
    lines = [line.split() for log in folder.glob("*.log") for line in log.read_text().splitlines()]
    return Counter((float(lr), int(seed)) for lr, seed, _ in lines), len({driver for _, _, driver in lines})


def finish(processes, seconds=60):
    for process in processes:
        process.join(seconds)
        assert process.exitcode == 0


def test_two_drivers_share_without_doing_anything_twice(server, start, tmp_path, request):
    method = Batches(3, 8)
    finish([start(method, 0.05), start(method, 0.05)])
    times, sharers = trained(tmp_path)
    assert repr(found(server, request.node.name)) == repr(undisturbed(method))
    assert set(times.values()) == {1}
    assert sharers == 2


def test_two_drivers_take_less_than_seven_tenths_of_ones_time(server, start):
    method, took = Batches(3, 8), []
    finish([start(Batches(1, 1), 0, name="before")])  # so that starting costs both the same
    for name, count in (("one", 1), ("two", 2)):
        began = time.monotonic()
        finish([start(method, 0.7, name=name) for _ in range(count)])
        took.append(time.monotonic() - began)
    print(f"one driver {took[0]:.2f} s, two {took[1]:.2f} s: {took[1] / took[0]:.2f}")
    assert took[1] < 0.7 * took[0]


def test_a_driver_is_killed_ten_times(server, start, tmp_path, request):
    method, chance = Batches(6, 10), random.Random(0)
    steady, other = (start(method, 0.3, grace=3.0) for _ in range(2))
    for _ in range(10):
        time.sleep(chance.uniform(0.5, 2.0))
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        assert other.exitcode == -signal.SIGKILL, "the search ended before the kills did"
        other = start(method, 0.3, grace=3.0)
    finish([steady, other])
    assert repr(found(server, request.node.name)) == repr(undisturbed(method))
    assert len(server.rows("select from lrkit_drivers")) == 0
    attempts = dict(
        server.rows(
            "select attempts, count(*)::int from lrkit_trials natural join lrkit_studies "
            "join studies using (study_id) where study_name = %s group by attempts",
            request.node.name,
        )
    )
    print(f"attempts of a trial: how many trials: {attempts}")
    assert sum(attempts.values()) == 60
    assert max(attempts) > 1, "no kill ever hit a claim"


def test_all_connections_are_cut_ten_times(server, start, tmp_path, request):
    method, chance = Batches(4, 10), random.Random(1)
    processes, cuts = [start(method, 0.2), start(method, 0.2)], 0
    while cuts < 10 and any(process.is_alive() for process in processes):
        time.sleep(chance.uniform(0.2, 0.5))
        cuts += server.cut() > 0
    assert cuts == 10
    finish(processes)
    assert repr(found(server, request.node.name)) == repr(undisturbed(method))
    times, _ = trained(tmp_path)
    assert set(times.values()) == {1}, "a lost connection is no reason to train again"


def test_two_commands_at_once_in_one_directory_share_the_study_and_both_end_well(server, tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    command = [sys.executable, "-m", "lrkit", "tune", "task.py:task", "--no-plots", "--storage", server.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    one, two = sorted((tmp_path / "runs").iterdir())
    assert Plan.load(one / "plan.toml").lr == Plan.load(two / "plan.toml").lr
    steps = [[row["step"] for row in map(json.loads, record)] for record in map(lines_of, (one, two))]
    assert steps[0] == steps[1] == sorted(set(steps[0]))


def lines_of(folder):
    return [line for line in (folder / "record.jsonl").read_text().splitlines() if '"step"' in line]
