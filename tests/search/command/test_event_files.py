"""TensorBoard's event files, as TensorBoard 2.21 and TensorBoardX 2.6 wrote them, read without either."""

from __future__ import annotations

import base64
import math

import pytest

from lrkit.errors import TaskError
from lrkit.search.command import Report, TensorBoardTag
from lrkit.search.command.event_files import EventFile, Scalar

# Written by tensorboard.summary.writer.event_file_writer: simple_value at steps 0, 10 and -1, then a tensor by
# float_val beside another tag, then a tensor by tensor_content at step 2**40.
TENSORBOARD = base64.b64decode(
    "SAAAAAAAAAD+kkidCewdO8x0wNpBGg1icmFpbi5FdmVudDoyUi4KLHRlbnNvcmJvYXJkLnN1bW1hcnkud3JpdGVyLmV2ZW50X2ZpbGVfd3Jp"
    "dGVyeec6WhwAAAAAAAAAyMGVHQkAAAAAAADwPyoRCg8KCGxvc3MvdmFsFQAAwD9uEF3qHgAAAAAAAADZ3BIyCQAAAAAAAPA/EAoqEQoPCghs"
    "b3NzL3ZhbBUAAEA/E/awbCcAAAAAAAAAu+GxRgkAAAAAAADwPxD///////////8BKhEKDwoIbG9zcy92YWwVAADAf2e7dYQxAAAAAAAAAJ2D"
    "g+kJAAAAAAAA8D8QFCokChQKCGxvc3MvdmFsQggIASoEAAAAPwoMCgVvdGhlchUAAEBAWj7DLSgAAAAAAAAA/3AWSgkAAAAAAADwPxCAgICA"
    "gCAqFgoUCghsb3NzL3ZhbEIICAEiBAAAgD7veTEc"
)
TENSORBOARDX = base64.b64decode(
    "GAAAAAAAAACjf0siCUvIPcx0wNpBGg1icmFpbi5FdmVudDoyhXPSohkAAAAAAAAAi/EIKAkpWj7MdMDaQRADKgwKCgoDdmFsFQAAAD4kuomx"
)
NAME = "events.out.tfevents.1.host.1.0"


@pytest.fixture
def written(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(TENSORBOARD)
    return path


def test_what_tensorboard_wrote_comes_back(written):
    scalars = EventFile(written).scalars()
    assert [(s.tag, s.step) for s in scalars] == [
        ("loss/val", 0),
        ("loss/val", 10),
        ("loss/val", -1),
        ("loss/val", 20),
        ("other", 20),
        ("loss/val", 2**40),
    ]
    assert [s.value for s in scalars if math.isfinite(s.value)] == [1.5, 0.75, 0.5, 3.0, 0.25]
    assert math.isnan(scalars[2].value)


def test_what_tensorboardx_wrote_comes_back(tmp_path):
    (tmp_path / NAME).write_bytes(TENSORBOARDX)
    assert EventFile(tmp_path / NAME).scalars() == [Scalar("val", 3, 0.125)]


def test_cut_at_any_byte_it_gives_the_whole_records_and_later_the_rest(written):
    whole = [(s.tag, s.step) for s in EventFile(written).scalars()]
    for cut in range(len(TENSORBOARD)):
        written.write_bytes(TENSORBOARD[:cut])
        file = EventFile(written)
        first = [(s.tag, s.step) for s in file.scalars()]
        written.write_bytes(TENSORBOARD)
        assert first + [(s.tag, s.step) for s in file.scalars()] == whole


@pytest.mark.parametrize("content", [b"no event file, but long enough", b"\0" * 40])
def test_another_file_is_told(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(TaskError, match="no TensorBoard event file"):
        EventFile(tmp_path / NAME).scalars()


def test_a_flipped_bit_is_an_error_or_another_value_and_never_a_crash(written):
    for at in range(len(TENSORBOARD)):
        written.write_bytes(TENSORBOARD[:at] + bytes([TENSORBOARD[at] ^ 0x80]) + TENSORBOARD[at + 1 :])
        try:
            EventFile(written).scalars()
        except TaskError:
            continue


def test_a_source_reads_one_tag_from_all_files_below_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / NAME).write_bytes(TENSORBOARDX)
    reader = TensorBoardTag("val").reader(tmp_path)
    assert list(reader.read(ended=False)) == [Report(0.125, step=3)]
    assert list(reader.read(ended=True)) == [Report(0.125, step=3)]
    other = TensorBoardTag("vall").reader(tmp_path)
    assert not other.read(ended=True)
    assert "did you mean 'val'" in other.hint()
    assert "no event file" in TensorBoardTag("val").reader(tmp_path / "none").hint()
