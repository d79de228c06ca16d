"""Where a run goes that was not told: runs/<task>-<date>-<n>, a new one each time."""

from __future__ import annotations

import datetime
import re
from itertools import count
from pathlib import Path

__all__ = ["new_run_folder"]


def new_run_folder(task: str, *, root: Path = Path("runs"), today: datetime.date | None = None) -> Path:
    """The first of `root/<task>-<date>-1`, `-2` ... that does not exist yet. Makes nothing.

    `task` as on the command line: a name, or `path/to/file.py:name`, which counts as `file`. `today` is the local
    date unless given.
    """
    path, colon, name = task.rpartition(":")
    word = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(path).stem if colon else name).strip("-.") or "task"
    day = (today or datetime.date.today()).isoformat()
    return next(folder for number in count(1) if not (folder := root / f"{word}-{day}-{number}").exists())
