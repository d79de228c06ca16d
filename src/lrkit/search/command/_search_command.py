"""search_command: the settings of a command that end best, from trials that are runs of that command."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lrkit.errors import NoAnswer, SpecError, StudyError, did_you_mean
from lrkit.range_test.grid import NARROWEST
from lrkit.search.command.command import Command
from lrkit.search.command.executor import GRACE, CommandExecutor
from lrkit.search.command.from_zero import NO_STATES, FromZero
from lrkit.search.command.outcome import CommandSearch, conclude_command
from lrkit.search.command.reports import Length
from lrkit.search.command.sources import JsonLines, Source
from lrkit.search.command.template import Template
from lrkit.search.driver import drive
from lrkit.search.methods.registry import METHODS
from lrkit.search.space import Parameter, Range, Space, read_space
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.trials import Direction, Proposal, Result, Settings
from lrkit.training.progress import SILENT, Reporter

__all__ = ["search_command"]

SHARES = {"auto": 0.85, "bayes": 1.0, "grid": 1.0, "halving": 2 / 3}
"""The `share` of each method (see FromZero): what goes on was stopped at a third at most; with auto that is half."""
SHORT, FEWEST = 3, 4
"""What coarse trials are of a whole one at most, as T/n, and the fewest of them."""
SPACING = 0.4
"""Decades of the range for each coarse trial in the default budget."""
FULL_TRIALS = 6
"""Whole trainings in the default budget, besides the coarse ones, for each parameter."""
DIRECTIONS = ("min", "max")


def search_command(
    arguments: Sequence[str],
    parameters: Mapping[str, Parameter | str],
    *,
    out: str | Path,
    metric: Source | None = None,
    direction: Direction = "min",
    epochs: int | None = None,
    steps: int | None = None,
    budget: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    method: str = "auto",
    workers: int = 1,
    variables: bool = False,
    grace: float = GRACE,
    reporter: Reporter = SILENT,
) -> CommandSearch:
    """Find the learning rate, and other values, with which a command's training ends best.

    arguments: program and arguments with placeholders, `["python", "train.py", "--lr", "{lr}"]`: every name of
        `parameters`, and `{seed}`, `{epochs}` or `{steps}`, `{out}` as they are needed. No shell reads them.
    parameters: the range of "lr", and of whatever else is searched: `{"lr": "1e-5..1e-1:log"}`. Nothing beyond a range
        is tried; where the best is at an end of it, the answer's reason says so.
    metric: where each trial's metric is read from; by default the last JSON line with the key "loss". "min"imised or
        "max"imised.
    epochs or steps: how long a whole training is. Trials are ended early until it is known which are worth more.
        Without either only the end of a run counts.
    budget: epochs, or steps (without a length: runs), that all trials may take; by default a third of a training for
        every 0.4 decades of the lr's range, and six whole ones for each parameter. A trial that goes on is run anew
        from its beginning, which is counted.
    method: "auto", which is "halving" where more than the lr is searched; "grid", "halving", "bayes".
    seconds: wall time of this call after which no further trial begins, once there are three.
    seed: of the first trials; replicates take the next ones, where the command has a `{seed}`.
    workers: commands at a time. variables: pass the values as environment variables, too: `LRKIT_LR` ...
    grace: seconds between SIGTERM and SIGKILL.
    out: the run folder: the study, and for each trial `trials/<n>/` with its output and all that it writes to `{out}`.
        The same call again continues there, and runs no finished trial again.

    Raises SpecError and TaskError for a command that cannot be right before anything is run, NoAnswer where no trial
    gives a finite metric, StudyError for a folder that cannot be used, or belongs to another search.
    """
    rates, space = read_space(parameters)
    if rates is None:
        raise SpecError("the learning rate is what is searched: give its range, as in lr=1e-5..1e-1:log")
    for given, name, known in ((direction, "direction", DIRECTIONS), (method, "method", METHODS)):
        if given not in known:
            raise SpecError(f"{name} is {given!r}{did_you_mean(str(given), known)}")
    if rates.high < NARROWEST * rates.low:
        raise SpecError(
            f"the range lr={rates} leaves nothing to search: its ends are nearly the same; widen it"
        )
    length = Length.of(epochs, steps)
    source = JsonLines() if metric is None else metric
    command = Command(Template(arguments), source, length, space, variables)
    settings = Settings(
        steps=length.full,
        budget=_budget(length, rates, space, budget),
        low=rates.low,
        high=rates.high,
        seed=seed,
        direction=direction,
        space=space or None,
        closed=True,
    )
    way = "halving" if method == "auto" and space else method
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    folder = Path(out)
    with _study(folder, _identity(command, settings, method), reporter) as study:
        proven = any(not _failed(result) for result in study.results())
        executor = CommandExecutor(
            command, folder, workers=workers, grace=grace, proven=proven, reporter=reporter
        )
        with closing(executor):
            stop = drive(
                FromZero(METHODS[way], share=SHARES[way], unit=length.counted),
                settings,
                study,
                NO_STATES,
                executor,
                deadline=deadline,
                reporter=reporter,
            )
        results = study.results()
    if all(result.diverged for result in results):
        raise NoAnswer(_nothing(command, results, folder))
    return conclude_command(command, settings, results, stop, folder)


def _identity(command: Command, settings: Settings, method: str) -> dict[str, Any]:
    """What must be the same for trials to belong to one search; no environment, and no value of it."""
    return {
        "command": list(command.template.arguments),
        "parameters": {
            "lr": str(Range(settings.low, settings.high, log=True)),
            **{name: str(parameter) for name, parameter in command.space.items()},
        },
        "metric": str(command.source),
        "direction": settings.direction,
        "length": [settings.steps, command.length.unit] if command.length.known else None,
        "variables": command.variables,
        "seed": settings.seed,
        "method": method,
    }


@contextmanager
def _study(folder: Path, identity: Mapping[str, Any], reporter: Reporter) -> Iterator[SqliteStudy]:
    """The study in `folder`. One that holds nothing but failures is begun anew: the script may have been mended."""
    with SqliteStudy(folder, identity) as study:
        results = study.results()
        if results and all(map(_failed, results)):
            reporter.note(f"all {len(results)} trials in {folder} failed: they are run again")
            study.clear()
        yield study


def _budget(length: Length, rates: Range, space: Space, budget: int | None) -> int:
    T = length.full
    short = max(1, T // SHORT)
    least = max(T + FEWEST * short, math.ceil((T + (FEWEST - 1) * short) / SHARES["auto"]))
    if budget is None:
        coarse = round(math.log10(rates.high / rates.low) / SPACING) + 1
        return max(least, coarse * short + FULL_TRIALS * T * (1 + len(space)))
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise SpecError(f"budget= is a whole number of {length.counted}, at least 1, not {budget!r}")
    if budget < least:
        raise StudyError(
            f"a budget of {budget} {length.counted} is too small for any answer: with {T} for a whole training it "
            f"takes {least} at least"
        )
    return budget


def _failed(result: Result) -> bool:
    return "failed" in dict(result.metrics)


def _nothing(command: Command, results: Sequence[Result], folder: Path) -> str:
    """What to say where nothing is finite: of the lowest rate, which had the best chance, the command as it was run."""
    lowest, highest = (pick(results, key=lambda result: result.lr) for pick in (min, max))
    failed = sum(map(_failed, results))
    told = f"{failed} of {len(results)} trials failed" if failed else "the metric is NaN or infinite"
    place = folder / "trials" / f"{dict(lowest.metrics)['trial']:.0f}"
    line = shlex.join(command.filled(Proposal(lowest.lr, lowest.seed, 0, lowest.steps, lowest.values), place))
    return (
        f"{told} at every rate tried, {lowest.lr:.1e} to {highest.lr:.1e}: {line}; its output is in {place}: mend the "
        "script, or give lower rates, and begin in another folder"
    )
