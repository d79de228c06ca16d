"""Where a run goes that was not told: runs/<task>-<date>-<n>, a new one each time."""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from itertools import count
from pathlib import Path

from lrkit.errors import StudyError
from lrkit.files import make_folder

__all__ = ["new_run_folder", "remove_unused"]

ROOT = Path("runs")


def new_run_folder(task: str, *, root: Path = ROOT, today: datetime.date | None = None) -> Path:
    """The first of `root/<task>-<date>-1`, `-2` ... that does not exist yet, made: of two processes at once each has
    its own.

    `task` as on the command line: a name, or `path/to/file.py:name`, which counts as `file`. `today` is the local
    date unless given. Raises StudyError where it cannot be made.
    """
    path, colon, name = task.rpartition(":")
    word = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(path).stem if colon else name).strip("-.") or "task"
    day = (today or datetime.date.today()).isoformat()
    make_folder(root)
    return next(folder for number in count(1) if _claim(folder := root / f"{word}-{day}-{number}"))


def remove_unused(folder: Path, *, root: Path = ROOT) -> None:
    """Remove a folder that `new_run_folder` made if nothing was written there, and `root` if that is all there was.

    A folder of another name is the user's own and stays.
    """
    if folder.parent == root and re.search(r"-\d{4}-\d\d-\d\d-\d+$", folder.name):
        with suppress(OSError):  # one that holds something, or is gone
            folder.rmdir()
            root.rmdir()


def _claim(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise StudyError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    return True
