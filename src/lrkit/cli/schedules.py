"""`lrkit schedules`: the catalog as a table, or one of its entries in full."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from lrkit.cli import options
from lrkit.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from lrkit.spec import Entry

__all__ = ["command"]

_STEPS = 1000  # of the little picture


@click.command("schedules")
@click.argument("name", required=False)
@click.option("--peers", is_flag=True, help="List the peers whose schedules lrkit knows by their own names.")
@options.json_option
@options.debug_option
def command(*, name: str | None, peers: bool, as_json: bool) -> None:
    """List schedules and controllers, or explain the one called NAME: arguments, formula, source, when to use it.

    A peer's name (transformers) lists its schedules, "transformers:cosine" explains one.
    """
    from lrkit.cli.controllers import controller_data, show_controller, show_controllers
    from lrkit.cli.peers import is_peer_name, show_peers
    from lrkit.cli.screen import print_json
    from lrkit.spec import CATALOG, CONTROLLERS

    if peers or (name is not None and is_peer_name(name)):
        show_peers(name, as_json=as_json)
        return
    entries = {entry.name: entry for entry in CATALOG}
    controllers = [entry for entry in CONTROLLERS if name in (None, entry.name)]
    if name is not None and controllers:
        if as_json:
            print_json({"schedules": [], "controllers": [controller_data(entry) for entry in controllers]})
        else:
            show_controller(controllers[0])
        return
    if name is not None and name not in entries:
        here = [entry.name for entry in CATALOG if name in entry.also]
        remedy = (
            f"; here it is {here[-1]!r}"
            if here
            else did_you_mean(name, [*entries, *(e.name for e in CONTROLLERS)])
        )
        raise SpecError(f"unknown schedule {name!r}{remedy}")
    if as_json:
        shown = CATALOG if name is None else [entries[name]]
        known = [controller_data(entry) for entry in controllers]
        print_json({"schedules": [_data(entry) for entry in shown], "controllers": known})
    elif name is None:
        show_controllers(CONTROLLERS)
        _show_all(CATALOG)
    else:
        _show_one(entries[name])


def _data(entry: Entry) -> dict[str, Any]:
    words = {key: getattr(entry, key) for key in ("name", "example", "formula", "source", "use", "avoid")}
    ranges = {p.name: p.range for p in entry.parameters}
    return {**words, "arguments": str(_arguments(entry)), "ranges": ranges, "also": list(entry.also)}


def _arguments(entry: Entry) -> str:
    """The parameters as a spec writes them, without Python's annotations."""
    signature = inspect.signature(entry.build)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _show_all(entries: tuple[Entry, ...]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from lrkit.cli.screen import out_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("schedule", style="bold", no_wrap=True)
    table.add_column("use it when ...  [not bold]and an example[/]")
    for entry in entries:
        table.add_row(entry.name, f"{escape(entry.use)}\n[dim]{escape(entry.example)}[/]")
    console = out_console()
    console.print(table)
    console.print(
        "Join them with >>, scale them with *. One in full: lrkit schedules cosine", style="dim", markup=False
    )


def _show_one(entry: Entry) -> None:
    import numpy as np
    from rich.markup import escape

    from lrkit.cli.screen import facts, out_console
    from lrkit.plot import terminal_plot
    from lrkit.spec import parse

    console = out_console()
    console.print(f"\n  [bold]{entry.name}[/]{escape(_arguments(entry))}\n", soft_wrap=True)
    rows = [
        ("use it when", escape(entry.use)),
        ("avoid it when", escape(entry.avoid)),
        ("formula (TeX)", escape(entry.formula)),
        ("source", escape(entry.source)),
        *[(p.name, escape(p.range)) for p in entry.parameters],
    ]
    if entry.also:
        rows.append(("elsewhere", escape(", ".join(entry.also))))
    console.print(facts(rows))
    console.print(f"\n  [bold]{escape(entry.example)}[/] over {_STEPS} steps\n", soft_wrap=True)
    curve = parse(entry.example).over(_STEPS)
    plot = terminal_plot(np.arange(_STEPS), curve.chunk(0, _STEPS), width=56, height=8)
    console.print("\n".join(f"  {line}" for line in plot.splitlines()), markup=False, no_wrap=True)
