"""`lrkit compare`: which schedule ends best, each at a rate of its own; a table, its significance, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from lrkit.cli import options
from lrkit.cli.folders import new_run_folder
from lrkit.cli.session import Session

__all__ = ["command"]


@click.command("compare")
@click.argument("task")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC SPEC...")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Final trainings of each schedule.",
)
@options.length_options
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="Updates that the search of each schedule may spend; five trainings' worth by default.",
)
@click.option("--metric", metavar="NAME", help="Compare by this figure; by default the task's objective.")
@click.option("--direction", type=click.Choice(["min", "max"]), help="Which way --metric is better.")
@click.option(
    "--equal-data",
    is_flag=True,
    help="Leave the held-out part out of every final training, as schedules with feedback must.",
)
@options.seed_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes side by side; by default one for each core of a CPU, 4 at most.",
)
@options.data_option
@options.device_option
@options.out_option
@options.plots_option
@options.json_option
@options.debug_option
@click.pass_obj
def command(
    session: Session,
    *,
    task: str,
    specs: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    steps: int | None,
    budget: int | None,
    metric: str | None,
    direction: Literal["min", "max"] | None,
    equal_data: bool,
    seed: int | None,
    workers: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    plots: bool,
    as_json: bool,
) -> None:
    """Tune the peak learning rate of each SPEC alike, train with it under some seeds, and say which ends best.

    TASK as for `lrkit tune`. A SPEC is a schedule, or a name for it and the schedule: "step=staircase(30%)",
    "reactive=hold() & plateau(patience=2)".

    Interrupted, or killed: the same command with the same --out goes on where it was.
    """
    from lrkit.cli.comparisons import show_comparison
    from lrkit.cli.loading import given_task
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.tuning import compare_schedules

    with reporting(as_json=as_json) as reporter:
        given_task(task, data=data, device=device, seed=seed)
        session.folder = new_run_folder(task) if out is None else out
        comparison = compare_schedules(
            task,
            specs,
            seeds=seeds,
            epochs=epochs,
            steps=steps,
            budget=budget,
            metric=metric,
            direction=direction,
            equal_data=equal_data,
            seed=seed,
            workers=workers,
            data=data,
            out=session.folder,
            device=device,
            plots=plots,
            reporter=reporter,
        )
    if as_json:
        print_json(comparison.to_dict())
    else:
        show_comparison(out_console(), comparison, task)
