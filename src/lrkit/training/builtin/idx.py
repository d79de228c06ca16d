"""The idx format of MNIST and its kin: a magic number, the shape, then bytes. Stated sizes are checked first."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from lrkit.errors import TaskError

__all__ = ["read_idx"]

_MOST_BYTES = 2**31  # MNIST has 47 MB, EMNIST 550 MB: more is a broken or hostile header


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The unsigned bytes of `folder/name` or `folder/name.gz`, in the shape that its header states.

    Raises TaskError when the file is not there, is no idx file of bytes, or has another length than it states.
    """
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise TaskError(
            f"no {name}.gz (or {name}) in {folder}: --data names the folder of the four idx files"
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(f"cannot read {path}: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise TaskError(f"{path} is not an idx file of unsigned bytes")
    axes = content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise TaskError(f"{path} ends within its header")
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected = int(np.prod(shape, dtype=object)) if shape else 0
    if expected != len(content) - start:
        raise TaskError(
            f"{path} states {expected} values in the shape {shape} but holds {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
