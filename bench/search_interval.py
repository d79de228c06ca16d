"""How often the search's 90 % interval holds the best rate, how wide it is, and what the chosen rate costs.

    python bench/search_interval.py --repeats 40                       # digits, digits-cnn, diabetes, mnist1d
    python bench/search_interval.py mnist char-lm --repeats 10 --data DATA
    python bench/search_interval.py digits --budget 4
    python bench/search_interval.py mnist-cnn --repeats 8 --data DATA --append    # to those measured before
    python bench/search_interval.py --repeats 0 --append                          # those, by the truth of today
    python bench/search_interval.py --repeats 24 --first 3000                     # by seeds that no constant has seen

The best rate is that of bench/truth/<task>.json. A seed draws the held-out part, the weights and the batch order, there
as in the repeats, which take other seeds: so an interval must also cover what the choice of 287 samples does. The seeds
of two repeats lie so far apart that no training is shared.
`bench/search.py` measures the same at the default budget, beside what it costs and beside other ways.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from pathlib import Path

import numpy as np
import torch
from _report import OUT, table, write_report
from tasks import DATA, TASKS, bench_task
from truth import Truth

from lrkit.search import search_lr
from lrkit.search.methods.auto import MOST_SEEDS
from lrkit.training import default_plan

NAME = "search_interval"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=[name for name in TASKS if name not in DATA])
    parser.add_argument("--repeats", type=int, default=40, help="searches of each task")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first search")
    parser.add_argument("--budget", type=float, default=8.0, help="in trainings")
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument(
        "--append", action="store_true", help="go on with the searches of bench/out/search_interval.json"
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    asked = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(
        asked.jobs, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        measure_intervals(pool, asked.tasks, asked)


def measure_intervals(pool, names: list[str], asked: argparse.Namespace) -> None:
    """Searches are kept as they end, so that an interrupted bench can be gone on with."""
    before = OUT / f"{NAME}.json"
    searches = json.loads(before.read_text())["searches"] if asked.append and before.exists() else []
    truths = {name: Truth.load(name) for name in dict.fromkeys([*(s["task"] for s in searches), *names])}
    known = {(s["task"], s["seed"], s["budget"]) for s in searches}
    jobs = [
        (n, asked.data, asked.first + MOST_SEEDS * i, asked.budget)
        for n in names
        for i in range(asked.repeats)
    ]
    wanted = [job for job in jobs if (job[0], job[2], job[3]) not in known]
    if not searches and not wanted:
        raise SystemExit("no searches: --repeats 0 judges again those that --append finds")

    def kept() -> tuple[Path, dict[str, dict]]:
        judged = [s | judgement(s, truths[s["task"]]) for s in searches]
        told = summaries(judged)
        return write_report(NAME, {"summary": told, "searches": judged}), told

    for found in pool.imap_unordered(one_search, wanted, chunksize=1):
        searches.append(found)
        kept()
    path, told = kept()
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
            "90 % intervals of the best rate",
            header,
            [(name, *row.values()) for name, row in told.items()],
        )
    )
    print(path)


def one_search(job: tuple[str, Path | None, int, float]) -> dict:
    name, data, seed, budget = job
    task = bench_task(name, data, seed=seed)
    steps = default_plan(task).horizon.steps
    found = search_lr(task, seed=seed, budget=round(budget * steps))
    return {
        "task": name,
        "seed": seed,
        "budget": budget,
        "lr": found.lr,
        "interval": list(found.interval),
        "good": list(found.good),
        "status": found.status,
        "reason": found.reason,
        "cost": found.member_steps / steps,
        "seconds": found.seconds,
        "trials": [[t.lr, t.seed, t.steps, plain(t.objective)] for t in found.trials],
    }


def judgement(search: dict, truth: Truth) -> dict:
    """What a search's answer is worth: "could not tell" holds nothing."""
    low, high = search["interval"]
    return {
        "holds": search["status"] != "could not tell" and low <= truth.best <= high,
        "width": math.log10(high / low),
        "error": math.log10(search["lr"] / truth.best),
        "regret": truth.regret(search["lr"]),
    }


def summaries(searches: list[dict]) -> dict[str, dict]:
    """By task and for "all" together."""
    names = dict.fromkeys(s["task"] for s in searches)
    each = {name: summary([s for s in searches if s["task"] == name]) for name in names}
    return each | {"all": summary(searches)}


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


def plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
