"""From any exception to one line and an exit code. Decides nothing else, prints nothing."""

from __future__ import annotations

import errno
import re
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from lrkit.cli.session import Session
from lrkit.errors import LrkitError, NoAnswer, StudyError

__all__ = ["Failure", "explain"]

RAN_WITHOUT_ANSWER, WRONG_INPUT, INTERRUPTED = 1, 2, 130
_MACHINE = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Failure:
    """One line for the person, and the code for the shell."""

    line: str
    code: int


def explain(error: BaseException, session: Session) -> Failure | None:
    """What to say about `error`; None for an error of lrkit's own, whose traceback belongs on the screen."""
    if isinstance(error, click.exceptions.Exit):
        return None
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure(f"interrupted{_how_to_go_on(session)}", INTERRUPTED)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "lrkit"
        return Failure(f"{_sentence(error.format_message())} ({command} --help)", WRONG_INPUT)
    if isinstance(error, click.ClickException):
        return Failure(_sentence(error.format_message()), error.exit_code)
    if isinstance(error, LrkitError):
        return Failure(_placed(error), _code(error))
    return _of_memory(error) or _of_the_user(error) or _of_the_machine(error)


def _how_to_go_on(session: Session) -> str:
    if session.folder is None or not session.folder.is_dir():
        return " before anything was written"
    return f"; what was finished is kept: the same command with --out {session.folder} goes on from there"


def _code(error: LrkitError) -> int:
    """The user's mistake, unless the machine stands behind it (then the same command may do well elsewhere), or the
    command did all that it could and there is no answer."""
    if isinstance(error, NoAnswer):
        return RAN_WITHOUT_ANSWER
    cause = error.__cause__
    refused = isinstance(cause, OSError) and cause.errno in _MACHINE
    # SQLite and torch have names of their own for a disk that takes no more.
    storage = isinstance(cause, OSError | RuntimeError) or type(cause).__name__ == "OperationalError"
    machine = refused or (isinstance(error, StudyError) and storage)
    return RAN_WITHOUT_ANSWER if machine else WRONG_INPUT


def _placed(error: LrkitError) -> str:
    """The message, and the place in the user's code where it began if the message does not name it."""
    place = _users_place(error.__cause__) if error.__cause__ is not None else None
    line = _one_line(str(error))
    return line if place is None or f"line {place[1]}" in line else f"{line} ({place[0]}, line {place[1]})"


def _of_memory(error: BaseException) -> Failure | None:
    # torch's own class is known by its name, as torch may not even be loaded.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure("out of memory: make the batches or the model smaller", RAN_WITHOUT_ANSWER)
    return None


def _of_the_machine(error: BaseException) -> Failure | None:
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return Failure(f"{where}{error.strerror or error}", RAN_WITHOUT_ANSWER)


def _of_the_user(error: BaseException) -> Failure | None:
    place = _users_place(error)
    if place is None or not isinstance(error, Exception):
        return None
    what = _one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return Failure(f"{place[0]}, line {place[1]}: {what} (--debug shows the traceback)", WRONG_INPUT)


def _users_place(error: BaseException) -> tuple[str, int] | None:
    """File and line of the deepest frame that is neither lrkit's nor an installed package's."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # What was raised in a worker process has its traceback there as a note.
    told = "\n".join(getattr(error, "__notes__", ()))
    frames += [
        (file, int(line)) for file, line in re.findall(r'^ *File "(.+)", line (\d+)', told, re.MULTILINE)
    ]
    for file, line in reversed(frames):
        if line is not None and not _is_installed(file):
            return _shown(file), line
    return None


def _is_installed(filename: str) -> bool:
    if filename.startswith("<"):
        return True
    path = Path(filename).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    roots = (Path(__file__).resolve().parents[1], Path(sysconfig.get_path("stdlib")).resolve())
    return any(path.is_relative_to(root) for root in roots)


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sentence(message: str) -> str:
    """click begins with a capital and ends with a full stop; lrkit's own lines do neither."""
    line = _one_line(message).rstrip(".")
    return line[:1].lower() + line[1:] if line[1:2].islower() else line
