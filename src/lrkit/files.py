"""Files: folders made, values as JSON, and writing so that a reader sees the old file or the new, never half."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lrkit.errors import StudyError

__all__ = ["atomic_write", "json_text", "make_folder", "replace_atomically"]


def make_folder(folder: Path) -> Path:
    """`folder`, there and with all that is above it. Raises StudyError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    return folder


def json_text(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON, which knows no NaN and no infinity: both become null."""
    return json.dumps(_without_nan(value), indent=indent, allow_nan=False)


@contextlib.contextmanager
def replace_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write into, which takes the place of `path` when the block ends well.

    It lies in the folder of `path` until then (a rename across file systems is no rename), is flushed to the disk
    before it takes the name, and is removed when the block raises or the disk is full: `path` is untouched then.
    Raises OSError as the system gives it.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _keep_usual_mode(name, target)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _flush_folder(target.parent)


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, whole or not at all. Raises OSError as the system gives it."""
    with replace_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def _keep_usual_mode(name: str, target: Path) -> None:
    """`mkstemp` makes files for the owner alone; give the new one what the old one, or a plain `open`, would have."""
    try:
        mode = target.stat().st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    os.chmod(name, mode)


def _flush_folder(folder: Path) -> None:
    # The rename itself lives in the folder; some file systems (and Windows) cannot flush one, and need not.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
