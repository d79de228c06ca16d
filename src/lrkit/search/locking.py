"""One writer for one study: a lock that the operating system holds, and lets go of however the process ends.

The lock is on a file of its own beside the study: closing any handle of a database file would drop SQLite's
own locks on it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lrkit.errors import StudyError

__all__ = ["WriterLock"]


class WriterLock:
    """An exclusive lock on `path`, held until `release` or the end of the process, kill -9 included.

    Raises StudyError when another process holds it, naming that process, or when the file system has no
    locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        try:
            # Unbuffered: closing must not have to write, for there may be no room.
            file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise StudyError(
                f"cannot write in the folder {path.parent}: {error.strerror or error}"
            ) from error
        try:
            _lock(file)
        except OSError as error:
            file.close()
            raise StudyError(self._refusal(error)) from error
        self._file = file
        self._sign(str(os.getpid()))

    def release(self) -> None:
        """Let others in. The empty file stays: were it taken away, two could come to lock one file each."""
        if self._file is not None:
            self._sign("")
            self._file.close()
            self._file = None

    def _sign(self, name: str) -> None:
        # For the reader alone: on a full disk the signature is lost, and the lock holds all the same.
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(0)
                self._file.write(name.encode())

    def _refusal(self, error: OSError) -> str:
        if not isinstance(error, BlockingIOError | PermissionError):
            return f"cannot lock {self._path}: {error.strerror or error}; choose a folder on a local disk"
        owner = self._path.read_bytes()[:20].decode(errors="replace") if os.name == "posix" else ""
        who = f"process {owner}" if owner.isdigit() else "another process"
        return (
            f"{self._path.parent} is in use: {who} is searching there; wait for it, or give each process its own "
            "folder (--out)"
        )


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
