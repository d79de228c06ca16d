"""A command as a process group of its own, and the guard that ends what a dead driver left. POSIX only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lrkit.errors import StudyError, TaskError
from lrkit.search.command import guard

__all__ = ["Child", "Guard"]


class Child:
    """A command that runs, with all processes that it starts: they get no Ctrl-C of the terminal, only ours.

    Its standard input is empty; output and errors go into two files, which outlive us. Raises TaskError where the
    command cannot be started, StudyError where the files cannot be written.
    """

    def __init__(
        self, arguments: Sequence[str], *, variables: Mapping[str, str], output: Path, errors: Path
    ) -> None:
        with _opened(output) as out, _opened(errors) as err:
            try:
                self._process = subprocess.Popen(
                    arguments,
                    env={**os.environ, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                raise TaskError(
                    f"cannot start the command {arguments[0]!r}: {error.strerror or error}"
                ) from error

    @property
    def group(self) -> int:
        """The number of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to all its processes that are left."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, number)

    def reap(self) -> None:
        """Kill whatever is left of the group, and wait for the command itself."""
        self.signal(signal.SIGKILL)
        self._process.wait()


class Guard:
    """Sees to it that no command outlives this process, however this one ends."""

    def __init__(self, grace: float) -> None:
        # -I and -S: it starts in a hundredth of a second, and nothing in the user's folder can change it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, repr(grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def watch(self, group: int) -> None:
        """From now on, this process group is ended when we are."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group is gone."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Let it end what it still watches, and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        # Without a guard (somebody killed it) the search is as good; only a kill -9 would leave commands behind.
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(line.encode())


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror or error}") from error
