"""Many rates at once against one after the other: a population of a task, and a plain run for each of its members.

    python bench/population.py [TASK ...] [--members 32] [--steps N] [--route ROUTE]

The two take turns of a few updates, so that other work on the machine hits both alike, and train the same: the largest
difference between their losses is printed. Choosing the route (compared and timed against plain runs, graphs
included) is part of what the population costs. Times are processor time, since wall time on a busy machine measures
its other work; wall time stands in the JSON beside it.

Acceptance: never slower than the plain runs, choice included, at the task's own length.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _report import machine, table, write_report

from lrkit.training import Population, Run, cross, default_plan
from lrkit.training.builtin import BUILTIN_TASKS

LOW, HIGH = 1e-4, 1e-1
TURN = 24  # updates before the other side has its turn


@dataclass
class Clock:
    """Wall and processor seconds of what runs within `with clock:`."""

    wall: float = 0.0
    processor: float = 0.0

    def __enter__(self) -> Clock:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._started[0]
        self.processor += time.process_time() - self._started[1]


def measure(name: str, members: int, steps: int | None, route: Any) -> dict[str, Any]:
    task = BUILTIN_TASKS[name]()
    plan = default_plan(task, lr=1e-3)
    steps = min(steps or plan.horizon.steps, plan.horizon.steps)
    lrs = np.geomspace(LOW, HIGH, members).tolist()
    choosing, together, alone = Clock(), Clock(), Clock()
    with choosing:
        population = Population(task, cross(plan, lrs=lrs), route=route, expected_steps=members * steps)
        chosen = population.route
    with alone:
        runs = [Run(task, member.plan, seed=member.seed) for member in population.members]
    for stop in [*range(TURN, steps, TURN), steps]:
        with together:
            population.advance(stop)
        with alone:
            for run in runs:
                run.advance(stop)
    trained = sum(len(run.losses) for run in runs)
    return {
        "task": name,
        "members": members,
        "steps": steps,
        "route": chosen.name,
        "reason": chosen.reason,
        "stack": chosen.size,
        "choosing": vars_of(choosing),
        "population": vars_of(together),
        "runs": vars_of(alone),
        "microseconds_population": together.processor / trained * 1e6,
        "microseconds_runs": alone.processor / trained * 1e6,
        "ratio": alone.processor / together.processor,
        "ratio_with_choosing": alone.processor / (together.processor + choosing.processor),
        "largest_difference_of_losses": largest_difference(population, runs),
    }


def vars_of(clock: Clock) -> dict[str, float]:
    return {"wall_seconds": clock.wall, "processor_seconds": clock.processor}


def largest_difference(population: Population, runs: list[Run]) -> float:
    """Over the first 20 updates: later on, rounding grows as fast as the highest rates make any difference grow."""
    pairs = [
        (mine, theirs)
        for index, run in enumerate(runs)
        for mine, theirs in zip(population.losses[index][:20], run.losses[:20], strict=False)
    ]
    return max((abs(a - b) / max(abs(b), 1e-3) for a, b in pairs if math.isfinite(b)), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", default=["digits", "digits-cnn"])
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--route", choices=["loop", "eager", "traced", "compiled"])
    parser.add_argument("--name", default="population", help="of the JSON file")
    chosen = parser.parse_args()
    results = [measure(task, chosen.members, chosen.steps, chosen.route) for task in chosen.tasks]
    header = ["task", "route", "us alone", "us together", "ratio", "with choosing", "choosing s", "off by"]
    rows = [
        [
            f"{r['task']} x{r['members']}, {r['steps']} steps",
            f"{r['route']} by {r['stack']}",
            r["microseconds_runs"],
            r["microseconds_population"],
            r["ratio"],
            r["ratio_with_choosing"],
            r["choosing"]["processor_seconds"],
            r["largest_difference_of_losses"],
        ]
        for r in results
    ]
    print(table("processor time of a member-step", header, rows))
    for r in results:
        print(f"{r['task']}: {r['reason']}")
    print(machine())
    print(write_report(chosen.name, {"results": results}))


if __name__ == "__main__":
    main()
