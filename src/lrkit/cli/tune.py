"""`lrkit tune`: range test, search, final training, test; the answer on the screen and in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrkit.cli import options
from lrkit.cli.command_task import TaskOrCommand
from lrkit.cli.folders import new_run_folder
from lrkit.cli.session import Session
from lrkit.errors import NoAnswer

__all__ = ["command"]


@click.command("tune", cls=TaskOrCommand)
@click.argument("task")
@options.schedule_option
@options.length_options
@options.budget_options
@options.search_options
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
    seed: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    plots: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Find the learning rate of TASK, train with it on all the data, and test.

    TASK is a built-in task (digits, digits-cnn, diabetes; with --data: mnist, mnist-cnn, char-lm) or a task of your
    own, path/to/file.py:name (`lrkit new-task` writes one to start from).

    A script in any framework takes the place of TASK after two dashes, and has options of its own:

    \b
    lrkit tune --param lr=1e-5..1e-1:log -- python train.py --lr {lr}
    lrkit tune --help --

    Interrupted, or killed: the same command with the same --out goes on where it was.
    """
    from lrkit.cli.answers import show_tuning
    from lrkit.cli.loading import given_task
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.tuning import tune

    with reporting(as_json=as_json) as reporter:
        loaded = given_task(task, data=data, device=device)
        session.folder = new_run_folder(task) if out is None else out
        tuning = tune(
            loaded,
            schedule=schedule,
            epochs=epochs,
            steps=steps,
            budget=budget,
            seconds=seconds,
            seed=seed,
            out=session.folder,
            device=device,
            plots=plots,
            reporter=reporter,
            **how,
        )
    if as_json:
        print_json(tuning.to_dict())
    else:
        show_tuning(out_console(), tuning, task)
    if tuning.training.diverged:
        raise NoAnswer(f"the final training diverged at step {tuning.training_steps}: see {session.folder}")
