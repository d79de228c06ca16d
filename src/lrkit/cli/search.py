"""`lrkit search`: the learning rate with its interval, as a plan; no final training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrkit.cli import options
from lrkit.cli.folders import new_run_folder
from lrkit.cli.session import Session

__all__ = ["command"]


@click.command("search")
@click.argument("task")
@options.schedule_option
@options.length_options
@options.budget_options
@options.search_options
@click.option("--low", type=float, metavar="LR", help="Begin between --low and --high, without a range test.")
@click.option("--high", type=float, metavar="LR", help="See --low.")
@options.seed_option
@options.data_option
@options.device_option
@options.out_option
@options.plots_option
@options.json_option
@options.debug_option
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    task: str,
    schedule: str | None,
    epochs: int | None,
    steps: int | None,
    budget: int | None,
    seconds: float | None,
    low: float | None,
    high: float | None,
    seed: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    plots: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Search the learning rate of TASK under its schedule, and write it as a plan.

    TASK as for `lrkit tune`, which goes on to train with the answer. The same command with the same --out continues.
    """
    from lrkit.cli.answers import show_search
    from lrkit.cli.loading import given_task
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.search import search_lr
    from lrkit.training import check_task, default_plan
    from lrkit.tuning import answer_plan
    from lrkit.tuning.pictures import check_pictures, draw_search_pictures
    from lrkit.tuning.reports import answer_data, asked_settings, write_report

    if (low is None) != (high is None):
        raise click.UsageError("give --low and --high, or neither", click.get_current_context())
    if plots:
        check_pictures()
    with reporting(as_json=as_json) as reporter:
        loaded = given_task(task, data=data, device=device, seed=seed)
        start = default_plan(loaded, schedule=schedule, epochs=epochs, steps=steps)
        bracket = None if low is None or high is None else (low, high)
        settings = asked_settings(
            start,
            method=how["method"],
            space=how["space"],
            bracket=bracket,
            budget=budget,
            seconds=seconds,
            seed=loaded.seed,
        )
        checked = check_task(loaded)
        session.folder = folder = new_run_folder(task) if out is None else out
        search = search_lr(
            loaded,
            plan=start,
            budget=budget,
            seconds=seconds,
            bracket=bracket,
            seed=loaded.seed,
            out=folder,
            device=device,
            reporter=reporter,
            **how,
        )
        plan = answer_plan(loaded, start, search, device=device)
        plan.save(folder / "plan.toml")
        answer = answer_data(search, plan, unscaled_groups=checked.unscaled_groups, out=folder)
        write_report(folder, answer, search, settings)
        if plots:
            draw_search_pictures(folder, search)
    if as_json:
        print_json(answer)
    else:
        show_search(out_console(), search, plan, folder, task)
