"""Which journal a SQLite file can have where it lies: write-ahead on a local disk, rollback over a network.

A write-ahead log needs memory that all readers share, which file systems over a network do not give; some
grant it all the same and damage the file later, so the mount table is asked too (on Linux, the only system
that has one to read).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["NETWORK_FILE_SYSTEMS", "file_system_of", "set_journal"]

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)

_MOUNTS = Path("/proc/self/mountinfo")


def set_journal(connection: sqlite3.Connection, folder: Path | None) -> str | None:
    """Set the best journal for a database in `folder` (None: in memory); a note for the user where it is not
    write-ahead.

    Raises sqlite3.Error as SQLite gives it. Every commit is flushed to the disk (`synchronous=FULL`): some
    milliseconds for each trial, for which a trial that was reported survives a power cut too.
    """
    connection.execute("pragma synchronous=full")
    if folder is None:
        return None
    kind = file_system_of(folder)
    if kind not in NETWORK_FILE_SYSTEMS:
        granted = str(connection.execute("pragma journal_mode=wal").fetchone()[0])
        if granted == "wal":
            return None
        reason = "the file system grants no write-ahead log"
    else:
        reason = f"{kind} is a network file system"
    used = str(connection.execute("pragma journal_mode=delete").fetchone()[0])
    return f"study in {folder}: {reason}; using the {used} journal, which readers may block"


def file_system_of(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system that holds `folder`, as the mount table names it; None where there is no table."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, found, depth = folder.resolve(), None, -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(fields[4].encode("latin-1", "backslashreplace").decode("unicode_escape"))
        if len(point.parts) >= depth and place.is_relative_to(point):
            found, depth = after.split(" ")[0], len(point.parts)
    return found
