"""What the answers of the ways are worth against the truth, as plain data: pure functions of rows.

A row is one way's answer to one repeat of one task: task, way, seed, lr, objective, steps, seconds, peak_mib, told.

Regret is how much worse than at the best rate the objective is, as a part of it. An answered rate is judged by the
truth's mean curve, at its end where the rate lies beyond it, which is less than such a rate deserves. A whole training
is judged by what it ended at, so its regret holds the luck of one seed, and may be negative. Means are of logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from truth import Truth

Row = dict[str, Any]
Summary = dict[str, Any]

GRID_RATES = 32
STEPS_BAR = 0.25
COVERAGE_BAR, WIDTH_BAR = (0.85, 0.97), 0.4
SAME_COST = 1.02
"""A search stops at the last update that its budget holds: ways of one budget differ by so much at most."""


def log_regret(row: Row, truth: Truth) -> float | None:
    """log(1 + regret); None where the way had no answer."""
    if row["lr"] is not None:
        return float(np.interp(math.log10(row["lr"]), truth.xs, truth.curve) - truth.curve.min())
    if row["objective"] is not None:
        return math.log(row["objective"]) - float(truth.curve.min())
    return None


def judge_task(rows: Sequence[Row], truth: Truth, steps: int) -> dict[str, Summary]:
    """Each way of one task by name; `steps` is the length of one training."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    regrets = {way: _by_seed([row for row in rows if row["way"] == way], truth) for way in ways}
    grids = [row["told"]["seconds"] for row in rows if row["way"] == "grid"]
    grid_seconds = float(np.median(grids)) if grids else None
    judged = {
        way: _cost([row for row in rows if row["way"] == way], steps, grid_seconds) | _regret(regrets[way])
        for way in ways
    }
    for way in ways:
        cheap = "lrkit" in judged and judged[way]["steps"] <= SAME_COST * judged["lrkit"]["steps"]
        judged[way]["within_lrkits_cost"] = bool(cheap and way != "lrkit")
        judged[way] |= {} if way == "lrkit" else paired(regrets.get("lrkit", {}), regrets[way])
    return judged


def paired(ours: dict[int, float], theirs: dict[int, float]) -> Summary:
    """Mean difference in log regret to lrkit over the common repeats, above 0 where lrkit is better, with the 95 %
    interval by Student's t; and whether the other way's mean is lower by the one-sided 95 % test.
    """
    from scipy.stats import t

    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return {"pairs": len(seeds), "difference": None, "interval": None, "beats_lrkit": None}
    differences = np.array([theirs[seed] - ours[seed] for seed in seeds])
    n, mean = len(seeds), float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    two, one = float(t.ppf(0.975, n - 1)) * error, float(t.ppf(0.95, n - 1)) * error
    return {
        "pairs": n,
        "difference": math.expm1(mean),
        "interval": [math.expm1(mean - two), math.expm1(mean + two)],
        "beats_lrkit": mean + one < 0.0,
    }


def bars(judged: dict[str, Summary], truth: Truth, *, dispatch_bound: bool) -> Summary:
    """The bars that lrkit's answers to one task are held to, and whether each is met (None: not measured)."""
    ours = judged["lrkit"]
    median, worst = max(0.01, truth.deviation / 2), max(0.03, truth.deviation)
    beaten = [way for way, other in judged.items() if other["within_lrkits_cost"] and other["beats_lrkit"]]
    grid_seconds = ours["grid_seconds"]
    wall = None if grid_seconds is None else wall_bar(grid_seconds, dispatch_bound=dispatch_bound)
    return {
        "deviation": truth.deviation,
        "median_bar": median,
        "median_met": ours["median"] <= median,
        "worst_bar": worst,
        "worst_met": ours["worst"] <= worst,
        "steps_bar": STEPS_BAR,
        "steps_met": ours["most_steps"] <= STEPS_BAR,
        "wall_bar": wall,
        "wall_met": None if wall is None else ours["wall"] <= wall,
        "beaten_by": beaten,
    }


def wall_bar(grid_seconds: float, *, dispatch_bound: bool) -> float:
    """The most of the grid's time that a search may take: a tenth of a long one where a processor is not kept busy."""
    return 0.3 if grid_seconds < 30.0 else 0.1 if dispatch_bound and grid_seconds >= 180.0 else 0.2


def intervals(rows: Sequence[Row], truths: dict[str, Truth]) -> dict[str, Summary]:
    """How often lrkit's 90 % intervals hold the best rate and how wide they are, by task and for "all": `held` by the
    interval alone, `coverage` with "could not tell" counted as a miss, which the bar is for.
    """
    ours = [row for row in rows if row["way"] == "lrkit"]
    names = list(dict.fromkeys(row["task"] for row in ours))
    groups = {name: [row for row in ours if row["task"] == name] for name in names} | {"all": ours}
    return {name: _interval(group, truths) for name, group in groups.items() if group}


def _interval(rows: Sequence[Row], truths: dict[str, Truth]) -> Summary:
    held, told, widths, errors = [], [], [], []
    for row in rows:
        (low, high), best = row["told"]["interval"], truths[row["task"]].best
        held.append(low <= best <= high)
        told.append(row["told"]["status"] != "could not tell")
        widths.append(math.log10(high / low))
        errors.append(math.log10(row["lr"] / best))
    statuses = [row["told"]["status"] for row in rows]
    return {
        "searches": len(rows),
        "coverage": float(np.mean(np.logical_and(held, told))),
        "held": float(np.mean(held)),
        "width": float(np.median(widths)),
        "bias": float(np.mean(errors)),
        "sd": float(np.std(errors)),
        "settled": statuses.count("settled"),
        "could_not_tell": statuses.count("could not tell"),
    }


def _by_seed(rows: Sequence[Row], truth: Truth) -> dict[int, float]:
    found = {row["seed"]: log_regret(row, truth) for row in rows}
    return {seed: value for seed, value in found.items() if value is not None}


def _cost(rows: Sequence[Row], steps: int, grid_seconds: float | None) -> Summary:
    seconds = float(np.median([row["told"].get("seconds", row["seconds"]) for row in rows]))
    spent = [row["steps"] / (GRID_RATES * steps) for row in rows]
    return {
        "repeats": len(rows),
        "steps": float(np.mean(spent)),
        "most_steps": max(spent),
        "seconds": seconds,
        "grid_seconds": grid_seconds,
        "wall": None if grid_seconds is None else seconds / grid_seconds,
        "peak_mib": float(np.median([row["peak_mib"] for row in rows])),
    }


def _regret(logs: dict[int, float]) -> Summary:
    values = list(logs.values())
    if not values:
        return {"answers": 0, "median": None, "mean": None, "worst": None}
    return {
        "answers": len(values),
        "median": math.expm1(float(np.median(values))),
        "mean": math.expm1(float(np.mean(values))),
        "worst": math.expm1(max(values)),
    }
