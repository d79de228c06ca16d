"""A whole schedule at once: a curve over a million steps, stock torch stepped so often, one numpy expression.

    python bench/curve.py

Both sides give the same numbers (checked before they are timed, to 1e-9 of the peak). Torch takes `scheduler.step()`
alone, on SGD with one group: no optimizer step, no reading of the rate. All ways take turns, several rounds. The
least processor times count, torch's by its quickest slice of 10,000 steps times their number, so that other work on
the machine makes torch look slow last.

Acceptance: at least 500 times torch's speed, at most 3 times the time of the numpy expression.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _report import machine, table, write_report
from torch.optim import lr_scheduler as stock

from lrkit import parse

SLICE = 10_000


@dataclass(frozen=True)
class Case:
    """One schedule three times: as a spec, as torch's classes, as numpy would say it for all steps at once."""

    spec: str
    torch: Callable[[Any, int], Any]
    numpy: Callable[[np.ndarray, int], np.ndarray]


def _warmup_cosine(optimizer: Any, steps: int) -> Any:
    rise = steps // 20
    first = stock.LinearLR(optimizer, start_factor=1e-3, total_iters=rise)
    return stock.SequentialLR(optimizer, [first, stock.CosineAnnealingLR(optimizer, steps - rise)], [rise])


def _warmup_cosine_expression(t: np.ndarray, steps: int) -> np.ndarray:
    rise = steps // 20
    fall = 0.5 * (1 + np.cos(np.pi * (t - rise) / (steps - rise)))
    return np.where(t < rise, 1e-3 + (1 - 1e-3) * t / rise, fall)


CASES = {
    "linear": Case(
        "linear(to=0)",
        lambda optimizer, n: stock.PolynomialLR(optimizer, total_iters=n, power=1.0),
        lambda t, n: 1 - t / n,
    ),
    "cosine": Case(
        "cosine(to=0)",
        lambda optimizer, n: stock.CosineAnnealingLR(optimizer, n),
        lambda t, n: 0.5 * (1 + np.cos(np.pi * t / n)),
    ),
    "warmup and cosine": Case(
        "linear(5%, start=0.001, to=1) >> cosine(to=0)", _warmup_cosine, _warmup_cosine_expression
    ),
    "exponential": Case(
        "exponential(rate=0.999997)",
        lambda optimizer, n: stock.ExponentialLR(optimizer, 0.999997),
        lambda t, n: 0.999997**t,
    ),
    "staircase": Case(
        "staircase(30%, factor=0.1)",
        lambda optimizer, n: stock.StepLR(optimizer, 3 * n // 10, 0.1),
        lambda t, n: 0.1 ** (t // (3 * n // 10)),
    ),
    "restarts": Case(
        "restarts(10%)",
        lambda optimizer, n: stock.CosineAnnealingWarmRestarts(optimizer, n // 10),
        lambda t, n: 0.5 * (1 + np.cos(np.pi * (t % (n // 10)) / (n // 10))),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, case in CASES.items():
        agree(case, 2_000)
        results[name] = measure(case, options.steps, options.rounds)
    rows = [
        (
            name,
            1e3 * r["torch"],
            1e3 * r["lrkit"],
            1e3 * r["numpy"],
            f"{r['torch'] / r['lrkit']:.0f}x",
            f"{r['lrkit'] / r['numpy']:.2f}x",
        )
        for name, r in results.items()
    ]
    header = ["schedule", "torch, ms", "lrkit, ms", "numpy, ms", "faster than torch", "time of numpy's"]
    print(table(f"{options.steps:,} steps, the least of {options.rounds} rounds", header, rows))
    print(f"machine: {machine()}")
    print(write_report("curve", {"steps": options.steps, "cases": results}))


def agree(case: Case, steps: int) -> None:
    """Stop unless all three ways give the same numbers over a short run."""
    mine = parse(case.spec).over(steps).chunk(0, steps)
    theirs = stepped(case, steps)
    expression = case.numpy(np.arange(steps), steps)
    for values in (theirs, expression):
        if not np.allclose(mine, values, rtol=0, atol=1e-9):
            raise SystemExit(f"{case.spec}: the three ways differ by {np.abs(mine - values).max():.3g}")


def measure(case: Case, steps: int, rounds: int) -> dict[str, float]:
    curve, t = parse(case.spec).over(steps), np.arange(steps)
    least = dict.fromkeys(("torch", "lrkit", "numpy"), math.inf)
    for _ in range(rounds):
        for way, run in (
            ("lrkit", lambda: curve.chunk(0, steps)),
            ("numpy", lambda: case.numpy(t, steps)),
        ):
            for _ in range(25):
                started = time.thread_time()
                run()
                least[way] = min(least[way], time.thread_time() - started)
        least["torch"] = min(least["torch"], quickest(case, steps))
    return least


def stepped(case: Case, steps: int) -> list[float]:
    """Torch's rates."""
    optimizer, step = _stock(case, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        step()
    return rates


def quickest(case: Case, steps: int) -> float:
    """Seconds that torch takes for so many steps, by its quickest slice."""
    _, step = _stock(case, steps)
    slices = max(1, steps // SLICE)
    least, turns = math.inf, range(steps // slices)
    for _ in range(slices):
        started = time.thread_time()
        for _ in turns:
            step()
        least = min(least, time.thread_time() - started)
    return least * slices


def _stock(case: Case, steps: int) -> tuple[Any, Callable[[], None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no optimizer step came before
        optimizer: Any = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = case.torch(optimizer, steps)
    optimizer._opt_called = True
    return optimizer, scheduler.step


if __name__ == "__main__":
    main()
