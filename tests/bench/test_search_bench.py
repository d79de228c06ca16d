"""bench/search.py: how answers are judged, and that the command runs from the truth to the picture."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def judgement(bench_folder):
    return importlib.import_module("rivals.judgement")


@pytest.fixture(scope="module")
def truth(bench_folder):
    """Best at 1e-2, each decade away costs a factor of e; one training deviates by some 4 %."""
    rates = np.logspace(-4, 0, 33)
    rows = [
        [0.5 * math.exp(abs(math.log10(lr) + 2) + luck) for lr in rates]
        for luck in (-0.04, 0.04, -0.04, 0.04)
    ]
    return importlib.import_module("truth").Truth.of({"rates": list(rates), "full": rows})


def test_seeds_that_trained_some_rates_only_count_by_their_shape(bench_folder):
    """At another level, as easier samples give, they leave the curve as it is; their lowest rate moves the best."""
    of = importlib.import_module("truth").Truth.of
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]

    def rows(best, level, few):
        return [[level * math.exp(abs(math.log10(lr) - best)) for lr in few]] * 2

    alone = of({"rates": rates, "full": rows(-2, 0.5, rates)})
    some = {"rates": rates[1:4], "full": rows(-2, 0.05, rates[1:4])}
    joined = of({"rates": rates, "full": rows(-2, 0.5, rates), "near": some})
    assert joined.curve - joined.curve.min() == pytest.approx(alone.curve - alone.curve.min())
    moved = of(
        {
            "rates": rates,
            "full": rows(-2, 0.5, rates),
            "near": {**some, "full": rows(-1, 0.05, rates[1:4]) * 9},
        }
    )
    assert moved.best == pytest.approx(0.1, rel=0.3)


def row(way, seed, *, lr=None, objective=None, steps=80, seconds=1.0, **told):
    return {
        "task": "toy",
        "way": way,
        "seed": seed,
        "lr": lr,
        "objective": objective,
        "steps": steps,
        "seconds": seconds,
        "peak_mib": 300.0,
        "told": told,
    }


def test_the_regret_of_a_rate_is_the_truths_and_at_its_ends_that_of_the_end(judgement, truth):
    assert judgement.log_regret(row("a", 0, lr=truth.best), truth) == pytest.approx(0.0, abs=1e-9)
    assert judgement.log_regret(row("a", 0, lr=1e-3), truth) == pytest.approx(1.0, abs=0.1)
    for beyond, end in ((1e-8, 1e-4), (10.0, 1.0)):
        there, here = (judgement.log_regret(row("a", 0, lr=lr), truth) for lr in (beyond, end))
        assert there == pytest.approx(here)
    assert judgement.log_regret(row("a", 0), truth) is None


def test_a_training_without_a_rate_is_judged_by_what_it_ended_at(judgement, truth):
    lowest = math.exp(truth.curve.min())
    assert judgement.log_regret(row("a", 0, objective=2 * lowest), truth) == pytest.approx(math.log(2))
    assert judgement.log_regret(row("a", 0, objective=lowest / 2), truth) == pytest.approx(-math.log(2))


@settings(deadline=None)  # the first call imports scipy.stats
@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=12),
    st.floats(0.01, 1),
)
def test_a_way_that_is_always_better_by_the_same_beats_lrkit_and_never_the_other_way_round(ours, gap):
    paired = importlib.import_module("rivals.judgement").paired
    logs = dict(enumerate(ours))
    lower = {seed: value - gap for seed, value in logs.items()}
    assert paired(logs, lower)["beats_lrkit"]
    assert not paired(lower, logs)["beats_lrkit"]
    assert paired(logs, lower)["difference"] == pytest.approx(math.expm1(-gap))
    assert not paired(logs, logs)["beats_lrkit"]


def test_only_common_repeats_are_paired_and_one_pair_tells_nothing(judgement):
    assert judgement.paired({1: 0.1, 2: 0.2}, {2: 0.1, 3: 0.0})["beats_lrkit"] is None
    assert judgement.paired({1: 0.1, 2: 0.2, 4: 0.3}, {1: 0.1, 2: 0.2, 3: -9.0})["pairs"] == 2


def test_the_bars_are_met_at_the_best_rate_and_missed_a_decade_away(judgement, truth):
    def judged(lr, steps):
        rows = [row("lrkit", seed, lr=lr, steps=steps) for seed in range(3)]
        rows += [row("grid", seed, lr=truth.best, steps=3200, seconds=9.0) for seed in range(3)]
        for other in rows:
            other["told"] |= {"seconds": 10.0} if other["way"] == "grid" else {}
        return judgement.bars(judgement.judge_task(rows, truth, 100), truth, dispatch_bound=True)

    met, missed = judged(truth.best, 800), judged(truth.best / 10, 801)
    assert met["median_met"]
    assert met["worst_met"]
    assert met["steps_met"]
    assert met["wall_met"]
    assert met["median_bar"] == pytest.approx(max(0.01, truth.deviation / 2))
    assert not missed["median_met"]
    assert not missed["worst_met"]
    assert not missed["steps_met"]
    assert met["beaten_by"] == missed["beaten_by"] == []  # the grid is better there, but costs more


def test_a_cheaper_way_that_is_better_is_named(judgement, truth):
    rows = [row("lrkit", seed, lr=1e-3 * (1 + 0.1 * seed)) for seed in range(5)]
    rows += [row("default", seed, lr=1e-2, steps=0) for seed in range(5)]
    judged = judgement.judge_task(rows, truth, 100)
    assert judgement.bars(judged, truth, dispatch_bound=True)["beaten_by"] == ["default"]


@pytest.mark.parametrize(
    ("grid_seconds", "dispatch_bound", "bar"),
    [(29, True, 0.3), (29, False, 0.3), (31, True, 0.2), (180, True, 0.1), (1800, False, 0.2)],
)
def test_the_bar_for_time_goes_by_the_length_of_the_grid_and_by_what_takes_it(
    judgement, grid_seconds, dispatch_bound, bar
):
    assert judgement.wall_bar(grid_seconds, dispatch_bound=dispatch_bound) == bar


def test_an_interval_that_could_not_tell_is_a_miss(judgement, truth):
    sure = row("lrkit", 0, lr=1e-2, interval=[5e-3, 2e-2], status="settled")
    unsure = row("lrkit", 1, lr=1e-2, interval=[1e-3, 1e-1], status="could not tell")
    elsewhere = row("lrkit", 2, lr=1e-1, interval=[5e-2, 2e-1], status="settled")
    found = judgement.intervals([sure, unsure, elsewhere], {"toy": truth})["all"]
    assert found["coverage"] == pytest.approx(1 / 3)
    assert found["held"] == pytest.approx(2 / 3)
    assert found["could_not_tell"] == 1


def run_bench(*arguments):
    command = [sys.executable, BENCH / "search.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_the_command_writes_its_report_and_its_picture(tmp_path):
    ways = ("lrkit", "default", "fastai valley")
    done = run_bench("diabetes", "--repeats", 1, "--out", tmp_path, "--ways", *ways)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "search.json").read_text())
    judged = told["tasks"]["diabetes"]["ways"]
    assert [judged[way]["answers"] for way in ways] == [1, 1, 1]
    assert judged["lrkit"]["most_steps"] <= 0.25
    assert 0 < judged["fastai valley"]["steps"] < 0.02
    assert told["intervals"]["all"]["searches"] == 1
    assert (tmp_path / "search.png").stat().st_size > 10_000
    assert "lrkit against its bars" in done.stdout
    assert "fastai valley" in done.stdout


def test_what_cannot_be_measured_is_told_at_once():
    done = run_bench("diabetes", "mnist")
    assert done.returncode == 2
    assert "mnist: --data FOLDER is missing" in done.stderr


@pytest.mark.slow
def test_every_way_answers(bench_folder):
    """Each once, in this process: a rate within the reach of its sweep, or what its training ended at."""
    ways, tasks = importlib.import_module("rivals").WAYS, importlib.import_module("tasks")
    for name, way in ways.items():
        outcome = way(tasks.bench_task("diabetes", seed=1000), 1000)
        assert (outcome.lr is None) != (outcome.objective is None), name
        assert outcome.lr is None or 1e-8 <= outcome.lr <= 10.0
        assert outcome.objective is None or 0.0 < outcome.objective < math.inf
        assert outcome.steps <= 32 * 320
        assert (outcome.steps == 0) == (name == "default")
