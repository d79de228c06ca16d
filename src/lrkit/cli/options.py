"""The options that several commands share, each written once. What they mean is the library's business."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from lrkit.cli.session import Session

__all__ = [
    "FOLDER",
    "budget_options",
    "data_option",
    "debug_option",
    "device_option",
    "json_option",
    "length_options",
    "out_option",
    "plots_option",
    "schedule_option",
    "search_options",
    "seconds_option",
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
seconds_option = click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Start no further trial after so many seconds.",
)


def _remember_folder(context: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    context.ensure_object(Session).folder = value
    return value


class _Folder(click.Path):
    """A folder. Empty text, which a shell makes of an unset variable, would be the current one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; the current folder is '.'", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path, file_okay=False)

out_option = click.option(
    "--out",
    type=FOLDER,
    metavar="DIR",
    callback=_remember_folder,
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
    budget = click.option(
        "--budget",
        type=click.IntRange(min=1),
        metavar="N",
        help="Updates that the search may spend; by default eight trainings' worth, eight more for each "
        "--param beside lr; for a grid 32 rates' worth, three times as much for each.",
    )
    return budget(seconds_option(command))


def _space(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """The parameters by name. Raises click's usage error for one that is given twice."""
    del context
    from lrkit.search.space import parse_parameter

    space: dict[str, Any] = {}
    for text in values:
        name, given = parse_parameter(text)
        if name in space:
            raise click.BadParameter(f"{name} is given twice", param=parameter)
        space[name] = given
    return space


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The address. Raises click's usage error for an empty one, which would train in this process."""
    del context
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty", param=parameter)
    return value


def search_options(command: _Command) -> _Command:
    """How a search goes about it: method, space, workers, ray and storage, named as `search_lr` names them."""

    @functools.wraps(command)
    def with_ray(*args: Any, ray: bool, ray_address: str | None, **options: Any) -> Any:
        return command(*args, ray=ray_address or ray, **options)

    decorated = cast(_Command, with_ray)
    for option in reversed(
        [
            click.option(
                "--method",
                metavar="NAME",
                help="auto, bayes, halving or grid; by default auto, and bayes where --param says more than lr.",
            ),
            click.option(
                "--param",
                "space",
                multiple=True,
                metavar="NAME=RANGE",
                callback=_space,
                help="Search this too: weight_decay=1e-4..1e-1:log, schedule=wsd|one_cycle, batch_size=32|64; "
                "lr=1e-4..1e-1:log replaces the range test. Repeatable.",
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=1),
                default=1,
                metavar="N",
                help="Processes that train trials side by side.",
            ),
            click.option("--ray", is_flag=True, help="Train on a Ray that is started on this machine."),
            click.option(
                "--ray-address",
                metavar="ADDRESS",
                callback=_address,
                help="Train on the Ray cluster there; auto is the one that this machine is part of.",
            ),
            click.option(
                "--storage",
                metavar="URL",
                help="postgresql://...: a study that several processes or machines share by running the same command.",
            ),
            click.option(
                "--name", default="", metavar="NAME", help="Tells studies of one task in one --storage apart."
            ),
        ]
    ):
        decorated = option(decorated)
    return decorated
