"""`lrkit new-task`: a commented task file to start from."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

import click

from lrkit.cli import options
from lrkit.errors import TaskError
from lrkit.files import atomic_write

__all__ = ["command"]


@click.command("new-task")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@options.debug_option
def command(*, file: Path, force: bool) -> None:
    """Write a commented task to FILE (a .py) that runs as it is: change it into yours."""
    if file.suffix != ".py":
        raise TaskError(f"a task file ends in .py, not {str(file)!r}")
    if file.exists() and not force:
        raise TaskError(f"{str(file)!r} exists already; choose another name, or overwrite it with --force")
    if not file.parent.is_dir():
        raise TaskError(f"no folder {str(file.parent)!r}; make it first")
    template = resources.files("lrkit.cli").joinpath("task_template.py.txt").read_text("utf-8")
    try:
        atomic_write(file, template)
    except OSError as error:
        raise TaskError(f"cannot write {str(file)!r}: {error.strerror or error}") from error
    click.echo(f"wrote {file}; try it with:\n  lrkit tune {shlex.quote(f'{file}:task')}")
