"""How far find_lr can be trusted: do its suggestions agree over seeds, do its brackets hold the best rate?

The truth is a dense grid: every rate trained to the end under the default schedule, several seeds; the lowest
mean log objective wins. bench/truth.py makes it.

    python bench/find.py --tasks digits --seeds 20
    python bench/find.py --data DATA          # mnist, mnist-cnn and char-lm as well

Acceptance: 90th over 10th percentile of the suggestion at most 2; bracket at most 1.6 decades wide and
holding the best rate in at least 18 of 20 seeds; at most 3 % over bare training steps of 1 ms or more.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import machine, spread, table, write_report
from tasks import DATA, TASKS, bench_task
from torch import nn
from truth import FOLDER, Truth

from lrkit import Task
from lrkit.range_test import RULES, RangeTest, find_lr
from lrkit.range_test.grid import Grid
from lrkit.range_test.sources import TaskMembers
from lrkit.range_test.verdict import judge
from lrkit.training import SILENT, default_plan
from lrkit.training.batches import BatchStream
from lrkit.training.build import build_member
from lrkit.training.data import search_split


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    names = options.tasks or [
        name for name in TASKS if (name not in DATA or options.data) and has_truth(name)
    ]
    results = {}
    for name in names:
        task = bench_task(name, options.data)
        results[name] = judge_task(task, read_truth(task), options)
        print(report(name, results[name]), flush=True)
        results[name].pop("found")
    overhead = measure_overhead(repeats=options.overhead)
    low, high = overhead["interval"]
    print(
        f"overhead over bare steps of {overhead['bare_ms']:.2f} ms: median {overhead['percent']['median']:+.2f} %, "
        f"90 % interval of the median {low:+.2f} to {high:+.2f} "
        f"(n = {overhead['percent']['n']} pairs of {overhead['steps']} steps, CPU time)\n"
    )
    print(acceptance(results, overhead))
    print(f"machine: {machine()}")
    print(f"written: {write_report('find', {'tasks': results, 'overhead': overhead})}")
    return 0


def has_truth(name: str) -> bool:
    return (FOLDER / f"{name}.json").exists()


def read_truth(task: Task) -> dict[str, Any]:
    """The dense grid of `task`: objectives[seed][rate] of full trainings under the default schedule."""
    path = FOLDER / f"{task.name}.json"
    remedy = f"python bench/truth.py {task.name}"
    if not path.exists():
        raise SystemExit(f"{path} is missing: {remedy}")
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    steps = default_plan(task).horizon.steps
    if known["steps"] != steps:
        raise SystemExit(
            f"{path} is of trainings of {known['steps']} steps, the task has {steps} now: {remedy}"
        )
    return known


def best_rates(known: dict[str, Any]) -> tuple[float, tuple[float, float]]:
    """The truth's best rate, and the span of those whose objective is within 2 % of its."""
    truth = Truth.of(known)
    good = truth.xs[truth.curve <= truth.curve.min() + math.log(1.02)]
    return truth.best, (10.0 ** float(good[0]), 10.0 ** float(good[-1]))


def judge_task(task: Task, known: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    best, good = best_rates(known)
    started = time.perf_counter()
    found = [
        find_lr(task, steps=options.steps, repeats=options.repeats, seed=seed)
        for seed in range(options.seeds)
    ]
    seconds = time.perf_counter() - started
    suggestions = [result.suggestion for result in found if result.suggestion is not None]
    brackets = [result.bracket for result in found if result.bracket is not None]
    by_rule = [result.by_rule() for result in found]
    distances = {
        rule: spread(math.log10(told[rule] / best) for told in by_rule if told[rule] is not None)
        for rule in RULES
    }
    percentiles = np.percentile(suggestions, [10, 90]) if suggestions else np.array([math.nan, math.nan])
    return {
        "found": found,
        "best": best,
        "good": list(good),
        "seeds": options.seeds,
        "steps": options.steps,
        "repeats": options.repeats,
        "statuses": {s: sum(r.status == s for r in found) for s in sorted({r.status for r in found})},
        "suggestion": spread(suggestions),
        "p90_over_p10": float(percentiles[1] / percentiles[0]),
        "bracket_decades": spread(math.log10(high / low) for low, high in brackets),
        "widest_bracket": max((math.log10(high / low) for low, high in brackets), default=None),
        "holds_best": sum(low <= best <= high for low, high in brackets),
        "spread": spread(r.spread for r in found if not math.isnan(r.spread)),
        "distance_decades": distances,
        "updates": spread(float(r.steps) for r in found),
        "seconds_per_find": seconds / len(found),
    }


def report(name: str, result: dict[str, Any]) -> str:
    found: list[RangeTest] = result["found"]
    low, high = result["good"]
    head = (
        f"{name}: best rate {result['best']:.3g} (within 2 %: {low:.3g} to {high:.3g}); {len(found)} seeds x "
        f"{result['repeats']} sweeps of {result['steps']} steps; {result['statuses']}"
    )
    rows = [
        (rule, d["n"], d.get("median"), d.get("p10"), d.get("p90"))
        for rule, d in result["distance_decades"].items()
    ]
    return table(head, ["log10(rule / best)", "n", "median", "p10", "p90"], rows)


def acceptance(results: dict[str, dict[str, Any]], overhead: dict[str, Any]) -> str:
    rows = [
        (
            name,
            result["p90_over_p10"],
            result["widest_bracket"],
            f"{result['holds_best']} of {result['seeds']}",
            result["suggestion"].get("median"),
            result["best"],
            result["spread"].get("median"),
            result["seconds_per_find"],
        )
        for name, result in results.items()
    ]
    header = ["task", "p90/p10", "widest bracket", "holds best", "suggestion", "best", "spread", "s a find"]
    bars = (
        "bars: p90/p10 <= 2, bracket <= 1.6 decades, holds best in 18 of 20, "
        f"overhead <= 3 % ({overhead['percent']['median']:+.2f} %)"
    )
    return table(bars, header, rows)


def measure_overhead(*, repeats: int, steps: int = 180) -> dict[str, Any]:
    """A sweep against the bare loop on the same batches, in turn: percent of CPU time that it takes longer.

    CPU time, because other work on the machine moves the clock on the wall by more than what is measured.
    """
    batches = [(torch.randn(128, 256), torch.randint(0, 10, (128,))) for _ in range(20)]
    task = Task(
        name="overhead",
        model=lambda: nn.Sequential(
            nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        ),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        train=batches,
        validation=batches[:1],
        device="cpu",
    )
    _, steps = _swept(task, steps)
    swept, bare = [], []
    for _ in range(repeats):
        bare.append(_bare(task, steps))
        swept.append(_swept(task, steps)[0])
    percent = 100.0 * (np.array(swept) / np.array(bare) - 1.0)
    draws = np.random.default_rng(0).choice(percent, (2000, len(percent)))
    return {
        "steps": steps,
        "bare_ms": 1e3 * statistics.median(bare),
        "swept_ms": 1e3 * statistics.median(swept),
        "percent": spread(percent),
        "interval": np.percentile(np.median(draws, axis=1), [5, 95]).tolist(),
    }


def _bare(task: Task, steps: int) -> float:
    """Seconds a step of the plainest training loop, its model's making included."""
    loss: Callable[..., Any] = task.loss
    started = time.process_time()
    member = build_member(task, seed=0, lr=1e-6)
    stream = BatchStream(search_split(task).train, seed=0)
    for _ in range(steps):
        inputs, targets = next(stream)
        batch = (inputs.to(member.device), targets.to(member.device))
        member.optimizer.zero_grad(set_to_none=True)
        loss(member.model, batch).backward()
        member.optimizer.step()
    return (time.process_time() - started) / steps


def _swept(task: Task, planned: int) -> tuple[float, int]:
    """Seconds a step of a sweep, its making and its judgement included, and its steps; too low to end early."""
    started = time.process_time()
    grid = Grid(1e-9, 1e-6, planned)
    sweep = TaskMembers(task, 0, None, 1, "float32", "cpu").sweep(0, grid, extensions=2, reporter=SILENT)
    judge(grid.rates(sweep.planned), sweep.losses, before=sweep.before, ending=sweep.ending, rule="kmin")
    return (time.process_time() - started) / sweep.steps, sweep.steps


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, help="by default those with a file in bench/truth"
    )
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--overhead", type=int, default=61, help="pairs of loops timed")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if any(name in DATA for name in options.tasks or ()) and options.data is None:
        parser.error("these tasks need --data")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
