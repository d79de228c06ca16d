"""bench/small_tasks.py and bench/replay.py: many networks trained as one, and searches that read them off a table."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import math

import numpy as np
import pytest
import torch

from lrkit.search import curve_fit, fitting
from lrkit.search.curve_fit import CurveFit
from lrkit.search.trials import Proposal


@pytest.fixture(scope="module")
def small(bench_folder):
    return importlib.import_module("small_tasks")


@pytest.fixture(scope="module")
def replaying(bench_folder):
    return importlib.import_module("replay")


@pytest.fixture(autouse=True)
def the_fit_is_put_back(monkeypatch):
    """A bench sets constants and the noise of the process that it has to itself."""
    monkeypatch.setattr(curve_fit, "FLOOR", curve_fit.FLOOR)
    monkeypatch.setattr(fitting, "measured_noise", fitting.measured_noise)
    yield
    fitting._fitted.cache_clear()


FIT = CurveFit(*(np.zeros(1) for _ in range(4)), best=0, outside=0, low=0, high=0, noise=0, drift=0)


@pytest.fixture(scope="module")
def truth_at_1e_2(bench_folder):
    rates = np.logspace(-4, 0, 33)
    rows = [abs(np.log10(rates) + 2) + luck for luck in (-0.04, 0.04)]
    return importlib.import_module("truth").Truth.through(list(rates), np.array(rows))


@pytest.fixture(scope="module")
def drawn(small, tmp_path_factory):
    """A drawn task that needs no files: 442 patients, a perceptron with one hidden layer, 60 updates."""
    return small.draw(3, tmp_path_factory.mktemp("nothing"))


def test_a_network_is_trained_as_if_it_were_alone(small, drawn):
    task, samples = drawn
    end = task.steps(samples)
    together = small.validation_losses(task, samples, [0.001, 0.003, 0.03], [0, 1], {end})[end]
    alone = small.validation_losses(task, samples, [0.03], [1], {end})[end]
    assert together[1, 2] == pytest.approx(alone[0, 0], rel=1e-5)
    assert len(np.unique(together)) == 6


OPTIMIZERS = {
    "sgd": lambda p, lr, decay: torch.optim.SGD(p, lr, weight_decay=0.01 * decay),
    "momentum": lambda p, lr, decay: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.01 * decay),
    "adam": lambda p, lr, _: torch.optim.Adam(p, lr),
    "adamw": lambda p, lr, decay: torch.optim.AdamW(p, lr, weight_decay=decay),
    "rmsprop": lambda p, lr, _: torch.optim.RMSprop(p, lr),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_steps_are_those_of_torch(small, drawn, kind):
    task = dataclasses.replace(drawn[0], optimizer=kind, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    stacked = torch.randn(1, 2, 3, 4, generator=generator)
    plain = stacked[0, 1].clone().requires_grad_()
    ours = small.Optimizer(task, [stacked], torch.tensor([0.5, 0.01])[None, :, None, None])
    theirs = OPTIMIZERS[kind]([plain], 0.01, 0.1)
    for count in range(1, 6):
        gradient = torch.randn(1, 2, 3, 4, generator=generator)
        ours.step([gradient], count, 1.0)
        plain.grad = gradient[0, 1].clone()
        theirs.step()
    torch.testing.assert_close(stacked[0, 1], plain.detach())


def test_a_table_has_every_seed_and_rate_around_the_best(small, drawn, replaying, tmp_path):
    found = small.tables(*drawn)
    assert found["steps"] == 60
    assert all(np.shape(found[name]) == (small.SEEDS, len(found["rates"])) for name in small.TABLES)
    path = tmp_path / "3.json"
    path.write_text(json.dumps(found))
    known = replaying.Table.load("3", path, small=True)
    proposal = Proposal(found["rates"][4], 0, 0, replaying.STEPS)
    assert known.result(proposal, 7).objective == pytest.approx(found["full"][7][4])
    assert known.noise > 0
    best = known.truth_without(()).best
    assert found["rates"][4] < best < found["rates"][-2]


@pytest.mark.parametrize("blind", [False, True])
def test_searches_replayed_on_a_truth_find_its_best_rate(replaying, blind):
    found = [replaying.replay(("mnist1d", number, blind)) for number in range(4)]
    assert all(abs(search["error"]) < 0.4 and search["width"] < 1.5 for search in found)
    assert len({search["error"] for search in found}) > 1


def test_what_hides_the_noise_changes_the_intervals(replaying):
    seen, blind = (replaying.replay(("mnist1d", 0, hidden)) for hidden in (False, True))
    assert seen["width"] != blind["width"]


def test_a_side_of_an_interval_is_stretched_until_it_reaches_the_best_rate(replaying, truth_at_1e_2):
    fit = dataclasses.replace(FIT, best=-2.1, low=-2.3, high=-1.9)
    assert replaying.judged("made up", fit, truth_at_1e_2)["stretch"] == pytest.approx(0.5, abs=0.06)
    fit = dataclasses.replace(FIT, best=-1.7, low=-1.9, high=-1.6)
    assert replaying.judged("made up", fit, truth_at_1e_2)["stretch"] == pytest.approx(1.5, abs=0.06)


def test_the_summary_counts_what_is_held_and_stretches_the_median_width(replaying):
    made = [{"error": 0.1, "width": 0.5, "stretch": s, "regret": 0.01} for s in (0.2, 0.4, 0.6, 0.8, 2.0)]
    told = replaying.summary(made)
    assert (told["searches"], told["coverage"], told["width"]) == (5, 0.8, 0.5)
    assert told["width at 88 %"] == pytest.approx(0.5 * (0.8 + 0.52 * 1.2))
    assert told["error, rms"] == pytest.approx(0.1)


def test_other_constants_are_those_of_the_fit(replaying):
    name, value = replaying.constant("FLOOR=0.31")
    assert (name, value) == ("FLOOR", 0.31)
    with pytest.raises(argparse.ArgumentTypeError, match="NOTHING is no constant"):
        replaying.constant("NOTHING=1")
    with pytest.raises(ValueError, match="malformed"):
        replaying.constant("FLOOR=steep")
    assert replaying.constant("DEPTHS=(0.5, 1.0)") == ("DEPTHS", (0.5, 1.0))
    usual = replaying.replay(("mnist1d", 0, False))
    replaying.use({"FLOOR": 0.6})
    other = replaying.replay(("mnist1d", 0, False))
    assert math.isfinite(other["width"])
    assert other["width"] != usual["width"]
