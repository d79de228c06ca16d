"""What was appended is read again to float32's last bit, and a torn end costs the last stretch alone."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import StudyError
from lrkit.search.loss_curves import LossCurves

ONE = (1e-3, 0, ())
TWO = (3e-3, 1, (("batch_size", 32), ("momentum", 0.9), ("schedule", "cosine(to=0) · é")))

keys = st.tuples(
    st.floats(1e-12, 1e3),
    st.integers(0, 2**40),
    st.lists(st.tuples(st.text(max_size=5), st.integers() | st.text(max_size=9)), max_size=2).map(tuple),
)
losses = st.lists(st.floats(width=32), max_size=6)


@pytest.fixture
def curves(tmp_path):
    return LossCurves(tmp_path / "curves.bin")


def expected(stretches):
    """The model that `read` is held to: a dictionary of numbered losses for each trial."""
    by_trial = {}
    for key, first, values in stretches:
        by_trial.setdefault(key, {}).update(enumerate(values, first))
        by_trial[key].setdefault("end", 0)
        by_trial[key]["end"] = max(by_trial[key]["end"], first + len(values))
    return {
        key: np.array([known.get(i, math.nan) for i in range(known["end"])], np.float32)
        for key, known in by_trial.items()
    }


def assert_equal(read, wanted):
    assert list(read) == list(wanted)
    for key in read:
        np.testing.assert_array_equal(read[key], wanted[key])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(keys, st.integers(0, 20), losses), max_size=8), st.booleans())
def test_what_was_appended_is_read(stretches, reopen):
    with tempfile.TemporaryDirectory() as folder:
        curves = LossCurves(Path(folder) / "curves.bin")
        for stretch in stretches:
            curves.append(*stretch)
            if reopen:
                curves = LossCurves(curves.path)
        assert_equal(curves.read(), expected(stretches))


def test_nothing_yet_is_empty(curves):
    assert curves.read() == {}


def test_a_later_stretch_counts_where_two_overlap(curves):
    curves.append(ONE, 0, [1, 2, 3])
    curves.append(TWO, 2, [9])
    curves.append(ONE, 1, [5, 6, 7])
    assert_equal(curves.read(), {ONE: np.float32([1, 5, 6, 7]), TWO: np.float32([math.nan, math.nan, 9])})


def test_a_file_cut_at_any_byte_holds_its_whole_stretches_and_takes_more(curves):
    stretches = [(ONE, 0, [1.0, math.nan]), (TWO, 0, [math.inf, -2.5, 3.0]), (ONE, 2, [0.5])]
    ends = []
    for stretch in stretches:
        curves.append(*stretch)
        ends.append(curves.path.stat().st_size)
    whole = curves.path.read_bytes()
    for size in range(len(whole) + 1):
        curves.path.write_bytes(whole[:size])
        kept = stretches[: sum(end <= size for end in ends)]
        again = LossCurves(curves.path)
        assert_equal(again.read(), expected(kept))
        again.append(TWO, 5, [4.0])
        assert_equal(again.read(), expected([*kept, (TWO, 5, [4.0])]))


def test_zeros_where_a_power_cut_left_them_are_a_torn_end(curves):
    curves.append(ONE, 0, [1, 2])
    whole = curves.path.read_bytes()
    curves.path.write_bytes(whole + bytes(100))
    again = LossCurves(curves.path)
    again.append(ONE, 2, [3])
    assert_equal(again.read(), {ONE: np.float32([1, 2, 3])})


def test_a_byte_changed_before_the_end_is_told_and_nothing_is_cut(curves):
    curves.append(ONE, 0, [1, 2])
    first = curves.path.stat().st_size
    curves.append(TWO, 0, [3, 4])
    whole = curves.path.read_bytes()
    for place in range(first):
        curves.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        for use in (LossCurves(curves.path).read, lambda: LossCurves(curves.path).append(ONE, 2, [3])):
            with pytest.raises(StudyError, match=r"damaged at byte|no file of loss curves"):
                use()
        assert curves.path.stat().st_size == len(whole)


def test_a_large_float64_loss_becomes_infinite(curves):
    curves.append(ONE, 0, np.array([1e300]))
    assert curves.read()[ONE][0] == math.inf


def test_a_matrix_is_no_curve(curves):
    with pytest.raises(ValueError, match="one dimension, not 2"):
        curves.append(ONE, 0, [[1.0]])
    assert not curves.path.exists()


def test_a_full_disk_is_told_and_leaves_whole_stretches(curves):
    curves.append(ONE, 0, [1, 2])
    size = curves.path.stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, hard))
    try:
        with pytest.raises(StudyError, match=r"cannot write .*curves\.bin"):
            curves.append(TWO, 0, [3, 4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert curves.path.stat().st_size == size
    curves.append(TWO, 0, [3, 4])
    assert_equal(curves.read(), {ONE: np.float32([1, 2]), TWO: np.float32([3, 4])})


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StudyError, match="cannot make the folder"):
        LossCurves(tmp_path / "run" / "curves.bin").append(ONE, 0, [1.0])


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_a_beginning_of_what_was_appended(tmp_path):
    path = tmp_path / "curves.bin"
    code = (
        "import itertools, pathlib, sys\n"
        "from lrkit.search.loss_curves import LossCurves\n"
        f"curves = LossCurves(pathlib.Path({str(path)!r}))\n"
        "start = len(curves.read().get((1.0, 0, ()), ()))\n"
        "print('ready', flush=True)\n"
        "for i in itertools.count(start, 1000):\n"
        "    curves.append((1.0, 0, ()), i, range(i, i + 1000))\n"
    )
    before = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        read = LossCurves(path).read()[(1.0, 0, ())]
        assert len(read) > before
        np.testing.assert_array_equal(read, np.arange(len(read), dtype=np.float32))
        before = len(read)
