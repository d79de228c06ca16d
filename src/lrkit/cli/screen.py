"""What a person sees and what a program reads: the console, one JSON object, and the pieces of a summary.

Colours, boxes and progress appear on a terminal alone (rich asks for NO_COLOR and the rest); a pipe gets plain text.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrkit.files import json_text
from lrkit.plot.rates import rate_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lrkit.training import Reporter

__all__ = ["count_text", "facts", "out_console", "print_json", "range_text", "reporting", "seconds_text"]


def out_console() -> Console:
    """The console of standard output: it highlights nothing by itself, and never breaks a word."""
    from rich.console import Console

    return Console(highlight=False, emoji=False)


@contextlib.contextmanager
def reporting(*, as_json: bool) -> Iterator[Reporter]:
    """Progress on standard error while work is done, if that is a terminal; notes on it wherever it leads.

    With JSON, whatever the task prints goes to standard error as well.
    """
    from lrkit.training import RichReporter

    reporter = RichReporter()
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            yield reporter
        finally:
            reporter.close()


def print_json(data: Mapping[str, Any]) -> None:
    """One object on one line. JSON knows no NaN and no infinity: both become null."""
    print(json_text(data))


def facts(rows: Sequence[tuple[str, RenderableType]]) -> RenderableType:
    """Names and what they are, in two columns, indented."""
    from rich.padding import Padding
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, what in rows:
        table.add_row(name, what)
    return Padding(table, (0, 0, 0, 2))


def range_text(limits: Sequence[float] | None) -> str:
    """`2.2e-3 to 4.4e-3`, or a dash."""
    return "-" if limits is None else f"{rate_text(limits[0])} to {rate_text(limits[1])}"


def count_text(number: float) -> str:
    """A whole number with its thousands set apart: `12,400`."""
    return f"{number:,.0f}"


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
