"""`lrkit export-study`: a finished or running search as a file for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrkit.cli import options
from lrkit.errors import StudyError

if TYPE_CHECKING:
    from lrkit.search.trials import Direction

__all__ = ["command"]

_MOST_SHOWN = 12


@click.command("export-study")
@click.argument("source", metavar="RUN_FOLDER")
@click.option(
    "--to", "target", type=click.Choice(["optuna"]), default="optuna", show_default=True, help="Whose format."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file to write; one that is there is left alone.",
)
@click.option(
    "--study", metavar="NAME", help="Which study, where a postgresql:// address takes the folder's place."
)
@click.option(
    "--direction",
    type=click.Choice(["min", "max"]),
    help="Which way the objective goes, where it is a metric and the study does not say.",
)
@options.json_option
@options.debug_option
def command(
    *, source: str, target: str, out: Path, study: str | None, direction: Direction | None, as_json: bool
) -> None:
    """Write the study in RUN_FOLDER, which may be searched still, to a SQLite file of Optuna's.

    Open it with:  optuna-dashboard sqlite:///FILE
    """
    from lrkit.cli.screen import print_json
    from lrkit.search.optuna_file import export_shared_study, export_study

    del target  # the only one there is
    context = click.get_current_context()
    if "://" in source:
        if study is None:
            raise click.UsageError(
                "a postgresql:// address holds many studies: say which with --study", context
            )
        count = export_shared_study(source, study, out)
    elif study is not None:
        raise click.UsageError("--study is for a postgresql:// address: a run folder has one study", context)
    else:
        folder = Path(source)
        _refuse_many(folder)
        count = export_study(folder, out, direction=direction)
    if as_json:
        print_json({"trials": count, "out": str(out)})
    else:
        print(f"{count} trials in {out}; open it with: optuna-dashboard sqlite:///{out}")


def _refuse_many(folder: Path) -> None:
    """Raise StudyError for a folder of studies, such as a comparison's, naming the folder of each: a file holds one."""
    if (folder / "study.db").exists():
        return
    below = [str(study.parent) for study in sorted(folder.glob("*/study.db"))]
    if below:
        shown = [*below[:_MOST_SHOWN], *(["..."] if len(below) > _MOST_SHOWN else [])]
        raise StudyError(f"no study in {folder} itself; name one of those below it: {', '.join(shown)}")
