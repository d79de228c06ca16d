"""The words of the answers: a range test, a search, a tuning, a training, as rows of a summary."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lrkit.cli.screen import count_text, facts, range_text, seconds_text
from lrkit.plot.rates import rate_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lrkit.plan import Plan
    from lrkit.range_test import RangeTest
    from lrkit.search import Search
    from lrkit.training import TrainResult
    from lrkit.tuning import Tuning

__all__ = ["show_range_test", "show_search", "show_training", "show_tuning"]

_Rows = list[tuple[str, "RenderableType"]]


def show_range_test(console: Console, result: RangeTest, task: str) -> None:
    """Bracket, suggestion, how the repeats differ, and what to do with it."""
    rows: _Rows = []
    if result.suggestion is not None:
        spread = (
            f"  \u00d7/\u00f7 {10**result.spread:.2f} between repeats" if math.isfinite(result.spread) else ""
        )
        rows.append(("suggestion", f"[bold green]{rate_text(result.suggestion)}[/]  ({result.rule}){spread}"))
    else:
        rows.append(("suggestion", f"[bold yellow]none[/]  {_escaped(result.reason)}"))
    rows.append(("bracket", range_text(result.bracket)))
    rows.append(("cost", f"{count_text(result.steps)} steps in {len(result.losses)} repeats"))
    console.print(facts(rows))
    if result.bracket is not None:
        console.print("\n  A bracket, not an optimum. The rate for a whole training:", style="dim")
        console.print(f"    lrkit tune {_quoted(task)}", soft_wrap=True)


def show_search(console: Console, search: Search, plan: Plan, folder: Path, task: str) -> None:
    """The answer of a search, what it rests on and cost, and how to go on."""
    _head(console, task, plan)
    console.print(facts([*_answer(search), ("", ""), ("cost", _cost(search))]))
    _files(console, folder)
    _more(console, search)
    console.print("\n  Train with it on all the data:", style="dim")
    console.print(f"    lrkit train {_quoted(str(folder / 'plan.toml'))} {_quoted(task)}", soft_wrap=True)


def show_tuning(console: Console, tuning: Tuning, task: str) -> None:
    """The answer, how sure it is, what it cost and gave, where it lies, and how to use it."""
    search, training = tuning.search, tuning.training
    _head(console, task, tuning.plan)
    final = f"{count_text(tuning.training_steps)} more of the final training, {seconds_text(tuning.seconds)} in all"
    rows = [*_answer(search), ("", ""), ("cost", _cost(search)), ("", final), ("", "")]
    if tuning.unscaled_groups:
        names = _escaped(", ".join(tuning.unscaled_groups))
        rows.append(
            ("left alone", f"[yellow]{names}[/]: the task's optimizer gives them one rate whatever lr is")
        )
    console.print(facts([*rows, *_metrics(training.metrics)]))
    if tuning.out is None:
        return
    _files(console, tuning.out)
    _more(console, search)
    console.print("\n  Follow the plan in a loop of your own:", style="dim")
    console.print(
        f'    plan = lrkit.Plan.load("{_escaped((tuning.out / "plan.toml").as_posix())}")', soft_wrap=True
    )
    console.print(
        "    scheduler = lrkit.Scheduler.from_plan(plan, optimizer)   # counts optimizer.step() by itself",
        soft_wrap=True,
    )


def show_training(console: Console, result: TrainResult, plan: Plan, folder: Path, task: str) -> None:
    """What the final model scores and where it lies."""
    _head(console, task, plan)
    cost = f"{count_text(result.steps)} steps, {seconds_text(result.seconds)}"
    console.print(facts([("learning rate", rate_text(plan.lr)), ("cost", cost), *_metrics(result.metrics)]))
    _files(console, folder)


def _head(console: Console, task: str, plan: Plan) -> None:
    steps = f"{count_text(plan.horizon.steps)} steps"
    spec = " & ".join((str(plan.schedule), *plan.control))
    parts = [f"[bold]{_escaped(task)}[/]", _escaped(spec), plan.optimizer.name, steps]
    console.print("\n  " + " [dim]\u00b7[/] ".join(parts) + "\n", soft_wrap=True)


def _answer(search: Search) -> _Rows:
    colour = "green" if search.status == "settled" else "yellow"
    return [
        ("learning rate", f"[bold {colour}]{rate_text(search.lr)}[/]"),
        ("90 % interval", f"{range_text(search.interval)}{_beyond(search)}"),
        (
            "as good",
            f"{range_text(search.good)}  [dim](fitted {_escaped(search.objective_name)}: {_margin(search)})[/]",
        ),
        *((_escaped(name), f"[bold]{_escaped(_value_text(value))}[/]") for name, value in search.values),
        *_importance(search),
        ("status", f"[{colour}]{search.status}[/]: {_escaped(search.reason)}"),
    ]


def _beyond(search: Search) -> str:
    """A warning that the interval says nothing of rates that were not tried."""
    ends = [end for end, is_open in zip(("lower", "higher"), search.open_ends, strict=True) if is_open]
    return f" or {' or '.join(ends)}  [dim](nothing beyond was tried)[/]" if ends else ""


def _value_text(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _importance(search: Search) -> _Rows:
    """What each parameter's other values cost, a line each."""
    told = [] if search.joint is None else [_escaped(str(each)) for each in search.joint.importance]
    return [("what matters" if i == 0 else "", text) for i, text in enumerate(told)]


def _margin(search: Search) -> str:
    margin = "2 %" if search.objective > 0 else "one seed deviation"
    return f"within {margin} of that at {rate_text(search.lr)}"


def _cost(search: Search) -> str:
    seeds = len({trial.seed for trial in search.trials})
    diverged = sum(trial.status == "diverged" for trial in search.trials)
    trials = f"{len(search.trials)} trials" + (f" ({diverged} diverged)" if diverged else "")
    trials += f" and {seeds} seeds" if seeds > 1 else ""
    spent = f"{count_text(search.member_steps)} steps in {trials}"
    if search.values:
        return spent
    share = search.member_steps / search.grid_steps
    return f"{spent}: {share:.0%} of a grid of 32 rates ({count_text(search.grid_steps)})"


def _metrics(metrics: Mapping[str, float]) -> _Rows:
    # Test figures are what a reader looks for; where there are none, the validation's stand for them.
    shown = {name: value for name, value in metrics.items() if name.startswith("test")} or metrics
    return [(_escaped(name), f"[bold]{value:.4g}[/]") for name, value in shown.items()]


def _more(console: Console, search: Search) -> None:
    if search.status != "settled" and search.ended_by != "method":
        # Half a grid is twice the default budget: what is offered is more than what there was.
        budget = f"with[/] --budget {max(2 * search.member_steps, search.grid_steps // 2)}"
        way = "without[/] --seconds" if search.ended_by == "time" else budget
        console.print(
            f"\n  [dim]A longer search may tell more: the same {way}[dim] goes on where this one ended[/]",
            soft_wrap=True,
        )


def _files(console: Console, folder: Path) -> None:
    wanted = ("plan.toml", "find.png", "search.png", "training.png", "checkpoint.pt", "report.json")
    names = [name for name in wanted if (folder / name).exists()]
    console.print(f"\n  [dim]in[/] [bold]{_escaped(str(folder))}[/]: {', '.join(names)}", soft_wrap=True)


def _quoted(word: str) -> str:
    return _escaped(shlex.quote(word))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
