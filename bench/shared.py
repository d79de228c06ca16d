"""Two commands on one PostgreSQL study against one: how much sooner the search ends, and whether anything ran twice.

    python bench/shared.py --storage postgresql://USER@HOST/DATABASE [TASK] [--steps 1080] [--rounds 3]

Each round searches alone, then with two commands begun at once, each with one thread; the clock runs from the start of
the commands to the end of the last, imports included. Studies get names of their own and stay in the database.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from _report import spread, table, write_report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", nargs="?", default="digits-cnn")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--steps", type=int, default=1080, help="of one training")
    parser.add_argument("--methods", nargs="+", default=["grid", "auto"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rows = {method: [one_round(asked, method) for _ in range(asked.rounds)] for method in asked.methods}
    header = ["method", "alone, s", "two, s", "ratio", "trials", "trained twice", "apart (dec)"]
    print(table(f"{asked.task}: two commands on one study", header, (line(*item) for item in rows.items())))
    ratios = {method: spread(row["ratio"] for row in found) for method, found in rows.items()}
    print(write_report("shared", {"task": asked.task, "ratios": ratios, "rounds": rows}))


def one_round(asked: argparse.Namespace, method: str) -> dict[str, Any]:
    alone, two = (commands(asked, method, count) for count in (1, 2))
    return {
        "alone": alone["seconds"],
        "two": two["seconds"],
        "ratio": two["seconds"] / alone["seconds"],
        "trials": len(alone["trials"]),
        "twice": len(two["trials"]) - len(set(two["trials"])),
        "apart": abs(math.log10(two["lr"] / alone["lr"])),
    }


def commands(asked: argparse.Namespace, method: str, count: int) -> dict[str, Any]:
    """The search by that many commands begun at once on a new study: seconds, lr and the trials kept."""
    name = f"bench-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "lrkit", "search", asked.task, "--method", method, "--json"]
        line += ["--steps", str(asked.steps), "--storage", asked.storage, "--name", name]
        started = time.perf_counter()
        running = [
            subprocess.Popen(
                [*line, "--out", str(Path(folder) / str(i))],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for i in range(count)
        ]
        told = [json.loads(process.communicate()[0]) for process in running]
        seconds = time.perf_counter() - started
        found = json.loads((Path(folder) / "0" / "report.json").read_text())["search"]
    trials = [(trial["lr"], trial["seed"], trial["steps"]) for trial in found["trials"]]
    return {"seconds": seconds, "lr": told[0]["lr"], "trials": trials}


def line(method: str, rounds: list[dict[str, Any]]) -> tuple[Any, ...]:
    middle = {key: float(np.median([row[key] for row in rounds])) for key in ("alone", "two", "ratio")}
    twice, apart = sum(row["twice"] for row in rounds), max(row["apart"] for row in rounds)
    return method, *middle.values(), rounds[0]["trials"], twice, apart


if __name__ == "__main__":
    main()
