"""Scalars in a TensorBoard event file, read without TensorBoard while it is still written.

The file is a row of records: length (uint64), checksum of the length, data, checksum of the data (masked CRC-32C).
The data is a protocol buffer `Event`, of which only the fields of a scalar are looked at: `step`, and in `summary` the
`tag` with its `simple_value` (PyTorch, TensorBoardX) or `tensor` (TensorFlow 2).
Sources: tensorflow/core/lib/io/record_writer.h, core/util/event.proto, core/framework/{summary,tensor}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrkit.errors import TaskError

__all__ = ["EventFile", "Scalar"]

_HEADER = struct.Struct("<QI")
_FOOTER = 4
_LONGEST = 1 << 20
"""Bytes; longer records hold pictures and graphs, and are passed over unread."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE = 1, 2


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value under its tag, at the step that the script gave."""

    tag: str
    step: int
    value: float


class EventFile:
    """Reads on where it stopped; a record that is not whole yet is left for the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def scalars(self) -> list[Scalar]:
        """The scalars since the last call. Raises TaskError where the file is no event file, or damaged."""
        found: list[Scalar] = []
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            while self._offset + _HEADER.size <= size:
                file.seek(self._offset)
                header = file.read(_HEADER.size)
                length, checksum = _HEADER.unpack(header)
                if _masked_crc(header[:8]) != checksum:
                    raise TaskError(
                        f"{self._path} is no TensorBoard event file, or damaged at byte {self._offset}"
                    )
                end = self._offset + _HEADER.size + length + _FOOTER
                if end > size:
                    break
                if length <= _LONGEST:
                    found += self._scalars(file.read(length))
                self._offset = end
        return found

    def _scalars(self, record: bytes) -> list[Scalar]:
        try:
            return list(_scalars(memoryview(record)))
        except (IndexError, struct.error, UnicodeDecodeError, _WrongField) as error:
            raise TaskError(f"{self._path} holds a damaged record at byte {self._offset}") from error


class _WrongField(Exception):
    """A field of a kind that these messages do not have."""


def _scalars(event: memoryview) -> Iterator[Scalar]:
    step, summaries = 0, []
    for number, content in _fields(event):
        if number == 2 and isinstance(content, int):
            step = content - (1 << 64) if content >= 1 << 63 else content
        elif number == 5 and isinstance(content, memoryview):
            summaries.append(content)
    for summary in summaries:
        for number, content in _fields(summary):
            if number == 1 and isinstance(content, memoryview):
                yield from _scalar(content, step)


def _scalar(message: memoryview, step: int) -> Iterator[Scalar]:
    tag, value = "", None
    for number, content in _fields(message):
        if not isinstance(content, memoryview):
            continue
        if number == 1:
            tag = bytes(content).decode()
        elif number == 2:
            value = struct.unpack("<f", content)[0]
        elif number == 8:
            value = _tensor_value(content)
    if value is not None:
        yield Scalar(tag, step, value)


def _tensor_value(tensor: memoryview) -> float | None:
    """The number of a tensor of one float; None for any other tensor."""
    kind, data = 0, memoryview(b"")
    for number, content in _fields(tensor):
        if number == 1 and isinstance(content, int):
            kind = content
        elif number in (4, 5, 6) and isinstance(content, memoryview):
            data = content
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(kind)
    if form is None or len(data) != struct.calcsize(form):
        return None
    number_read: float = struct.unpack(form, data)[0]
    return number_read


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and content of each field: an integer, or the bytes of all else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            content, at = _varint(message, at)
            yield key >> 3, content
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _WrongField(kind)
        if at + size > len(message):
            raise IndexError(size)
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise _WrongField(shift)


def _masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli; polynomial 0x82F63B78 reflected), rotated and offset as the records have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
