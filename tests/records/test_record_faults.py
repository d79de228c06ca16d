"""What a kill, a full disk or a strange file does to a record: nothing that was whole is lost, nothing is guessed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lrkit.errors import LrkitError
from lrkit.records import RecordWriter, read_record

GOOD = '{"step": 0, "loss": 1.0, "lr": [0.1], "grad_norm": null, "seconds": 0.5}\n'
SECOND = GOOD.replace('"step": 0', '"step": 1')


def write(writer: RecordWriter, step: int, **metrics: float) -> None:
    writer.write(step, 1.0, [0.1], grad_norm=None, seconds=0.5, **metrics)


@pytest.mark.parametrize("cut", range(1, len(SECOND)))
def test_a_last_line_torn_anywhere_is_passed_over_and_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(GOOD + SECOND[:cut])
    assert read_record(path).steps.tolist() == [0]
    with RecordWriter(path) as writer:
        write(writer, 1)
    assert read_record(path).steps.tolist() == [0, 1]
    assert path.read_text().count("\n") == 2


def test_zeros_after_a_power_cut_are_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(GOOD.encode() + bytes(40))
    assert read_record(path).steps.tolist() == [0]
    with RecordWriter(path) as writer:
        write(writer, 1)
    assert read_record(path).steps.tolist() == [0, 1]


WRONG = {
    "no JSON": ("what is this", "line 2", "not JSON"),
    "empty": ("", "line 2", "not JSON"),
    "a list": ("[1, 2]", "line 2", "not a JSON object"),
    "a key is missing": (
        '{"step": 1, "loss": 1.0, "lr": [], "grad_norm": null}',
        "line 2",
        "'seconds' is missing",
    ),
    "step is no integer": (SECOND.strip().replace('"step": 1', '"step": 1.0'), "line 2", "'step' is 1.0"),
    "step is true": (SECOND.strip().replace('"step": 1', '"step": true'), "line 2", "'step' is true"),
    "step is negative": (SECOND.strip().replace('"step": 1', '"step": -1'), "line 2", "'step' is -1"),
    "step is too large": (
        SECOND.strip().replace('"step": 1', '"step": 9223372036854775808'),
        "line 2",
        "'step'",
    ),
    "steps fall": (GOOD.strip(), "line 2", "step 0 comes after step 0"),
    "loss is text": (SECOND.strip().replace("1.0", '"1.0"'), "line 2", "'loss' is \"1.0\""),
    "loss is true": (SECOND.strip().replace("1.0", "true"), "line 2", "'loss' is true"),
    "loss is null": (SECOND.strip().replace("1.0", "null"), "line 2", "'loss' is null"),
    "loss is too large": (SECOND.strip().replace("1.0", "1e400"), "line 2", "'loss'"),
    "loss is a huge integer": (SECOND.strip().replace("1.0", "1" + "0" * 400), "line 2", "'loss'"),
    "loss has too many digits": (SECOND.strip().replace("1.0", "1" * 5000), "line 2", "too many digits"),
    "bare NaN": (SECOND.strip().replace("1.0", "NaN"), "line 2", "written as a string in quotes"),
    "lr is a number": (SECOND.strip().replace("[0.1]", "0.1"), "line 2", "'lr' is 0.1, not a list"),
    "lr holds a list": (SECOND.strip().replace("[0.1]", "[[0.1]]"), "line 2", "'lr' is [0.1]"),
    "a metric is a table": (SECOND.strip()[:-1] + ', "accuracy": {}}', "line 2", "'accuracy' is {}"),
    "nested without end": ("[" * 100_000, "line 2", "nested too deeply"),
    "longer than any row": ('{"step": 1' + " " * (1 << 20), "line 2", "longer than 1048576 bytes"),
    "not UTF-8": (b"\xff\xfe", "line 2", "not UTF-8"),
    "UTF-16": (SECOND.strip().encode("utf-16-le"), "line 2", "not JSON"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_line_that_is_no_row_is_one_clear_line_of_error(tmp_path: Path, case: str) -> None:
    line, *expected = WRONG[case]
    path = tmp_path / "record.jsonl"
    path.write_bytes(GOOD.encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(LrkitError) as error:
        read_record(path)
    message = str(error.value)
    assert str(path) in message
    assert all(part in message for part in expected), message
    assert "\n" not in message
    assert len(message) < 400


def test_hostile_files_are_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(b"[" * (1 << 22))
    start = time.perf_counter()
    with pytest.raises(LrkitError, match="line 1"):
        read_record(path)
    assert time.perf_counter() - start < 1


def test_a_table_of_lrs_too_wide_for_memory_is_refused(tmp_path: Path) -> None:
    """One row with very many groups would make every other row as wide."""
    wide = SECOND.replace("[0.1]", "[" + ",".join(["1"] * 400_000) + "]")
    path = tmp_path / "record.jsonl"
    rest = (GOOD.replace('"step": 0', f'"step": {step}') for step in range(2, 200))
    path.write_text(GOOD + wide + "".join(rest))
    with pytest.raises(LrkitError, match="too large to read"):
        read_record(path)


def test_a_missing_file_and_a_folder_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(LrkitError, match="no record at"):
        read_record(tmp_path / "record.jsonl")
    with pytest.raises(LrkitError, match="cannot read the record"):
        read_record(tmp_path)
    with pytest.raises(LrkitError, match="cannot write the record"):
        RecordWriter(tmp_path)
    with pytest.raises(LrkitError, match="cannot write the record"):
        RecordWriter(tmp_path / "none" / "record.jsonl")


@pytest.mark.parametrize("text", ["my notes", "my notes\n", "a\nb\n", '[1, 2]\n{"step": 0', "x" * (3 << 20)])
@pytest.mark.parametrize("keep", [None, 0, 5])
def test_what_is_no_record_is_never_cut_or_written_to(tmp_path: Path, text: str, keep: int | None) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(LrkitError):
        RecordWriter(path, keep=keep)
    assert path.read_text() == text


def test_steps_rise_also_across_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with RecordWriter(path) as writer:
        write(writer, 5)
        with pytest.raises(LrkitError, match="step 5 cannot follow step 5"):
            write(writer, 5)
    with RecordWriter(path) as writer, pytest.raises(LrkitError, match="keep=step"):
        write(writer, 4)
    with pytest.raises(LrkitError, match="step -1"), RecordWriter(tmp_path / "new.jsonl") as writer:
        write(writer, -1)
    for keep in (-1, True):
        with pytest.raises(LrkitError, match="keep"):
            RecordWriter(path, keep=keep)
    assert read_record(path).steps.tolist() == [5]


def test_a_row_too_long_to_be_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with RecordWriter(path) as writer:
        write(writer, 0)
        with pytest.raises(LrkitError, match="fewer metrics"):
            write(writer, 1, **{f"metric {i}": 0.1 for i in range(100_000)})
        write(writer, 1)
    assert read_record(path).steps.tolist() == [0, 1]


def test_rows_reach_the_file_after_a_hundred_or_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "record.jsonl"
    with RecordWriter(path) as writer:
        for step in range(99):
            write(writer, step)
        assert len(read_record(path)) == 0
        write(writer, 99)
        assert len(read_record(path)) == 100
        write(writer, 100)
        assert len(read_record(path)) == 100
        now += 1.0
        write(writer, 101)
        assert len(read_record(path)) == 102
        write(writer, 102)
        writer.flush()
        assert len(read_record(path)) == 103
        write(writer, 103)
    assert len(read_record(path)) == 104
    writer.close()


class Disk:
    """A file that fails: after `room` bytes it takes no more, like a full disk; short writes on the way."""

    def __init__(self, file: object, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: memoryview) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._file.write(data[: min(self.room, 7)])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.mark.parametrize("room", range(0, 3 * len(GOOD), 5))
def test_a_full_disk_is_one_line_and_leaves_whole_rows(tmp_path: Path, room: int) -> None:
    """The rows that did not fit are kept, and written once there is room."""
    path = tmp_path / "record.jsonl"
    writer = RecordWriter(path)
    write(writer, 0)
    writer.flush()
    disk = writer._file = Disk(writer._file, room)
    for step in (1, 2, 3):
        write(writer, step)
    with pytest.raises(LrkitError, match=r"cannot write the record .*No space left on device; .*make room"):
        writer.flush()
    assert path.read_text() == GOOD
    disk.room = 10_000
    writer.close()
    assert read_record(path).steps.tolist() == [0, 1, 2, 3]


def test_a_full_disk_when_closing_still_closes(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "record.jsonl")
    file = writer._file
    writer._file = Disk(file, 0)
    write(writer, 0)
    with pytest.raises(LrkitError, match="No space left"):
        writer.close()
    assert file.closed
    writer.close()


def test_what_ended_the_run_is_not_hidden_by_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RecordWriter(tmp_path / "record.jsonl") as writer:  # noqa: PT012
        file = writer._file
        writer._file = Disk(file, 0)
        write(writer, 0)
        raise KeyboardInterrupt
    assert file.closed


@pytest.mark.parametrize("blocked", ["replace", "fsync"])
def test_when_dropping_rows_fails_the_old_record_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(GOOD + SECOND)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, blocked, fail)
        with pytest.raises(LrkitError, match="No space left"):
            RecordWriter(path, keep=1)
    assert path.read_text() == GOOD + SECOND
    assert os.listdir(tmp_path) == ["record.jsonl"]


def test_ctrl_c_between_writing_and_knowing_it_writes_no_row_twice(tmp_path: Path) -> None:
    class Interrupted(Disk):
        def write(self, data: memoryview) -> int:
            self._file.write(data)
            raise KeyboardInterrupt

    path = tmp_path / "record.jsonl"
    with pytest.raises(KeyboardInterrupt), RecordWriter(path) as writer:  # noqa: PT012
        write(writer, 0)
        file = writer._file
        writer._file = Interrupted(file, 0)
        try:
            writer.flush()
        finally:
            writer._file = file
    assert path.read_text() == GOOD


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_loses_at_most_the_rows_held_back(tmp_path: Path) -> None:
    """And a run that resumes after it ends with the record of an undisturbed one."""
    path = tmp_path / "record.jsonl"
    code = (
        "import sys; from lrkit.records import RecordWriter\n"
        "writer = RecordWriter(sys.argv[1])\n"
        "for step in range(10**9): writer.write(step, 1.0, [0.1], grad_norm=None, seconds=0.5)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 60
    while (not path.exists() or path.stat().st_size < 100_000) and time.monotonic() < deadline:
        pass
    process.kill()
    process.wait()
    steps = read_record(path).steps.tolist()
    assert len(steps) >= 1000
    assert steps == list(range(len(steps)))
    with RecordWriter(path, keep=500) as writer:
        for step in range(500, 1000):
            write(writer, step)
    expected = "".join(GOOD.replace('"step": 0', f'"step": {step}') for step in range(1000))
    assert path.read_text() == expected
