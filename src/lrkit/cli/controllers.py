"""What `lrkit schedules` says of controllers: the part of a spec after the `&`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrkit.spec import ControllerEntry

__all__ = ["controller_data", "show_controller", "show_controllers"]


def controller_data(entry: ControllerEntry) -> dict[str, Any]:
    """An entry as plain data."""
    words = ("name", "example", "rule", "source", "use", "avoid")
    return {**{key: getattr(entry, key) for key in words}, "arguments": _arguments(entry)}


def show_controllers(entries: Sequence[ControllerEntry]) -> None:
    """The list, below that of the schedules."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from lrkit.cli.screen import out_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("controller", style="bold", no_wrap=True)
    table.add_column("use it when ...  [not bold]and an example[/]")
    for entry in entries:
        table.add_row(entry.name, f"{escape(entry.use)}\n[dim]{escape(entry.example)}[/]")
    out_console().print(table)


def show_controller(entry: ControllerEntry) -> None:
    """One in full."""
    from rich.markup import escape

    from lrkit.cli.screen import facts, out_console

    console = out_console()
    console.print(f"\n  [bold]{entry.name}[/]{escape(_arguments(entry))}\n", soft_wrap=True)
    rows = [
        ("decides", escape(entry.rule)),
        ("use it when", escape(entry.use)),
        ("avoid it when", escape(entry.avoid)),
        ("source", escape(entry.source)),
        ("example", escape(entry.example)),
    ]
    console.print(facts(rows))


def _arguments(entry: ControllerEntry) -> str:
    """The parameters as a spec writes them: all by name, without Python's annotations."""
    given = (f"{p.name}={p.default}" for p in inspect.signature(entry.build).parameters.values())
    return f"({', '.join(given)})"
