"""lrkit's search beside what people use: what the chosen rate costs, and what it costs to choose it.

    python bench/search.py digits diabetes mnist1d --repeats 10 --searches 24
    python bench/search.py mnist --data DATA --repeats 3 --ways lrkit grid default optuna

A repeat is a seed, of 1000 or more, that draws the held-out part, the weights and the batch order. Every way
(bench/rivals) answers it in a process of its own, begun by a fork once everything is imported; the clock runs from the
call to the answer, compiling included. What an answer is worth says bench/truth/<task>.json, made with other seeds.
Steps and time are shares of 32 full trainings, the 32-rate, 1-seed grid; one that would take more than a minute of
processor time is not trained whole, and gives no answer. `--searches` adds repeats of lrkit alone, which say how often
its interval holds the best rate.

Written are search.json, after each task, and search.png in the folder --out.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _report import OUT, table, write_report
from rivals import WAYS
from rivals.figure import search_bench_figure
from rivals.judgement import COVERAGE_BAR, GRID_RATES, WIDTH_BAR, bars, intervals, judge_task
from tasks import DATA, TASKS, bench_task
from truth import Truth

from lrkit.errors import StudyError
from lrkit.files import make_folder
from lrkit.plot import save_figure
from lrkit.search.methods.auto import MOST_SEEDS
from lrkit.training import advised_threads, default_plan
from lrkit.training.threads import is_dispatch_bound

# The first optimizer of a process imports torch._dynamo, for seconds: no way is to pay for that.
IMPORTED = ["torch._dynamo", "optuna", "prodigyopt", "schedulefree", "scipy.stats", "lrkit.search"]


def main() -> None:
    asked = options()
    rows: list[dict[str, Any]] = []
    tasks: dict[str, dict[str, Any]] = {}
    truths = {name: Truth.load(name) for name in asked.tasks}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with context.Pool(asked.jobs, maxtasksperchild=1) as pool:
        for name in asked.tasks:
            jobs = [(name, asked.data, way, seed, asked.threads) for way, seed in answers_asked(asked)]
            found = []
            for row in pool.imap(answer, jobs, chunksize=1):
                found.append(row)
                print(f"\r{name}: {len(found)} of {len(jobs)} answers", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            rows += found
            steps = default_plan(bench_task(name, asked.data)).horizon.steps
            judged = judge_task(found, truths[name], steps)
            tasks[name] = {"steps": steps, "best": truths[name].best, "ways": judged}
            if "lrkit" in judged:
                dispatch_bound = is_dispatch_bound(bench_task(name, asked.data))
                tasks[name]["bars"] = bars(judged, truths[name], dispatch_bound=dispatch_bound)
            print(told(name, tasks[name], found), flush=True)
            summary = {"tasks": tasks, "intervals": intervals(rows, truths), "rows": rows}
            written = write_report("search", summary, asked.out)
    if "lrkit" in asked.ways:
        print(told_bars(tasks))
        print(told_intervals(summary["intervals"]))
    picture = save_figure(search_bench_figure(rows, truths, tasks), asked.out / "search.png")
    print(f"written: {written}, {picture}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="+", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--repeats", type=int, default=10, help="of every way")
    parser.add_argument("--searches", type=int, default=0, help="repeats of lrkit, where that is more")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first repeat")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="bench/out by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument(
        "--threads", type=int, help="of each process; as many as `lrkit search` takes for the task by default"
    )
    asked = parser.parse_args()
    without = [name for name in asked.tasks if name in DATA and asked.data is None]
    if without:
        parser.error(f"{', '.join(without)}: --data FOLDER is missing")
    if asked.repeats < 1:
        parser.error("--repeats is at least 1")
    try:
        make_folder(asked.out)  # before the minutes of measuring, not after
    except StudyError as error:
        parser.error(f"--out: {error}")
    return asked


def answers_asked(asked: argparse.Namespace) -> list[tuple[str, int]]:
    """(way, seed) of one task, repeat by repeat, so that the ways share whatever else the machine does."""
    last = max(asked.repeats, asked.searches)
    return [
        (way, asked.first + MOST_SEEDS * i)
        for i in range(last)
        for way in asked.ways
        if i < asked.repeats or way == "lrkit"
    ]


def answer(job: tuple[str, Path | None, str, int, int | None]) -> dict[str, Any]:
    """One row: what a way answers to one repeat, in this process."""
    name, data, way, seed, threads = job
    task = bench_task(name, data, seed=seed)
    torch.set_num_threads(threads or advised_threads(task))
    gc.freeze()  # a collection would copy all that the fork shares, on somebody's time
    started = time.perf_counter()
    outcome = WAYS[way](task, seed)
    return {
        "task": name,
        "way": way,
        "seed": seed,
        "lr": outcome.lr,
        "objective": outcome.objective,
        "steps": outcome.steps,
        "seconds": time.perf_counter() - started,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "told": outcome.told,
    }


def told(name: str, task: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    header = [
        "way",
        "answers",
        "regret: median",
        "mean",
        "worst",
        "steps",
        "wall",
        "MiB",
        "less by lrkit",
        "95 %",
    ]
    lines = [
        (
            way,
            f"{w['answers']} of {w['repeats']}",
            *(percent(w[key]) for key in ("median", "mean", "worst", "steps", "wall")),
            round(w["peak_mib"]),
            percent(w.get("difference")),
            _interval_text(w.get("interval"), beaten=w.get("beats_lrkit") and w["within_lrkits_cost"]),
        )
        for way, w in task["ways"].items()
    ]
    head = f"{name}: best rate {task['best']:.3g}, trainings of {task['steps']} updates"
    trained = [row["told"]["trained"] for row in rows if row["way"] == "grid"]
    if trained:
        seconds = task["ways"]["grid"]["grid_seconds"]
        whole = min(trained) == GRID_RATES
        head += f"; the grid takes {seconds:.0f} s, {'trained whole' if whole else f'told by {min(trained)} trainings'}"
    return table(head, header, lines)


def told_bars(tasks: dict[str, dict[str, Any]]) -> str:
    header = [
        "task",
        "repeats",
        "median",
        "bar",
        "worst",
        "bar",
        "steps",
        "bar",
        "wall",
        "bar",
        "beaten by",
        "met",
    ]
    lines = []
    for name, task in tasks.items():
        ours, bar = task["ways"]["lrkit"], task["bars"]
        missed = [key for key in ("median", "worst", "steps", "wall") if bar[f"{key}_met"] is False]
        missed += ["rivals"] if bar["beaten_by"] else []
        lines.append(
            (
                name,
                ours["repeats"],
                *(percent(value) for value in (ours["median"], bar["median_bar"], ours["worst"], bar["worst_bar"])),
                *(percent(value) for value in (ours["most_steps"], bar["steps_bar"], ours["wall"], bar["wall_bar"])),
                ", ".join(bar["beaten_by"]) or "-",
                f"missed: {', '.join(missed)}" if missed else "all",
            )
        )  # fmt: skip
    return table("lrkit against its bars (steps: the most of any search)", header, lines)


def told_intervals(judged: dict[str, dict[str, Any]]) -> str:
    every = judged["all"]
    covers = COVERAGE_BAR[0] <= every["coverage"] <= COVERAGE_BAR[1]
    title = (
        f"90 % intervals of the best rate; bars: told and held in {COVERAGE_BAR[0]:.0%} to {COVERAGE_BAR[1]:.0%} "
        f"{'(met)' if covers else '(missed)'}, median width {WIDTH_BAR} decades at most "
        f"{'(met)' if every['width'] <= WIDTH_BAR else '(missed)'}"
    )
    columns = ("searches", "coverage", "held", "width", "bias", "sd", "settled", "could_not_tell")
    header = [
        "task",
        "n",
        "told and held",
        "held",
        "width (dec)",
        "bias (dec)",
        "sd (dec)",
        "settled",
        "could not tell",
    ]
    shares = ("coverage", "held")
    lines = [
        (name, *(percent(row[key]) if key in shares else row[key] for key in columns))
        for name, row in judged.items()
    ]
    return table(title, header, lines)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.{1 if abs(value) < 10 else 0}f} %"


def _interval_text(interval: list[float] | None, *, beaten: bool | None) -> str:
    if interval is None:
        return "-"
    return f"{percent(interval[0])} to {percent(interval[1])}{' (beats lrkit)' if beaten else ''}"


if __name__ == "__main__":
    main()
