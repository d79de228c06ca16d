"""The options that several commands share, each written once. What they mean is the library's business."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lrkit.cli.session import Session

__all__ = [
    "budget_options",
    "data_option",
    "debug_option",
    "device_option",
    "json_option",
    "length_options",
    "out_option",
    "plots_option",
    "schedule_option",
    "seed_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Session).debug |= value


debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_remember_debug,
    help="Show the traceback of an error.",
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object on standard output, all else on standard error.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder or file that the task reads (mnist, char-lm).",
)
device_option = click.option(
    "--device", metavar="DEVICE", help="cpu, cuda, cuda:1, mps; by default the first accelerator there is."
)
seed_option = click.option(
    "--seed", type=int, metavar="N", help="Seed of split, weights and batch order; the task's own by default."
)


def _spec_text(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A peer's schedule as the spec that it stands for."""
    del context, parameter
    if value is None or ":" not in value:
        return value
    from lrkit.convert import parse_spec

    return str(parse_spec(value))


schedule_option = click.option(
    "--schedule",
    metavar="SPEC",
    callback=_spec_text,
    help='Schedule of a training, by default "warmup(5%) >> cosine(to=0)"; "... & plateau(patience=5)" adds control.',
)
plots_option = click.option("--plots/--no-plots", default=True, help="Write pictures (needs matplotlib).")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Run folder; one that has been begun is continued. By default a new one in runs/.",
)


def length_options(command: _Command) -> _Command:
    """`--epochs` and `--steps`, of which the library takes one at most."""
    steps = click.option(
        "--steps", type=click.IntRange(min=1), metavar="N", help="Length of a training in optimizer updates."
    )
    epochs = click.option(
        "--epochs", type=click.IntRange(min=1), metavar="N", help="Length of a training in epochs."
    )
    return epochs(steps(command))


def budget_options(command: _Command) -> _Command:
    """`--budget` in updates and `--seconds` of wall time."""
    seconds = click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Start no further trial after so many seconds.",
    )
    budget = click.option(
        "--budget",
        type=click.IntRange(min=1),
        metavar="N",
        help="Updates that the search may spend; eight trainings' worth by default.",
    )
    return budget(seconds(command))
