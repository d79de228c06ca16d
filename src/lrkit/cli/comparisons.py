"""The words of a comparison: its table, its answer, and what the reader should know of how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrkit.cli.screen import count_text, range_text, seconds_text
from lrkit.plot.rates import rate_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lrkit.tuning import ComparedSchedule, Comparison

__all__ = ["show_comparison"]

_LONGEST_NAME = 30
_TESTED = (
    "seeds share weights and batches between schedules; p of a t test paired over them, corrected (Holm) for"
)


def show_comparison(console: Console, comparison: Comparison, task: str) -> None:
    """What the searches and the final trainings gave, the verdict, what to know of it, and the cost."""
    seeds = len(comparison.seeds)
    parts = [task, f"{count_text(comparison.steps)} steps", f"{seeds} seed{'s' if seeds > 1 else ''}"]
    console.print("\n  " + " \u00b7 ".join(map(_escaped, parts)) + "\n", soft_wrap=True)
    console.print(_tuned(comparison))
    console.print(_trained(comparison))
    best = comparison.best
    colour = "green" if best is not None and not comparison.undecided and seeds > 1 else "yellow"
    console.print(f"\n  [bold {colour}]{_escaped(comparison.verdict)}[/]", soft_wrap=True)
    for note in _notes(comparison):
        console.print(f"  [dim]{_escaped(note)}[/]", soft_wrap=True)
    cost = f"{count_text(comparison.updates)} steps, {seconds_text(comparison.seconds)} of training and searching"
    console.print(f"\n  [dim]cost[/] {cost}", soft_wrap=True)
    if comparison.out is not None:
        names = ", ".join(
            name for name in ("comparison.json", "comparison.png") if (comparison.out / name).exists()
        )
        console.print(f"  [dim]in[/]   [bold]{_escaped(str(comparison.out))}[/]: {names}", soft_wrap=True)


def _tuned(comparison: Comparison) -> Table:
    """What the searches gave, and what else was measured of the final trainings."""
    others = _other_metrics(comparison)
    table = _empty_table()
    table.add_column("schedule", overflow="fold")
    table.add_column("peak lr", justify="right", no_wrap=True)
    table.add_column("90 % interval", no_wrap=True)
    for name in others:
        table.add_column(_headed(name, comparison), justify="right", no_wrap=True)
    for one in comparison.schedules:
        rate = "no rate trains" if one.lr is None else rate_text(one.lr)
        unsure = "" if one.status in (None, "settled") else " ?"
        measured = [_with_spread(*one.metrics[name]) if name in one.metrics else "-" for name in others]
        table.add_row(_name(one), f"{rate}{unsure}", range_text(one.interval), *measured)
    return table


def _trained(comparison: Comparison) -> Table:
    """Where the final trainings leave each schedule, the best first."""
    several = len(comparison.seeds) > 1
    table = _empty_table()
    table.add_column("")
    table.add_column("schedule", overflow="fold")
    table.add_column(_headed(comparison.metric, comparison), justify="right", no_wrap=True)
    if several:
        table.add_column("to the best, 95 %", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
    for one in comparison.schedules:
        cells = [
            "-" if one.standing.rank is None else str(one.standing.rank),
            _name(one) + (" *" if _sees_less(one, comparison) else ""),
            _figure(one),
        ]
        table.add_row(*cells, *([_difference(one), _significance(one)] if several else []))
    return table


def _headed(name: str, comparison: Comparison) -> str:
    return f"{name} \u00b1 sd" if len(comparison.seeds) > 1 else name


def _empty_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="bold")


def _other_metrics(comparison: Comparison) -> list[str]:
    own = comparison.metric.split(" ", 1)[1]
    return [
        name for name in dict.fromkeys(n for one in comparison.schedules for n in one.metrics) if name != own
    ]


def _figure(one: ComparedSchedule) -> str:
    if one.diverged:
        return f"{one.diverged} of {len(one.values)} diverged"
    mean = one.standing.mean
    return "-" if mean is None else _with_spread(mean, one.standing.sd)


def _with_spread(mean: float, sd: float | None) -> str:
    return f"{mean:.4g}" if sd is None else f"{mean:.4g} \u00b1 {sd:.2g}"


def _difference(one: ComparedSchedule) -> str:
    if one.standing.difference is None or one.standing.interval_of_difference is None:
        return "best" if one.standing.rank == 1 else "-"
    low, high = one.standing.interval_of_difference
    return f"{one.standing.difference:+.2g} ({low:+.2g}, {high:+.2g})"


def _significance(one: ComparedSchedule) -> str:
    p = one.standing.p
    if p is None:
        return ""
    words = "< 0.001" if p < 0.001 else f"{p:.2g}"
    return f"[bold]{words}[/]" if one.standing.told_apart else words


def _name(one: ComparedSchedule) -> str:
    short = one.name if len(one.name) <= _LONGEST_NAME else f"{one.name[: _LONGEST_NAME - 1].rstrip()}\u2026"
    return _escaped(short)


def _sees_less(one: ComparedSchedule, comparison: Comparison) -> bool:
    """Whether it was trained on less data than others were."""
    return one.data == "search" and any(other.data == "all" for other in comparison.schedules)


def _notes(comparison: Comparison) -> list[str]:
    notes = []
    if len(comparison.seeds) > 1:
        pairs = "all pairs" if len(comparison.schedules) > 2 else "the one pair"
        notes.append(f"{_TESTED} {pairs}")
    else:
        notes.append("one seed gives no spread and no significance: --seeds 5 does")
    if any(_sees_less(one, comparison) for one in comparison.schedules):
        notes.append(
            "* trained without the held-out data, which its feedback watches (--equal-data takes them from all)"
        )
    for one in comparison.schedules:
        if one.status not in (None, "settled"):
            notes.append(f"? {one.name}: {one.status}, {one.reason}")
        elif one.lr is None:
            notes.append(f"{one.name}: {one.reason}")
    if comparison.metric.startswith("validation"):
        notes.append(
            "no test data: judged by the validation data that the rates were tuned on, which flatters all"
        )
    return notes


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
