"""`lrkit tune ... -- COMMAND`: a script instead of a task; its best setting on the screen and in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrkit.cli import options
from lrkit.cli.folders import new_run_folder
from lrkit.cli.session import Session
from lrkit.errors import SpecError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lrkit.search.command import CommandSearch, Source
    from lrkit.search.space import Parameter
    from lrkit.search.trials import Trial

__all__ = ["TaskOrCommand", "command"]

_EXAMPLE = "lrkit tune --param lr=1e-5..1e-1:log -- python train.py --lr {lr}"


class TaskOrCommand(click.Command):
    """`lrkit tune` itself: with `--` among its arguments, it is the command of this module instead."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Any further arguments are click's own, hence Any."""
        if "--" in args:
            return command.make_context(info_name, args, parent, **extra)
        if any("{lr}" in argument for argument in args):
            raise SpecError(f"two dashes go before a command: {_EXAMPLE}")
        return super().make_context(info_name, args, parent, **extra)


class _AfterDashes(click.Command):
    """Options before `--`, and after it the arguments of somebody else's command, which are not looked at."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--")
        ctx.params["arguments"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGUMENT]..."]


@click.command("tune", cls=_AfterDashes)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=RANGE",
    help="What is searched: lr=1e-5..1e-1:log; more such: batch=16..256:log:int, act=relu|gelu.",
)
@click.option(
    "--metric", metavar="KEY", help='Key of the JSON lines that the command prints; "loss" by default.'
)
@click.option("--metric-regex", metavar="REGEX", help="Or what a regular expression finds in its output.")
@click.option("--metric-csv", metavar="FILE:COLUMN", help="Or a column of a CSV that it writes into {out}.")
@click.option("--metric-tensorboard", metavar="TAG", help="Or a scalar of TensorBoard's files under {out}.")
@click.option(
    "--direction", type=click.Choice(["min", "max"]), default="min", show_default=True, help="What is best."
)
@options.length_options
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="Epochs (with --steps: steps; without a length: runs) that all trials may take. By default a third of a "
    "training for every 0.4 decades of the lr's range, and six whole ones for each parameter.",
)
@options.seconds_option
@click.option(
    "--method",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="auto, grid, halving or bayes; auto is halving where more than the lr is searched.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Trials at a time.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="{seed} of the first trials."
)
@click.option(
    "--env", "variables", is_flag=True, help="Pass all values as environment variables, too: LRKIT_LR ..."
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds from SIGTERM to SIGKILL.",
)
@options.out_option
@options.plots_option
@options.json_option
@options.debug_option
@click.pass_obj
def command(
    session: Session,
    *,
    arguments: tuple[str, ...],
    params: tuple[str, ...],
    metric: str | None,
    metric_regex: str | None,
    metric_csv: str | None,
    metric_tensorboard: str | None,
    direction: str,
    epochs: int | None,
    steps: int | None,
    budget: int | None,
    seconds: float | None,
    method: str,
    workers: int,
    seed: int,
    variables: bool,
    grace: float,
    out: Path | None,
    plots: bool,
    as_json: bool,
) -> None:
    """Find the learning rate of a script, in any framework: each trial is a run of COMMAND.

    In its arguments {lr} and every other --param stand for the values of a trial, {seed} for its seed, {epochs} or
    {steps} for the length that you give, {out} for a folder of its own. Runs that look bad are ended early.

    Interrupted, or killed: the same command with the same --out goes on where it was.
    """
    from lrkit.cli.screen import out_console, print_json, reporting
    from lrkit.plot import save_figure
    from lrkit.search.command import search_command
    from lrkit.tuning.pictures import check_pictures

    source = _source(metric, metric_regex, metric_csv, metric_tensorboard)
    parameters = _parameters(params)
    if plots:
        check_pictures()
    folder = new_run_folder(_script(arguments)) if out is None else out
    session.folder = folder
    with reporting(as_json=as_json) as reporter:
        found = search_command(
            arguments,
            parameters,
            out=folder,
            metric=source,
            direction="max" if direction == "max" else "min",
            epochs=epochs,
            steps=steps,
            budget=budget,
            seconds=seconds,
            seed=seed,
            method=method,
            workers=workers,
            variables=variables,
            grace=grace,
            reporter=reporter,
        )
    found.write_report()
    if plots:
        save_figure(found.plot(), folder / "search.png")
    if as_json:
        print_json(found.to_dict())
    else:
        _show(out_console(), found)


def _source(key: str | None, regex: str | None, csv: str | None, tag: str | None) -> Source | None:
    from lrkit.search.command import CsvColumn, JsonLines, Pattern, TensorBoardTag

    given = [
        make(text)
        for make, text in ((JsonLines, key), (Pattern, regex), (CsvColumn.parse, csv), (TensorBoardTag, tag))
        if text is not None
    ]
    if len(given) > 1:
        raise SpecError("the metric comes from one place: give one of the options --metric...")
    return given[0] if given else None


def _parameters(texts: Sequence[str]) -> dict[str, Parameter | str]:
    from lrkit.search.space import parse_parameter

    pairs = [parse_parameter(text) for text in texts]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"--param {twice} is given twice: leave one out")
    if "lr" not in names:
        raise SpecError(f"the learning rate is what is searched: add its range, as in {_EXAMPLE}")
    return dict(pairs)


def _script(arguments: Sequence[str]) -> str:
    """The name for the run folder: the script's where there is one, else the program's."""
    scripts = [argument for argument in arguments[:3] if argument.endswith((".py", ".sh", ".R", ".jl"))]
    return Path((scripts or [*arguments, "command"])[0]).stem


def _show(console: Console, found: CommandSearch) -> None:
    from lrkit.cli.screen import count_text, facts, range_text, seconds_text
    from lrkit.plot.rates import rate_text

    search = found.search
    colour = "green" if search.status == "settled" else "yellow"
    cost = f"{count_text(found.member_steps)} {found.unit} in {len(found.trials)} trials"
    rows: list[tuple[str, RenderableType]] = [
        ("learning rate", f"[bold {colour}]{rate_text(search.lr)}[/]"),
        *((_escaped(name), f"[bold]{_escaped(str(value))}[/]") for name, value in found.values),
        ("90 % interval", range_text(search.interval)),
        ("as good", range_text(search.good)),
        ("status", f"[{colour}]{search.status}[/]: {_escaped(search.reason)}"),
        *(("", _escaped(str(each))) for each in (found.joint.importance if found.joint else ())),
        ("", ""),
        ("cost", f"{cost}, {seconds_text(found.seconds)} of commands"),
    ]
    console.print(_trial_table(found))
    console.print(facts(rows))
    names = [name for name in ("search.png", "report.json", "trials/") if (found.out / name).exists()]
    console.print(f"\n  [dim]in[/] [bold]{_escaped(str(found.out))}[/]: {', '.join(names)}", soft_wrap=True)
    console.print("\n  Nothing was trained with it to keep. The best command:", style="dim")
    console.print(f"    {found.line}", markup=False, soft_wrap=True)


def _trial_table(found: CommandSearch) -> RenderableType:
    """Every trial; its number is the name of its folder in trials/."""
    from rich.padding import Padding
    from rich.table import Table

    from lrkit.plot.rates import rate_text

    names = [name for name, _ in found.values]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    heads = ["trial", "lr", *names, "seed", found.unit, found.search.objective_name]
    for head in heads:
        table.add_column(_escaped(head), justify="right")
    table.add_column("")
    for trial in found.trials:
        values = dict(trial.values)
        table.add_row(
            f"{dict(trial.metrics)['trial']:.0f}",
            rate_text(trial.lr),
            *(_escaped(str(values[name])) for name in names),
            str(trial.seed),
            str(trial.steps),
            "-" if trial.status == "diverged" else f"{trial.objective:.4g}",
            _status(trial),
        )
    return Padding(table, (1, 0, 1, 2))


def _status(trial: Trial) -> str:
    if "failed" in dict(trial.metrics):
        return "[red]failed[/]"
    return {"finished": "", "stopped": "[dim]stopped[/]", "diverged": "[yellow]diverged[/]"}[trial.status]


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
