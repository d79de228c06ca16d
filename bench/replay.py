"""Searches replayed on tables of trainings made before: what the constants of the fit do to its intervals.

    python bench/replay.py                                            # three searches of each small task
    python bench/replay.py --part check                               # of those that chose no shapes
    python bench/replay.py --set NOISE_GROWTH=0.4 --set KEPT=4        # with other constants of fit or method
    python bench/replay.py --blind                                    # as if no validation batches told the noise
    python bench/replay.py digits diabetes --repeats 24               # on the truths' tables

A trial reads its objective off the table (`bench/small_tasks.py`, `bench/truth.py`): the row of its seed, between the
two nearest rates (beyond the outermost, theirs), after about as large a part of the updates. A thousand searches take
minutes. The best rate of a small task is that of the seeds that the search cannot draw, a named task's its truth.
Tables have no validation batches: what these would tell of the noise is taken to be 0.87 of what the table shows, give
or take a quarter, as on real tasks. Only intervals are judged, not the status beside them.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from _report import table, write_report
from small_tasks import FOLDER as SMALL
from small_tasks import TABLES
from truth import FOLDER as TRUTHS
from truth import PARTS, Truth, best_error

from lrkit.search import curve_fit, fitting
from lrkit.search.curve_fit import CurveFit, Point, difference_noise
from lrkit.search.methods import auto
from lrkit.search.methods.auto import AUTO
from lrkit.search.scale import Scale
from lrkit.search.scatter import LEAST_NOISE
from lrkit.search.trials import Proposal, Result, Settings, Stop

STEPS = 900
TRAININGS = 7.7
"""The default budget but for the range test."""
OWN_SEEDS = 4
"""Seeds of a small task that a search may draw, and that its truth leaves out."""
BRACKET = (14.0, 2.8)
"""Factors from the range test's `kmin` down and up to the ends of the bracket."""
KMIN = {"digits": -0.07, "digits-cnn": -0.03, "diabetes": 0.98, "mnist": 0.28}
"""Decades from the best rate to `kmin`, by bench/find.py (digits-cnn by its truth of today); drawn where not known."""
MEASURED, MEASURED_SPREAD = 0.87, 0.25
HELD = 0.88
"""The part of the searches that a stretch of all intervals is to hold, so that constants can be compared by width."""
CHECKED = 104
"""Small tasks from this number on had no say in the shape of curves and noise, only in how far the answer and the
interval go by it (`MEASURED_*`, `INTERVAL`)."""
WITHIN = (0.5, 0.3)
"""Decades that the best rate of a small task must keep from the ends of its grid."""
SHALLOW, UNKNOWN = 0.004, 0.09
"""Small tasks whose log objective half a decade lower is hardly worse, or whose best rate the seeds tell no better than
to so many decades, are left out."""


@dataclass(frozen=True, eq=False)
class Table:
    """The objectives of a task: x = log10 of the rates, and for each part of the updates seeds by rates."""

    name: str
    x: np.ndarray
    parts: dict[float, np.ndarray]
    logs: np.ndarray
    truth: Truth | None

    @classmethod
    def load(cls, name: str, path: Path, *, small: bool) -> Table:
        found = json.loads(path.read_text())
        lengths = TABLES if small else {key: 1 / divisor for key, divisor in PARTS.items()}
        parts = {
            part: np.array([[math.nan if v is None else v for v in row] for row in found[key]], dtype=float)
            for key, part in lengths.items()
            if key in found
        }
        full = parts[1.0]
        with np.errstate(divide="ignore"):
            logs = np.log(np.where(np.isfinite(full), full, np.nanmax(full)))
        return cls(name, np.log10(found["rates"]), parts, logs, None if small else Truth.of(found))

    def truth_without(self, seeds: Sequence[int]) -> Truth:
        """That of the other seeds, where the table is all that is known."""
        others = [i for i in range(len(self.logs)) if i not in seeds]
        return self.truth or Truth.through(list(10**self.x), self.logs[others])

    @property
    def noise(self) -> float:
        """The deviation, between seeds, of the log objective's difference across the best rate."""
        best = math.log10(Truth.through(list(10**self.x), self.logs).best)
        low, high = (
            [np.interp(best + d, self.x, row) for row in self.logs] for d in (-auto.ASIDE, auto.ASIDE)
        )
        return float(np.std(np.subtract(high, low), ddof=1))

    def result(self, proposal: Proposal, row: int) -> Result:
        """What the trial ends with; diverged next to a rate that did."""
        part = min(self.parts, key=lambda part: abs(math.log(part * STEPS / proposal.stop)))
        values = self.parts[part][row]
        x = min(max(math.log10(proposal.lr), self.x[0]), self.x[-1])
        right = min(max(1, int(np.searchsorted(self.x, x))), len(self.x) - 1)
        near = values[right - 1 : right + 1]
        if not np.isfinite(near).all():
            cost = max(1, proposal.cost // 10)
            return Result(proposal.lr, proposal.seed, proposal.start + cost, math.nan, True, cost, 0.0)
        value = math.exp(np.interp(x, self.x[right - 1 : right + 1], np.log(near)))
        return Result(proposal.lr, proposal.seed, proposal.stop, value, False, proposal.cost, 0.0)


def worth_judging(path: Path) -> bool:
    """Whether a small task has a best rate that its seeds know."""
    found, known = json.loads(path.read_text()), Table.load(path.stem, path, small=True)
    if any(np.nanmin(values) <= 0.0 for values in known.parts.values()):
        return False  # no logarithm orders losses of exactly 0
    truth = known.truth_without(())
    best = math.log10(truth.best)
    if not known.x[0] + WITHIN[0] < best < known.x[-1] - WITHIN[1]:
        return False
    return truth.regret(10 ** (best - 0.5)) > SHALLOW and best_error(found) <= UNKNOWN


@lru_cache
def table_of(name: str) -> Table:
    if name.isdecimal():
        return Table.load(name, SMALL / f"{name}.json", small=True)
    return Table.load(name, TRUTHS / f"{name}.json", small=False)


def owner_of(name: str) -> ModuleType | None:
    """The module of that constant: the method's or the fit's, None where neither has it."""
    return next((module for module in (auto, curve_fit) if hasattr(module, name)), None)


def use(constants: dict[str, object]) -> None:
    """Search and fit with these constants, in this process, from now on."""
    for name, value in constants.items():
        setattr(owner_of(name), name, value)
    fitting._fitted.cache_clear()


def replay(job: tuple[str, int, bool]) -> dict:
    """One search: how its answer lies to the best rate, in decades."""
    name, number, blind = job
    known = table_of(name)
    draw = np.random.default_rng([1, number, *name.encode()])
    told = MEASURED * known.noise * math.exp(draw.normal() * MEASURED_SPREAD)
    between = difference_noise(*(Point(d, 0.0, 0, 0.0) for d in (-auto.ASIDE, auto.ASIDE)), centre=0.0)

    def noise(_: Sequence[Result], scale: Scale) -> float | None:
        return None if blind else max(LEAST_NOISE, told / max(scale.unit, 1e-9) / between)

    fitting.measured_noise = noise
    rows = list(draw.permutation(len(known.logs)))
    truth = known.truth_without(rows[:OWN_SEEDS])
    kmin = math.log10(truth.best) + KMIN.get(name, draw.normal(0.1, 0.35)) + draw.normal(0, 0.06)
    settings = Settings(
        steps=STEPS, budget=int(TRAININGS * STEPS), low=10**kmin / BRACKET[0], high=10**kmin * BRACKET[1]
    )
    results: list[Result] = []
    while not isinstance(batch := AUTO.next_trials(settings, results), Stop):
        results += [known.result(proposal, rows[proposal.seed % len(rows)]) for proposal in batch]
    return judged(name, fitting.fit_results(settings, results)[1], truth)


def judged(name: str, fit: CurveFit, truth: Truth) -> dict:
    error = fit.best - math.log10(truth.best)
    side = fit.high - fit.best if error < 0 else fit.best - fit.low
    return {
        "task": name,
        "error": error,
        "width": fit.high - fit.low,
        "stretch": abs(error) / side,
        "regret": truth.regret(10 ** float(np.clip(fit.best, truth.xs[0], truth.xs[-1]))),
    }


def summary(searches: list[dict]) -> dict[str, float]:
    def column(key: str) -> np.ndarray:
        return np.array([search[key] for search in searches])

    width = float(np.median(column("width")))
    return {
        "searches": len(searches),
        "coverage": float(np.mean(column("stretch") <= 1)),
        "width": width,
        "width at 88 %": width * float(np.quantile(column("stretch"), HELD)),
        "bias": float(np.mean(column("error"))),
        "error, rms": float(np.sqrt(np.mean(column("error") ** 2))),
        "regret": float(np.mean(column("regret"))),
    }


def constant(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if not name.isupper() or owner_of(name) is None:
        raise argparse.ArgumentTypeError(
            f"{name} is no constant of curve_fit.py or methods/auto.py in lrkit/search"
        )
    return name, ast.literal_eval(value)


def small_tables(part: str) -> list[Path]:
    paths = sorted(SMALL.glob("*.json"), key=lambda path: int(path.stem))
    return [p for p in paths if part == "all" or (int(p.stem) >= CHECKED) == (part == "check")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help="truths; without any, all small tasks")
    parser.add_argument(
        "--part", choices=("all", "choose", "check"), default="all", help="of the small tasks"
    )
    parser.add_argument("--repeats", type=int, default=3, help="searches of each task")
    parser.add_argument("--set", type=constant, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--blind", action="store_true", help="as if no validation batches told the noise")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    asked = parser.parse_args()
    names = asked.tasks or [path.stem for path in small_tables(asked.part) if worth_judging(path)]
    if not names:
        raise SystemExit(
            f"{SMALL} has no task that is fit for judging: python bench/small_tasks.py --data DATA"
        )
    jobs = [(name, number, asked.blind) for name in names for number in range(asked.repeats)]
    with multiprocessing.get_context("spawn").Pool(asked.jobs, use, (dict(asked.set),)) as pool:
        searches = pool.map(replay, jobs, chunksize=4)
    each = {name: [s for s in searches if s["task"] == name] for name in asked.tasks}
    told = {name: summary(found) for name, found in (each | {f"{len(names)} tasks": searches}).items()}
    print(
        table(
            "Replayed searches", ("", *next(iter(told.values()))), [(k, *v.values()) for k, v in told.items()]
        )
    )
    print(write_report("replay", {"constants": dict(asked.set), "summary": told, "searches": searches}))


if __name__ == "__main__":
    main()
