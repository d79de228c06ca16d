"""`lrkit find`: a range test, drawn in the terminal, and as JSON and a picture where asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrkit.cli import options
from lrkit.errors import NoAnswer

if TYPE_CHECKING:
    from rich.console import Console

    from lrkit.range_test import RangeTest

__all__ = ["command"]


@click.command("find")
@click.argument("task")
@click.option(
    "--rule", default="kmin", show_default=True, metavar="NAME", help="How the suggestion is read off."
)
@click.option(
    "--low", type=float, default=1e-7, show_default=True, metavar="LR", help="First rate of the sweep."
)
@click.option(
    "--high", type=float, default=10.0, show_default=True, metavar="LR", help="Last rate of the sweep."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Updates in a sweep.  [default: 100, longer where noise hides the fall]",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Sweeps, one a seed.",
)
@click.option("--group", metavar="NAME", help="Sweep this parameter group alone.")
@click.option("--seed", type=int, metavar="N", help="Seed of the first sweep; the task's own by default.")
@options.data_option
@options.device_option
@click.option(
    "--out",
    type=options.FOLDER,
    metavar="DIR",
    help="Write find.json and find.png there; by default nothing is written.",
)
@options.plots_option
@options.json_option
@options.debug_option
def command(
    *,
    task: str,
    rule: str,
    low: float,
    high: float,
    steps: int | None,
    repeats: int,
    group: str | None,
    seed: int | None,
    data: Path | None,
    device: str | None,
    out: Path | None,
    plots: bool,
    as_json: bool,
) -> None:
    """Sweep the learning rate of TASK upward in short runs: a bracket for it, in seconds.

    TASK as for `lrkit tune`. Rules: kmin, steep, valley, slide, min/10, edge and the peers' own variants.
    Exits with 1 when the loss never fell, as there is no suggestion then.
    """
    from lrkit.cli.answers import show_range_test
    from lrkit.cli.loading import given_task
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.range_test import find_lr
    from lrkit.tuning.pictures import check_pictures

    if plots and out is not None:
        check_pictures()
    with reporting(as_json=as_json) as reporter:
        loaded = given_task(task, data=data, device=device)
        result = find_lr(
            loaded,
            low=low,
            high=high,
            steps=steps,
            repeats=repeats,
            seed=loaded.seed if seed is None else seed,
            group=group,
            rule=rule,
            device=device,
            reporter=reporter,
        )
    if out is not None:
        _write(result, out, plots=plots)
    if as_json:
        print_json({**result.to_dict(), "out": None if out is None else str(out)})
    else:
        console = out_console()
        _draw(console, result)
        show_range_test(console, result, task)
        if out is not None:
            console.print(
                f"\n  [dim]in[/] [bold]{out}[/]: find.json{', find.png' if plots else ''}", soft_wrap=True
            )
    if result.suggestion is None:
        raise NoAnswer(f"no suggestion: {result.reason}")


def _write(result: RangeTest, out: Path, *, plots: bool) -> None:
    from lrkit.files import make_folder
    from lrkit.plot import save_figure

    result.save(make_folder(out) / "find.json")
    if plots:
        save_figure(result.plot(), out / "find.png")


def _draw(console: Console, result: RangeTest) -> None:
    """The first repeat's smoothed loss, as far as it says anything: what diverges is cut where it passes the start."""
    import numpy as np

    from lrkit.plot import terminal_plot

    losses = result.smoothed[0] if result.smoothed else np.empty(0)
    shown = losses <= 1.2 * losses[: max(1, len(losses) // 10)].max() if len(losses) else losses
    if len(losses) < 2 or not shown.any():
        return
    console.print("\n  training loss against learning rate, smoothed", style="dim")
    plot = terminal_plot(
        result.lrs[: len(losses)], np.where(shown, losses, np.nan), width=60, height=10, log_x=True
    )
    console.print("\n".join(f"  {line}" for line in plot.splitlines()), markup=False, no_wrap=True)
    console.print()
