"""`lrkit train`: one training under a plan, with record, checkpoint and picture."""

from __future__ import annotations

from pathlib import Path

import click

from lrkit.cli import options
from lrkit.cli.folders import new_run_folder
from lrkit.cli.session import Session
from lrkit.errors import NoAnswer

__all__ = ["command"]


@click.command("train")
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@click.argument("task")
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
    *,
    plan_file: Path,
    task: str,
    seed: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    plots: bool,
    as_json: bool,
) -> None:
    """Train TASK on all its data under PLAN, a plan.toml, and test.

    A plan with control leaves out the part of the data that its controllers watch, unless the task has validation data.

    TASK as for `lrkit tune`. The same command with the same --out continues an interrupted training bit for bit.
    Exits with 1 when the loss stops being finite.
    """
    from lrkit.plan import Plan

    plan = Plan.load(plan_file)

    from lrkit.cli.answers import show_training
    from lrkit.cli.loading import given_task
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.training import final_part, train
    from lrkit.tuning.pictures import check_pictures, draw_training_picture

    if plots:
        check_pictures()
    with reporting(as_json=as_json) as reporter:
        loaded = given_task(task, data=data, device=device)
        session.folder = folder = new_run_folder(task) if out is None else out
        seed = loaded.seed if seed is None else seed
        part = final_part(loaded, plan)
        result = train(loaded, plan, seed=seed, data=part, out=folder, device=device, reporter=reporter)
        plan.save(folder / "plan.toml")
        if plots:
            draw_training_picture(folder, result.metrics)
    if as_json:
        print_json(
            {
                "lr": plan.lr,
                "schedule": str(plan.schedule),
                "control": list(plan.control),
                "training_steps": result.steps,
                "diverged": result.diverged,
                "seconds": result.seconds,
                "metrics": result.metrics,
                "out": str(folder),
            }
        )
    else:
        show_training(out_console(), result, plan, folder, task)
    if result.diverged:
        raise NoAnswer(f"the loss is not finite at step {result.steps}: lower the plan's lr")
