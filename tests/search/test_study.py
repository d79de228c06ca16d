"""What was given to a study is there afterwards, whole, whatever happens to the process."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import StudyError
from lrkit.search import Proposal, Result, SqliteStudy
from lrkit.search.journal import NETWORK_FILE_SYSTEMS, file_system_of

SETTINGS = {"task": "toy", "seed": 0, "budget": 100, "groups": {"head": [2.0, "None", []]}}

numbers = st.floats(allow_nan=True, allow_infinity=True)


def result(lr: float = 1e-3, **changes) -> Result:
    return Result(
        **(
            {"lr": lr, "seed": 0, "steps": 10, "objective": 0.5}
            | {"diverged": False, "cost": 10, "seconds": 0.1}
            | changes
        )
    )


@settings(max_examples=25, deadline=None)
@given(
    st.floats(1e-12, 1e6),
    numbers,
    st.integers(0, 10**12),
    st.booleans(),
    st.lists(st.tuples(st.text(max_size=9), numbers), max_size=3),
    st.lists(st.tuples(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False)), max_size=64),
)
def test_results_come_back_to_the_last_bit(lr, objective, steps, diverged, metrics, parts):
    kept = result(
        lr, objective=objective, steps=steps, diverged=diverged, metrics=tuple(metrics), parts=tuple(parts)
    )
    with SqliteStudy(None, SETTINGS) as study:
        study.add(kept)
        assert repr(study.results()) == repr((kept,))


def test_results_keep_their_order(tmp_path):
    kept = [result(lr) for lr in (3.0, 1.0, 2.0)]
    with SqliteStudy(tmp_path, SETTINGS) as study:
        for one in kept:
            study.add(one)
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert list(study.results()) == kept


def test_nothing_is_kept_twice():
    with SqliteStudy(None, SETTINGS) as study:
        study.add(result())
        with pytest.raises(StudyError, match="UNIQUE"):
            study.add(result())
        assert len(study.results()) == 1


def test_documents_are_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"steps": 3, "losses": [1.0, 0.1]}

    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.once("range test", make) == {"steps": 3, "losses": [1.0, 0.1]}
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.once("range test", make) == {"steps": 3, "losses": [1.0, 0.1]}
        assert study.once("other", lambda: {"a": 1}) == {"a": 1}
    assert made == [1]


def test_results_of_one_lr_with_other_values_are_other_trials(tmp_path):
    one, two = (dataclasses.replace(result(), values=(("weight_decay", wd),)) for wd in (0.1, 1e-300))
    with SqliteStudy(tmp_path, SETTINGS) as study:
        study.add(result())
        study.add(one)
        study.add(two)
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.results() == (result(), one, two)


def test_whoever_holds_the_file_trains_everything(tmp_path):
    proposals = (Proposal(1e-3, 0, 0, 10), Proposal(2e-3, 0, 0, 10))
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.claim(proposals) == proposals
        with pytest.raises(StudyError, match="one driver"):
            study.wait()


def test_in_memory_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SqliteStudy(None, SETTINGS) as study:
        study.add(result())
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused_by_name(tmp_path):
    SqliteStudy(tmp_path, SETTINGS).close()
    with pytest.raises(StudyError, match=r"budget was 100, now 200, seed was 0, now 1"):
        SqliteStudy(tmp_path, SETTINGS | {"seed": 1, "budget": 200})
    SqliteStudy(tmp_path, SETTINGS).close()


def test_a_study_of_the_format_before_is_gone_on_with(tmp_path):
    with SqliteStudy(tmp_path, SETTINGS) as study:
        study.add(result(1.0, parts=((0.5, 0.1), (0.5, 0.4))))
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        connection.execute("alter table results drop column parts")
        connection.execute("update meta set value = '2' where key = 'format'")
    for known in (1, 2):
        with SqliteStudy(tmp_path, SETTINGS) as study:
            assert [r.lr for r in study.results()] == [1.0, 2.0][:known]
            assert study.results()[0].parts == ()
            if known == 1:
                study.add(result(2.0, parts=((1.0, 0.5),)))
            else:
                assert study.results()[1].parts == ((1.0, 0.5),)


def test_another_format_is_refused(tmp_path):
    SqliteStudy(tmp_path, SETTINGS).close()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("update meta set value = '99' where key = 'format'")
    connection.close()
    with pytest.raises(StudyError, match="format 99"):
        SqliteStudy(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to be one " * 40, b"SQLite format 3\0" + b"\1" * 4096],
)
def test_a_file_that_is_no_study_is_left_alone(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(StudyError, match=r"study\.db"):
        SqliteStudy(tmp_path, SETTINGS)
    assert (tmp_path / "study.db").read_bytes() == content


def test_a_database_of_something_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("create table recipes (name text)")
    connection.close()
    with pytest.raises(StudyError, match="no study of lrkit"):
        SqliteStudy(tmp_path, SETTINGS)


def test_a_study_that_is_cleared_begins_anew_and_stays_locked(tmp_path):
    with SqliteStudy(tmp_path, SETTINGS) as study:
        study.add(result(0.1))
        study.once("range test", lambda: {"steps": 100})
        study.clear()
        with pytest.raises(StudyError, match="in use"):
            SqliteStudy(tmp_path, SETTINGS)
        study.add(result(0.1, objective=2.0))
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert [one.objective for one in study.results()] == [2.0]
        assert study.once("range test", dict) == {}


def test_one_search_at_a_time(tmp_path):
    """Within a process and across processes; the second is told which process is there."""
    with (
        SqliteStudy(tmp_path, SETTINGS),
        pytest.raises(StudyError, match=f"process {os.getpid()} is searching"),
    ):
        SqliteStudy(tmp_path, SETTINGS)
    SqliteStudy(tmp_path, SETTINGS).close()


def test_without_a_write_ahead_log_a_rollback_journal_serves(tmp_path):
    """SQLite's dot-file layer has no shared memory, as network file systems have none."""
    with SqliteStudy(tmp_path, SETTINGS, vfs="unix-dotfile") as study:
        assert "no write-ahead log; using the delete journal" in study.journal_note
        study.add(result())
        assert not list(tmp_path.glob("*-wal"))
    with SqliteStudy(tmp_path, SETTINGS, vfs="unix-dotfile") as study:
        assert len(study.results()) == 1


def test_on_a_local_disk_it_is_write_ahead(tmp_path):
    if file_system_of(tmp_path) in NETWORK_FILE_SYSTEMS:
        pytest.skip("the tests' folder is on a network file system")
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.journal_note is None
        assert study._connection.execute("pragma synchronous").fetchone() == (2,)
        assert study._connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_the_mount_table_tells_network_file_systems(tmp_path):
    (tmp_path / "with space" / "deep").mkdir(parents=True)
    where = str(tmp_path / "with space").replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"2 1 0:40 / {where} rw,relatime shared:2 - nfs4 server:/home rw\nnonsense\n"
    )
    assert file_system_of(tmp_path / "with space" / "deep", table) == "nfs4"
    assert file_system_of(tmp_path, table) == "ext4"
    assert file_system_of(tmp_path, tmp_path / "absent") is None


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    with SqliteStudy(tmp_path, SETTINGS) as study:
        study.add(result(1.0))
        pages = study._connection.execute("pragma page_count").fetchone()[0]
        study._connection.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(StudyError, match="full") as caught:
            study.once("large", lambda: {"text": "x" * 100_000})
        assert "\n" not in str(caught.value)
    with SqliteStudy(tmp_path, SETTINGS) as study:
        assert study.results() == (result(1.0),)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StudyError, match="cannot write in the folder"):
        SqliteStudy(tmp_path, SETTINGS)


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot make the folder"):
        SqliteStudy(tmp_path / "file", SETTINGS)


WRITER = """
import json, math, sys
from pathlib import Path
from lrkit.search import Proposal, Result, SqliteStudy
study = SqliteStudy(Path(sys.argv[1]), json.loads(sys.argv[2]))
number = len(study.results())
print("ready", flush=True)
while True:
    study.add(Result(1.0 + number, 0, 10, 0.5, False, 10, 0.1, (("accuracy", 0.9),) * 20))
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, kills):
    """At random moments of a process that does nothing but add results."""
    draw = random.Random(7)
    acknowledged = 0
    command = [sys.executable, "-c", WRITER, str(tmp_path), json.dumps(SETTINGS)]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.02, 0.15))
            writer.send_signal(signal.SIGKILL)
            said = [line for line in writer.stdout.read().splitlines() if line]
        acknowledged = max([acknowledged, *map(int, said[:-1])])
        with SqliteStudy(tmp_path, SETTINGS) as study:
            kept = study.results()
            assert study._connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert len(kept) >= acknowledged
        assert [r.lr for r in kept] == [1.0 + i for i in range(len(kept))]
        assert all(math.isfinite(r.objective) and len(r.metrics) == 20 for r in kept)
    assert acknowledged > 0


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE")
def test_a_study_that_cannot_be_begun_leaves_no_database(tmp_path):
    """A file-size limit of 0 stands for a disk without room for the first page."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StudyError) as caught:
            SqliteStudy(tmp_path, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot use the study" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["study.lock"]
    SqliteStudy(tmp_path, SETTINGS).close()
