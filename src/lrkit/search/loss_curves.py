"""The training losses of trials, each stretch appended to one compact file beside the study.

    file      16 bytes  b"lrkit curves 1\\n\\0", then records
    record    4 bytes   b"loss"
              4 x 3     length of the payload; CRC-32 of the payload; CRC-32 of the 12 bytes before this one
    payload   4 + 8 + 4 length of the key; number of the first update; how many losses
              the key   JSON, UTF-8: [lr, seed, [[name, value], ...]]
              4 each    the losses, float32

All numbers are little-endian. A record is written by one call, so that what a kill or a power cut leaves in part is
the last one: it is ignored, and cut off by the next append. What is unreadable with more behind it is damage, and
told. Nothing is flushed to the disk on purpose: a curve is a help for the eye, and no search rests on it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.errors import StudyError
from lrkit.files import make_folder

if TYPE_CHECKING:
    from lrkit.search.trials import TrialKey

__all__ = ["LossCurves"]

_MAGIC = b"lrkit curves 1\n\0"
_MARK = b"loss"
_HEAD = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_RECORD = _HEAD.size + _CRC.size
_STRETCH = struct.Struct("<IQI")
_FLOAT = np.dtype("<f4")


class LossCurves:
    """The file at `path`, made by the first append. One process at a time appends: the one that has the study.

    Raises StudyError for a file that cannot be used, is of another kind, or is damaged before its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: int | None = None  # of the whole records; known once this object has appended

    def append(self, key: TrialKey, steps_from: int, losses: ArrayLike) -> None:
        """Keep the losses of the updates `steps_from`, `steps_from` + 1, ... of a trial, whole or not at all.

        `losses` is one-dimensional, and kept as float32 (NaN and infinity, too).
        """
        record = _record(key, steps_from, losses)
        try:
            if self._end is None:
                make_folder(self.path.parent)
                self._end = _whole_end(self._bytes(), self.path)
            with self.path.open("r+b" if self.path.exists() else "w+b", buffering=0) as file:
                file.truncate(self._end)
                file.seek(self._end)
                content = record if self._end else _MAGIC + record
                written = file.write(content)
                if written != len(content):
                    file.truncate(self._end)
                    raise StudyError(f"cannot write {self.path}: no room on the disk")
        except OSError as error:
            raise StudyError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._end += len(content)

    def read(self) -> dict[TrialKey, NDArray[np.float32]]:
        """The loss of each update by trial, in the order in which trials began; NaN where none was kept.

        Where two stretches of a trial overlap, the later one counts.
        """
        content = self._bytes()
        stretches: dict[TrialKey, list[tuple[int, NDArray[np.float32]]]] = {}
        for start, end in _records(content, self.path):
            key, first, losses = _stretch(content[start + _RECORD : end])
            stretches.setdefault(key, []).append((first, losses))
        return {key: _joined(parts) for key, parts in stretches.items()}

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StudyError(f"cannot read {self.path}: {error.strerror or error}") from error


def _record(key: TrialKey, steps_from: int, losses: ArrayLike) -> bytes:
    with np.errstate(over="ignore"):
        values = np.asarray(losses).astype(_FLOAT)
    if values.ndim != 1:
        raise ValueError(f"the losses of a trial have one dimension, not {values.ndim}")
    name = json.dumps(key).encode()
    payload = _STRETCH.pack(len(name), steps_from, len(values)) + name + values.tobytes()
    head = _HEAD.pack(_MARK, len(payload), zlib.crc32(payload))
    return head + _CRC.pack(zlib.crc32(head)) + payload


def _stretch(payload: bytes) -> tuple[TrialKey, int, NDArray[np.float32]]:
    length, first, count = _STRETCH.unpack_from(payload)
    name = payload[_STRETCH.size : _STRETCH.size + length]
    lr, seed, values = json.loads(name)
    losses = np.frombuffer(payload, _FLOAT, count, _STRETCH.size + length)
    return (lr, seed, tuple((name, value) for name, value in values)), first, losses


def _records(content: bytes, path: Path) -> Iterator[tuple[int, int]]:
    """Start and end of each whole record, up to where the file ends or was torn."""
    if not content.startswith(_MAGIC):
        if _MAGIC.startswith(content):
            return
        raise StudyError(f"{path} is no file of loss curves: choose another folder, or move it away")
    start = len(_MAGIC)
    while start + _RECORD <= len(content):
        head = content[start : start + _HEAD.size]
        mark, length, payload_crc = _HEAD.unpack(head)
        end = start + _RECORD + length
        if _CRC.unpack_from(content, start + _HEAD.size)[0] != zlib.crc32(head) or mark != _MARK:
            if any(content[start:]):  # a power cut may leave zeros where nothing was written
                raise _damage(path, start)
            return
        if end > len(content):
            return
        if zlib.crc32(content[start + _RECORD : end]) != payload_crc:
            if end < len(content):
                raise _damage(path, start)
            return
        yield start, end
        start = end


def _whole_end(content: bytes, path: Path) -> int:
    """Where the next record goes; 0 where the file has yet to begin."""
    begun = len(_MAGIC) if content.startswith(_MAGIC) else 0
    return max((end for _, end in _records(content, path)), default=begun)


def _damage(path: Path, start: int) -> StudyError:
    return StudyError(
        f"the loss curves in {path} are damaged at byte {start}: move the file away; results are not in it"
    )


def _joined(parts: list[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float32]:
    whole = np.full(max(first + len(losses) for first, losses in parts), np.nan, np.float32)
    for first, losses in parts:
        whole[first : first + len(losses)] = losses
    return whole
