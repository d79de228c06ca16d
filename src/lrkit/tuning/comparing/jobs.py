"""The two kinds of work in a comparison, as values that can travel to another process, and how each is done."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lrkit.convert import parse_spec
from lrkit.errors import NoAnswer
from lrkit.plan import Plan
from lrkit.range_test import RangeTest
from lrkit.records import read_record
from lrkit.search import search_lr
from lrkit.training import Reporter, Task, default_plan, train

__all__ = ["FinalJob", "Job", "Rules", "SearchJob", "do_job", "plan_of"]

_MOST_POINTS = 600
"""Of the rates that a final training used, as many are kept for the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every schedule alike."""

    epochs: int | None
    steps: int | None
    budget: int
    seed: int
    device: str | None
    folder: str


@dataclass(frozen=True, slots=True)
class SearchJob:
    """Search the peak lr of one schedule: from a range test, or between two rates that were foreseen."""

    name: str
    spec: str
    folder: str
    bracket: tuple[float, float] | None
    range_test: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class FinalJob:
    """Train with the answer, under one seed, on a part of the data, and measure on other data."""

    name: str
    spec: str
    folder: str
    lr: float
    seed: int
    part: Literal["search", "all"]
    on: Literal["test", "validation"]
    with_rates: bool


Job = SearchJob | FinalJob


def plan_of(task: Task, spec: str, rules: Rules) -> Plan:
    """The plan of one schedule; its lr is to be replaced."""
    return default_plan(task, schedule=parse_spec(spec), epochs=rules.epochs, steps=rules.steps)


def do_job(job: Job, task: Task, rules: Rules, reporter: Reporter) -> dict[str, Any]:
    """The answer as plain data. What was finished in the job's folder before is not done again."""
    if isinstance(job, SearchJob):
        return _search(job, task, rules, reporter)
    return _train(job, task, rules, reporter)


def _search(job: SearchJob, task: Task, rules: Rules, reporter: Reporter) -> dict[str, Any]:
    """`search`: the search without its range test, which all share; or `failure`, where no rate can be trained."""
    shared = None if job.range_test is None else RangeTest.from_dict(job.range_test)
    try:
        search = search_lr(
            task,
            plan=plan_of(task, job.spec, rules),
            budget=rules.budget + (0 if shared is None else shared.steps),
            bracket=job.bracket,
            range_test=shared,
            seed=rules.seed,
            out=Path(rules.folder) / job.folder,
            device=rules.device,
            reporter=reporter,
        )
    except NoAnswer as error:
        return {"failure": str(error)}
    own = search.member_steps - (0 if shared is None else shared.steps)
    found = dataclasses.replace(search, range_test=None, member_steps=own)
    return {"search": found.to_dict()}


def _train(job: FinalJob, task: Task, rules: Rules, reporter: Reporter) -> dict[str, Any]:
    folder = Path(rules.folder) / job.folder
    plan = plan_of(task, job.spec, rules).with_lr(job.lr)
    trained = train(
        task, plan, seed=job.seed, data=job.part, out=folder, device=rules.device, reporter=reporter
    )
    prefix = f"{job.on} "
    final = {
        "seed": job.seed,
        "metrics": {
            name.removeprefix(prefix): value if math.isfinite(value) else None
            for name, value in trained.metrics.items()
            if name.startswith(prefix)
        },
        "diverged": trained.diverged,
        "steps": trained.steps,
        "seconds": trained.seconds,
    }
    return {"final": final} | ({"rates": _rates(folder)} if job.with_rates else {})


def _rates(folder: Path) -> dict[str, list[float]]:
    """The rates of the first group as they were used: what a controller did can be read off nothing else."""
    record = read_record(folder / "record.jsonl")
    rows = range(len(record))
    kept = sorted({*rows[:: math.ceil(len(rows) / _MOST_POINTS) or 1], *rows[-1:]})
    return {
        "steps": [int(record.steps[i]) for i in kept],
        "lrs": [float(record.lrs[i, 0]) for i in kept],
    }
