"""CommandSearch: what the trials of a command say, as a value, and the files that tell it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrkit.errors import StudyError
from lrkit.files import atomic_write, json_text
from lrkit.search.command.command import Command
from lrkit.search.joint import Joint, best_values, only
from lrkit.search.result import Search, conclude
from lrkit.search.trials import Proposal, Result, Settings, Stop, Trial, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CommandSearch", "conclude_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSearch:
    """The best setting of a command, and on what that rests.

    lr, values: the setting. search: the curve over the lr at these values, with interval and status. joint: what is
    known of the other values; None where the lr alone is searched.
    trials: all settings tried. command: the finished best command line, with the seed of the first trials and
    `best/` in the run folder for `{out}`; `variables` are those that go before it.
    member_steps: what all trials took, in `unit`. seconds: wall time of all trials.
    """

    search: Search
    joint: Joint | None
    trials: tuple[Trial, ...]
    template: tuple[str, ...]
    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    unit: str
    member_steps: int
    seconds: float
    out: Path

    @property
    def lr(self) -> float:
        """The best learning rate."""
        return self.search.lr

    @property
    def values(self) -> Values:
        """The best of all other values."""
        return () if self.joint is None else self.joint.best.values

    @property
    def line(self) -> str:
        """The best command as a line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.variables]
        return " ".join([*variables, shlex.join(self.command)])

    def plot(self) -> Figure:
        """Trials, fitted curve and answer over the lr. Raises MissingExtra without matplotlib."""
        figure = self.search.plot()
        full = self.search.steps
        when = f"after {full:,} {self.unit}" if self.unit != "runs" else "at the end"
        figure.axes[0].set_ylabel(f"{self.search.objective_name} {when}")
        return figure

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data: what `lrkit tune --json` prints."""
        search = self.search
        return {
            "lr": search.lr,
            "values": dict(self.values),
            "interval": list(search.interval),
            "open_ends": list(search.open_ends),
            "good": list(search.good),
            "status": search.status,
            "reason": search.reason,
            "ended_by": search.ended_by,
            "metric": search.objective_name,
            "command": list(self.template),
            "best_command": list(self.command),
            "best_line": self.line,
            "trials": len(self.trials),
            "unit": self.unit,
            "member_steps": self.member_steps,
            "seconds": self.seconds,
            "out": str(self.out),
        }

    def write_report(self) -> None:
        """Write `report.json` into the run folder. Raises StudyError where that cannot be."""
        path = self.out / "report.json"
        trials = [
            {**asdict(trial), "metrics": dict(trial.metrics), "values": dict(trial.values)}
            for trial in self.trials
        ]
        report = {"version": 1, **self.to_dict(), "search": self.search.to_dict(), "all_trials": trials}
        if self.joint is not None:
            report["joint"] = self.joint.to_dict()
        try:
            atomic_write(path, json_text(report, indent=1) + "\n")
        except OSError as error:
            raise StudyError(f"cannot write {path}: {error.strerror or error}") from error


def conclude_command(
    command: Command, settings: Settings, results: Sequence[Result], stop: Stop, folder: Path
) -> CommandSearch:
    """What these results say, of which one at least is finite."""
    joint = None if settings.space is None else best_values(settings, results)
    values = () if joint is None else joint.best.values
    search = conclude(
        settings,
        only(results, values),
        stop,
        objective_name=command.source.name,
        range_test=None,
        seconds=0.0,
    )
    best = Proposal(search.lr, settings.seed, 0, settings.steps, values)
    out = folder / "best"
    return CommandSearch(
        search=search,
        joint=joint,
        trials=_trials(settings, results),
        template=command.template.arguments,
        command=command.filled(best, out),
        variables=tuple(command.values_as_variables(best, out).items()),
        unit=command.length.counted,
        member_steps=sum(result.cost for result in results),
        seconds=sum(result.seconds for result in results),
        out=folder,
    )


def _trials(settings: Settings, results: Sequence[Result]) -> tuple[Trial, ...]:
    """Every setting as far as it got, in the order of values, lr and seed."""
    latest = {result.key: result for result in sorted(results, key=lambda result: result.steps)}
    ordered = sorted(latest.values(), key=lambda r: (str(r.values), r.lr, r.seed))
    return tuple(
        Trial(
            r.lr,
            r.seed,
            r.steps,
            r.objective,
            "diverged" if r.diverged else "finished" if r.steps == settings.steps else "stopped",
            r.metrics,
            r.values,
        )
        for r in ordered
    )
