"""lrkit tune against folklore and against an exhaustive grid: test accuracy and updates, paired over seeds.

    python bench/tune.py digits --seeds 20
    python bench/tune.py mnist --data FOLDER --seeds 5

For each seed (which draws the split, the initial weights and the batch order) three ways to choose a rate, each
judged by the held-out part of the training set alone, then trained on all of it and tested:

    lrkit     lrkit.tune at its default budget
    grid      25 rates from 1e-5 to 1, a full training each, the best by the objective
    default   AdamW at 1e-3, constant, no search

Search updates are what the choice cost: range test, replicates and diverged runs included. The final training is
listed apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from _report import table, write_report

GRID = np.logspace(-5, 0, 25)


def one_seed(arguments: tuple[str, str | None, int, tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """The three choices for one seed, in a process of its own with one thread."""
    name, data, seed, ways = arguments
    import torch

    torch.set_num_threads(1)
    from lrkit.training import load_task

    task = dataclasses.replace(load_task(name, data=data), seed=seed)
    return {way: globals()[f"by_{way}"](task, seed) for way in ways}


def by_lrkit(task, seed: int) -> dict[str, float]:
    import lrkit

    started = time.perf_counter()
    tuning = lrkit.tune(task, seed=seed)
    return scores(tuning.metrics) | {
        "lr": tuning.search.lr,
        "search_steps": tuning.member_steps,
        "training_steps": tuning.training_steps,
        "seconds": time.perf_counter() - started,
    }


def by_grid(task, seed: int) -> dict[str, float]:
    from lrkit.training import Run, default_plan, train

    started = time.perf_counter()
    plan, objectives, cost = default_plan(task), [], 0
    for lr in GRID:
        run = Run(task, plan.with_lr(float(lr)), seed=seed)
        run.advance(plan.horizon.steps)
        cost += len(run.losses)
        value = math.inf if run.diverged else run.evaluate("validation")[task.objective_key]
        objectives.append(value if math.isfinite(value) else math.inf)
    best = float(GRID[int(np.argmin(objectives))])
    final = train(task, plan.with_lr(best), seed=seed, data="all")
    return scores(final.metrics) | {
        "lr": best,
        "search_steps": cost,
        "training_steps": final.steps,
        "seconds": time.perf_counter() - started,
    }


def by_default(task, seed: int) -> dict[str, float]:
    from lrkit.training import default_plan, train

    started = time.perf_counter()
    final = train(task, default_plan(task, schedule="hold()", lr=1e-3), seed=seed, data="all")
    return scores(final.metrics) | {
        "lr": 1e-3,
        "search_steps": 0,
        "training_steps": final.steps,
        "seconds": time.perf_counter() - started,
    }


def scores(metrics: dict[str, float]) -> dict[str, float]:
    """Test figures under short names; accuracy in percent."""
    return {
        key.removeprefix("test "): 100 * value if key == "test accuracy" else value
        for key, value in metrics.items()
        if key.startswith("test ")
    }


def lower_bound(differences: np.ndarray) -> float:
    """The one-sided 95 % lower bound of the mean, by Student's t."""
    from scipy.stats import t

    n = len(differences)
    return (
        float(differences.mean() - t.ppf(0.95, n - 1) * differences.std(ddof=1) / math.sqrt(n))
        if n > 1
        else -math.inf
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--ways", nargs="+", default=["lrkit", "grid", "default"], choices=["lrkit", "grid", "default"]
    )
    options = parser.parse_args()
    jobs = [(options.task, options.data, seed, tuple(options.ways)) for seed in range(options.seeds)]
    results = []
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for seed, result in enumerate(pool.map(one_seed, jobs)):
            results.append(result)
            print(
                f"seed {seed}: "
                + ", ".join(f"{way} {r.get('accuracy', r['loss']):.4g}" for way, r in result.items()),
                flush=True,
            )
    figure = "accuracy" if "accuracy" in results[0][options.ways[0]] else "loss"
    columns = {
        way: {key: np.array([r[way][key] for r in results]) for key in results[0][way]}
        for way in options.ways
    }
    grid_steps = columns["grid"]["search_steps"].mean() if "grid" in columns else math.nan
    rows = [
        (
            way,
            float(np.median(column[figure])),
            float(column[figure].mean()),
            float(column[figure].std(ddof=1)) if len(results) > 1 else None,
            float(np.median(column["lr"])),
            round(column["search_steps"].mean()),
            f"{column['search_steps'].mean() / grid_steps:.1%}",
            round(column["training_steps"].mean()),
            float(np.median(column["seconds"])),
        )
        for way, column in columns.items()
    ]
    summary: dict[str, float] = {}
    for way in options.ways:
        if way != "lrkit":
            differences = columns["lrkit"][figure] - columns[way][figure]
            summary[f"mean difference to {way}"] = float(differences.mean())
            summary[f"95 % lower bound of the mean difference to {way}"] = lower_bound(differences)
    if "grid" in columns:
        summary["largest share of the grid's updates"] = float(
            (columns["lrkit"]["search_steps"] / columns["grid"]["search_steps"]).max()
        )
    header = [
        "way",
        "median",
        "mean",
        "sd",
        "median lr",
        "search updates",
        "of grid",
        "final updates",
        "seconds",
    ]
    print(table(f"{options.task}, {len(results)} seeds: test {figure}", header, rows))
    for what, value in summary.items():
        print(f"{what}: {value:.4g}")
    print(write_report(f"tune-{options.task}", {"summary": summary, "runs": results}))


if __name__ == "__main__":
    main()
