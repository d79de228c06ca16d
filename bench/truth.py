"""The truth that searches and finders are judged by: every rate of a dense grid trained to the end, for many seeds.

    python bench/truth.py digits --seeds 24
    python bench/truth.py mnist --data DATA --low 1e-4 --high 1e-2 --seeds 8
    python bench/truth.py digits --seeds 24 --near 60

A seed draws the held-out part, the weights and the batch order; what it ends with is the objective after a tenth, a
third and all of the updates. `bench/truth/<task>.json` grows by one seed at a time, so that an interrupted run goes on
where it was, and more seeds can be added later: `--near` adds such as train only the rates within half a decade of the
best, which is where seeds are wanting. The best rate is the lowest point of the mean log objective after a symmetric
kernel of 0.1 decades; its standard error is that of drawing the seeds again (a bootstrap).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _report import command, machine, today
from tasks import bench_task

from lrkit.files import atomic_write
from lrkit.training import Population, cross, default_plan

FOLDER = Path(__file__).parent / "truth"
PARTS = {"tenth": 10, "third": 3, "full": 1}
KERNEL = 0.1
FEWEST_SEEDS = 5
NEAR = 0.5
"""Decades on both sides of the best rate that the seeds of `--near` train."""
FIRST_NEAR = 100
"""The first of those seeds: above all others, below those of searches that are judged."""
REDRAWN = 200


@dataclasses.dataclass(frozen=True)
class Truth:
    """The mean log objective of full trainings against log10 lr, smoothed; `deviation` is that of one training near the
    lowest point, as a part of its objective."""

    xs: np.ndarray
    curve: np.ndarray
    deviation: float

    @classmethod
    def load(cls, name: str) -> Truth:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            raise SystemExit(f"{path} is missing: python bench/truth.py {name}")
        found = json.loads(path.read_text())
        if len(found["seeds"]) < FEWEST_SEEDS:
            raise SystemExit(
                f"{path} has {len(found['seeds'])} seeds yet, too few for a truth: {found['command']}"
            )
        return cls.of(found)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Truth:
        """Of what the file holds."""
        near = found.get("near")
        rows = [*found["full"], *([] if near is None else near["full"])]
        worst = max(value for row in rows for value in row if value is not None)
        some = None if near is None else (near["rates"], log_objectives(near["full"], worst))
        return cls.through(found["rates"], log_objectives(found["full"], worst), some)

    @classmethod
    def through(
        cls, rates: list[float], logs: np.ndarray, near: tuple[list[float], np.ndarray] | None = None
    ) -> Truth:
        """`logs` are seeds by rates, `near` those of further seeds at some of the rates: a seed's level there is taken
        out first, so that seeds which trained few rates do not lower these.
        """
        x = np.log10(rates)
        among = np.ones(len(x), dtype=bool) if near is None else np.isin(rates, near[0])
        shapes = logs - logs[:, among].mean(axis=1, keepdims=True)
        mean, level = shapes.mean(axis=0), logs[:, among].mean()
        close = logs[:, among]
        if near is not None:
            close = np.concatenate([close, near[1]])
            mean[among], level = (close - close.mean(axis=1, keepdims=True)).mean(axis=0), close.mean()
        xs = np.arange(x[0], x[-1] + 0.005, 0.01)
        weights = np.exp(-0.5 * ((xs[:, None] - x[None, :]) / KERNEL) ** 2)
        curve = weights @ (mean + level) / weights.sum(axis=1)
        nearest = int(np.argmin(np.abs(x[among] - xs[np.argmin(curve)])))
        return cls(xs, curve, float(close[:, nearest].std(ddof=1)))

    @property
    def best(self) -> float:
        return 10.0 ** float(self.xs[np.argmin(self.curve)])

    def regret(self, lr: float) -> float:
        """How much worse than at the best rate a training at `lr` ends on the average, as a part of the objective."""
        x = math.log10(lr)
        if not self.xs[0] <= x <= self.xs[-1]:
            return math.nan
        return math.expm1(float(np.interp(x, self.xs, self.curve) - self.curve.min()))


def log_objectives(rows: list[list[float | None]], worst: float) -> np.ndarray:
    """Seeds by rates; what diverged counts as the `worst` that did not."""
    return np.log(np.array([[worst if value is None else value for value in row] for row in rows]))


def one_seed(
    name: str, data: Path | None, rates: list[float], seed: int, parts: dict[str, int]
) -> dict[str, list[float | None]]:
    """The objectives of all rates under one seed at the ends of these parts, trained as one population."""
    task = bench_task(name, data, seed=seed)
    plan = default_plan(task, lr=1e-3)
    population = Population(task, cross(plan, lrs=rates, seeds=[seed]))
    found: dict[str, list[float | None]] = {}
    for part, divisor in parts.items():
        population.advance(plan.horizon.steps // divisor)
        scores = population.evaluate("validation") if population.alive else {}
        values = [scores.get(i, {}).get(task.objective_key, math.nan) for i in range(len(rates))]
        found[part] = [value if math.isfinite(value) else None for value in values]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task")
    parser.add_argument("--data", type=Path, help="folder with mnist/ and tinyshakespeare.txt")
    parser.add_argument("--low", type=float, default=1e-4)
    parser.add_argument("--high", type=float, default=1.0)
    parser.add_argument("--per-decade", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument(
        "--near", type=int, default=0, help="further seeds, at the rates around the best alone"
    )
    asked = parser.parse_args()
    count = round(math.log10(asked.high / asked.low) * asked.per_decade) + 1
    rates = [float(f"{lr:.3g}") for lr in np.geomspace(asked.low, asked.high, count)]
    path = FOLDER / f"{asked.task}.json"
    known = json.loads(path.read_text()) if path.exists() else None
    if known is not None and known["rates"] != rates:
        raise SystemExit(
            f"{path} has {len(known['rates'])} rates from {known['rates'][0]:g} to {known['rates'][-1]:g}: give the "
            "same --low, --high and --per-decade, or delete it"
        )
    if known is None:
        steps = default_plan(bench_task(asked.task, asked.data), lr=1e-3).horizon.steps
        known = {"task": asked.task, "steps": steps} | _nothing(rates, PARTS)

    def grow(block: dict[str, Any], seeds: range) -> None:
        parts = {part: divisor for part, divisor in PARTS.items() if part in block}
        for seed in [seed for seed in seeds if seed not in block["seeds"]]:
            started = time.perf_counter()
            for part, values in one_seed(asked.task, asked.data, block["rates"], seed, parts).items():
                block[part].append(values)
            block["seeds"].append(seed)
            written = known | {"command": command(), "machine": machine(), "date": today()}
            FOLDER.mkdir(exist_ok=True)
            atomic_write(path, json.dumps(written) + "\n")
            print(f"{asked.task}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)

    grow(known, range(asked.seeds))
    if asked.near:
        if "near" not in known:
            best = Truth.of(known).best
            known["near"] = _nothing([lr for lr in rates if abs(math.log10(lr / best)) <= NEAR], ["full"])
        grow(known["near"], range(FIRST_NEAR, FIRST_NEAR + asked.near))
        rates, best = known["near"]["rates"], Truth.of(known).best
        if min(abs(math.log10(lr / best)) for lr in (rates[0], rates[-1])) < NEAR / 2:
            print(
                f"the best rate lies near an end of the rates that further seeds trained, {rates[0]:g} to {rates[-1]:g}"
            )
    if len(known["seeds"]) > 1:
        truth = Truth.of(known)
        print(
            f"{asked.task}: best rate {truth.best:.3g} (standard error {best_error(known):.2f} decades), "
            f"one training deviates by {truth.deviation:.1%}"
        )


def _nothing(rates: list[float], parts: Iterable[str]) -> dict[str, Any]:
    return {"rates": rates, "seeds": [], **{part: [] for part in parts}}


def best_error(found: dict[str, Any]) -> float:
    """Of the best rate's log10, over the choice of seeds."""
    generator = np.random.default_rng(0)

    def redrawn(block: dict[str, Any]) -> dict[str, Any]:
        drawn = generator.integers(0, len(block["full"]), len(block["full"]))
        return block | {"full": [block["full"][i] for i in drawn]}

    bests = []
    for _ in range(REDRAWN):
        again = redrawn(found)
        if "near" in found:
            again["near"] = redrawn(found["near"])
        bests.append(math.log10(Truth.of(again).best))
    return float(np.std(bests))


if __name__ == "__main__":
    main()
