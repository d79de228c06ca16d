"""How often the search's 90 % interval holds the best rate, how wide it is, and what the chosen rate costs.

    python bench/search_interval.py --repeats 40                       # digits, digits-cnn, diabetes
    python bench/search_interval.py mnist char-lm --repeats 10 --data DATA
    python bench/search_interval.py --truth --seeds 24                 # measure the best rates anew

The best rate of a task is that of a dense grid of full trainings, averaged over seeds: the lowest point of the mean
log objective after a symmetric kernel of 0.1 decades. A seed draws the held-out part, the weights and the batch order,
here as in the repeats, which take other seeds: so an interval must also cover what the choice of 287 samples does.
`bench/truth/search-<task>.json` holds the grid, with the command that made it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import torch
from _report import command, machine, table, today, write_report

from lrkit.search import search_lr
from lrkit.training import Run, Task, default_plan, load_task

TRUTH = Path(__file__).parent / "truth"
TASKS = ("digits", "digits-cnn", "diabetes")
WITH_DATA = {"mnist": "mnist", "mnist-cnn": "mnist", "char-lm": "tinyshakespeare.txt"}
RATES = tuple(float(f"{lr:.3g}") for lr in np.logspace(-4.0, 0.0, 33))
FIRST_REPEAT = 1000
KERNEL = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--repeats", type=int, default=40, help="searches of each task")
    parser.add_argument("--budget", type=float, default=6.0, help="in trainings")
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--truth", action="store_true", help="measure the best rates anew")
    parser.add_argument("--seeds", type=int, default=24, help="seeds of the grid, with --truth")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    asked = parser.parse_args()
    names = asked.tasks
    if asked.data is None and not set(names) <= set(TASKS):
        parser.error("these tasks need --data")
    with multiprocessing.get_context("spawn").Pool(
        asked.jobs, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        if asked.truth:
            for name in names:
                measure_truth(pool, name, asked)
        else:
            measure_intervals(pool, names, asked)


def measure_truth(pool, name: str, asked: argparse.Namespace) -> None:
    started = time.perf_counter()
    jobs = [(name, asked.data, seed) for seed in range(asked.seeds)]
    rows = pool.starmap(one_seed_of_grid, jobs, chunksize=1)
    steps = default_plan(task_of(name, asked.data, 0)).horizon.steps
    TRUTH.mkdir(exist_ok=True)
    found = {
        "task": name,
        "steps": steps,
        "rates": RATES,
        "seeds": list(range(asked.seeds)),
        "third": [[plain(value) for value in row[0]] for row in rows],
        "full": [[plain(value) for value in row[1]] for row in rows],
        "command": command(),
        "machine": machine(),
        "date": today(),
    }
    (TRUTH / f"search-{name}.json").write_text(json.dumps(found) + "\n")
    curve = Truth.load(name)
    print(f"{name}: best rate {curve.best:.3g} of {asked.seeds} seeds, {time.perf_counter() - started:.0f} s")


def one_seed_of_grid(name: str, data: Path | None, seed: int) -> tuple[list[float], list[float]]:
    task = task_of(name, data, seed)
    plan = default_plan(task)
    third, full = [], []
    for lr in RATES:
        run = Run(task, plan.with_lr(lr), seed=seed, data="search")
        for stop, found in ((plan.horizon.steps // 3, third), (plan.horizon.steps, full)):
            run.advance(stop)
            found.append(math.nan if run.diverged else run.evaluate("validation")[task.objective_key])
    return third, full


@dataclasses.dataclass(frozen=True)
class Truth:
    """The mean log objective of full trainings against log10 lr, smoothed, and its lowest point."""

    xs: np.ndarray
    curve: np.ndarray

    @classmethod
    def load(cls, name: str) -> Truth:
        path = TRUTH / f"search-{name}.json"
        if not path.exists():
            raise SystemExit(f"{path} is missing: python bench/search_interval.py {name} --truth")
        found = json.loads(path.read_text())
        return cls.of(found["rates"], found["full"])

    @classmethod
    def of(cls, rates, full) -> Truth:
        objectives = np.array([[math.nan if v is None else v for v in row] for row in full])
        worst = np.nanmax(objectives)
        mean = np.log(np.where(np.isfinite(objectives), objectives, worst)).mean(axis=0)
        x = np.log10(rates)
        xs = np.arange(x[0], x[-1] + 0.005, 0.01)
        weights = np.exp(-0.5 * ((xs[:, None] - x[None, :]) / KERNEL) ** 2)
        return cls(xs, weights @ mean / weights.sum(axis=1))

    @property
    def best(self) -> float:
        return 10.0 ** float(self.xs[np.argmin(self.curve)])

    def regret(self, lr: float) -> float:
        return math.expm1(float(np.interp(math.log10(lr), self.xs, self.curve) - self.curve.min()))


def measure_intervals(pool, names: list[str], asked: argparse.Namespace) -> None:
    jobs = [(n, asked.data, FIRST_REPEAT + i, asked.budget) for n in names for i in range(asked.repeats)]
    searches = pool.starmap(one_search, jobs, chunksize=1)
    rows = {name: summary([s for s in searches if s["task"] == name]) for name in names}
    rows["all"] = summary(searches)
    header = (
        "task",
        "searches",
        "coverage",
        "width (dec)",
        "bias (dec)",
        "sd (dec)",
        "regret",
        "9 in 10",
        "settled",
        "cost / T",
    )
    print(
        table(
            "90 % intervals of the best rate", header, [(name, *row.values()) for name, row in rows.items()]
        )
    )
    path = write_report("search_interval", {"summary": rows, "searches": searches})
    print(path)


def one_search(name: str, data: Path | None, seed: int, budget: float) -> dict:
    task = task_of(name, data, seed)
    steps = default_plan(task).horizon.steps
    found = search_lr(task, seed=seed, budget=round(budget * steps))
    truth = Truth.load(name)
    low, high = found.interval
    return {
        "task": name,
        "seed": seed,
        "lr": found.lr,
        "interval": [low, high],
        "good": list(found.good),
        "status": found.status,
        "reason": found.reason,
        "holds": low <= truth.best <= high,
        "width": math.log10(high / low),
        "error": math.log10(found.lr / truth.best),
        "regret": truth.regret(found.lr),
        "cost": found.member_steps / steps,
        "seconds": found.seconds,
        "trials": [[t.lr, t.seed, t.steps, plain(t.objective)] for t in found.trials],
    }


def summary(searches: list[dict]) -> dict:
    errors, regrets = [s["error"] for s in searches], [s["regret"] for s in searches]
    return {
        "searches": len(searches),
        "coverage": float(np.mean([s["holds"] for s in searches])),
        "width": float(np.median([s["width"] for s in searches])),
        "bias": float(np.mean(errors)),
        "sd": float(np.std(errors)),
        "regret": float(np.mean(regrets)),
        "regret_p90": float(np.quantile(regrets, 0.9)),
        "settled": float(np.mean([s["status"] == "settled" for s in searches])),
        "cost": float(np.median([s["cost"] for s in searches])),
    }


def task_of(name: str, data: Path | None, seed: int) -> Task:
    found = data / WITH_DATA[name] if data is not None and name in WITH_DATA else None
    return dataclasses.replace(load_task(name, data=found), seed=seed)


def plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
