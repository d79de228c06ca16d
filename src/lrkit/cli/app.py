"""The group of commands, each in its own module that is imported when it is called, and the way in and out.

What a failure says and which code it exits with is in failures.py.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from lrkit import __version__
from lrkit.cli.failures import explain
from lrkit.cli.folders import remove_unused
from lrkit.cli.session import Session
from lrkit.errors import did_you_mean

__all__ = ["lrkit_command", "main", "run"]

# Name, and what one line of `lrkit --help` says; the module has the same name with underscores.
_COMMANDS = {
    "tune": "Find the learning rate, train with it, test: the main job.",
    "find": "Range test: a bracket for the learning rate, in seconds.",
    "search": "Search the learning rate, with an interval, and stop there.",
    "train": "Train a task under a plan.",
    "compare": "Compare schedules, each at a rate tuned for it.",
    "export-study": "Write the study of a search for Optuna's dashboard.",
    "plot": "Draw schedules, here and as a figure.",
    "schedules": "List the schedules, or explain one.",
    "new-task": "Write a commented task file that runs.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is asked for: help needs neither numpy nor torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"lrkit.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    name="lrkit",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  lrkit tune digits      Help on one command:  lrkit tune --help",
)
@click.version_option(__version__, "-V", "--version", message="lrkit %(version)s")
def lrkit_command() -> None:
    """Which learning rate, which schedule, how sure, and is it working?"""


def main() -> NoReturn:
    """The console script: run the command line's arguments and exit with their code."""
    warnings.formatwarning = _one_line
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without Braille shows question marks, and goes on
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`lrkit schedules | head`). Python flushes once more at exit: give it a place to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; what went wrong is one line on standard error.

    0: done. 1: it ran, and there is no answer or the machine failed. 2: what the user gave is wrong. 130: Ctrl-C.
    With `--debug` the exception comes through instead.
    """
    session = Session()
    try:
        code = lrkit_command.main(
            args=list(args) or ["--help"], prog_name="lrkit", standalone_mode=False, obj=session
        )
    except BaseException as error:
        if session.folder is not None:
            remove_unused(session.folder)
        failure = explain(error, session)
        if failure is None or session.debug:
            raise
        click.echo(f"{click.style('lrkit:', fg='red', bold=True)} {failure.line}", err=True)
        return failure.code
    return code if isinstance(code, int) else 0


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"lrkit: warning: {' '.join(str(message).split())}\n"
