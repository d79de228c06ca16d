"""What one step of a scheduler costs, beside torch's own class and beside a bare loop, in one process and in turn.

The bare loop assigns one float to each group's lr, which is the least that a scheduler can do. Processor times are the
smallest of many short runs, in which torch's class, ours and the loop take turns, so that what else the machine does
falls on all alike. Our runs are long enough to hold all that is read ahead, torch's short ones are its quietest.
"alike" groups have one lr, "different" ones each their own. Only schedulers are stepped: the optimizer is told that
it was.

    python bench/scheduler_step.py [--groups 1 8 64 512] [--rounds 30]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from _report import machine, spread, table, write_report
from torch.optim import SGD, lr_scheduler, swa_utils

import lrkit.lr_scheduler as twin
from lrkit import Scheduler

STEPS = 1_000_000  # a horizon that no run here reaches
AHEAD = 5_000  # more steps than anything here reads ahead at once

STOCK: dict[str, Callable[[Any, SGD], Any]] = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda step: 0.999**step),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda _: 0.9999),
    "StepLR": lambda m, o: m.StepLR(o, 30, 0.99),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [30, 100, 10_000]),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.5, 100),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 1.0, STEPS),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.99999),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, STEPS, 2.0),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, STEPS),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 1000),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.1, 1.0),
    "CyclicLR, lr alone": lambda m, o: m.CyclicLR(o, 0.1, 1.0, cycle_momentum=False),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 1.0, total_steps=STEPS),
    "OneCycleLR, lr alone": lambda m, o: m.OneCycleLR(o, 1.0, total_steps=STEPS, cycle_momentum=False),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, 1.0, 100), m.CosineAnnealingLR(o, STEPS)], [100]
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler(
        [m.LinearLR(o, 0.1, 1.0, 100), m.ExponentialLR(o, 0.99999)]
    ),
    "SWALR": lambda m, o: (m if m is twin else swa_utils).SWALR(o, 0.05, anneal_epochs=STEPS),
}
OWN: dict[str, Callable[[SGD], Scheduler]] = {
    "Scheduler": lambda o: Scheduler(o, "warmup(100) >> cosine(to=0)", STEPS, clock="calls"),
}


def optimizer_of(groups: int, *, alike: bool) -> SGD:
    """An optimizer that has been stepped, as far as torch's warnings can tell."""
    rates = [0.1 if alike else 0.1 * (1 + place) for place in range(groups)]
    made = SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], momentum=0.9)
    made._opt_called = True  # type: ignore[attr-defined]  # torch's own mark
    return made


def bare(optimizer: SGD) -> Callable[[], None]:
    """One float for each group."""
    groups, rates = optimizer.param_groups, [group["lr"] for group in optimizer.param_groups]

    def assign() -> None:
        for group, rate in zip(groups, rates):  # noqa: B905 - the least that can be done
            group["lr"] = rate

    return assign


def timed(step: Callable[[], None], count: int) -> float:
    """Microseconds of the processor a call."""
    turns = range(count)
    start = time.thread_time_ns()
    for _ in turns:
        step()
    return (time.thread_time_ns() - start) / count / 1000.0


def compare(groups: int, *, alike: bool, rounds: int) -> list[dict[str, Any]]:
    """Every class: its time, its ratio to torch's and to the bare loop."""
    rows = []
    for name, build in STOCK.items():
        theirs, ours = (build(m, optimizer_of(groups, alike=alike)) for m in (lr_scheduler, twin))
        rows.append(_row(name, theirs.step, ours.step, groups, alike=alike, rounds=rounds))
    for name, make in OWN.items():
        own = make(optimizer_of(groups, alike=alike))
        nearest = STOCK["CosineAnnealingLR"](lr_scheduler, optimizer_of(groups, alike=alike))
        rows.append(_row(name, nearest.step, own.step, groups, alike=alike, rounds=rounds))
    return rows


def _row(name: str, theirs: Any, ours: Any, groups: int, *, alike: bool, rounds: int) -> dict[str, Any]:
    loop = bare(optimizer_of(groups, alike=alike))
    short = max(50, 1000 // groups)
    parts = {"stock": (theirs, short), "ours": (ours, AHEAD), "bare": (loop, short)}
    times: dict[str, list[float]] = {part: [] for part in parts}
    for _ in range(rounds):
        for part, (step, count) in parts.items():
            times[part].append(timed(step, count))
    least = {part: min(found) for part, found in times.items()}
    return {
        "class": name,
        "groups": groups,
        "lrs": "alike" if alike else "different",
        "stock_us": least["stock"],
        "ours_us": least["ours"],
        "bare_us": least["bare"],
        "faster": least["stock"] / least["ours"],
        "to_bare": least["ours"] / least["bare"],
        "rounds": spread(a / b for a, b in zip(times["stock"], times["ours"], strict=True)),
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    print(f"{machine()['processor']}, torch {torch.__version__}")
    rows: list[dict[str, Any]] = []
    for groups in given.groups:
        for alike in (True, False) if groups > 1 else (True,):
            found = compare(groups, alike=alike, rounds=given.rounds)
            rows += found
            title = f"{groups} groups, lrs {'alike' if alike else 'different'}; microseconds a step"
            header = ["class", "torch", "lrkit", "bare loop", "times faster", "to bare loop"]
            keys = ("class", "stock_us", "ours_us", "bare_us", "faster", "to_bare")
            print(table(title, header, [[row[key] for key in keys] for row in found]))
    print(f"wrote {write_report('scheduler_step', {'rows': rows})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
