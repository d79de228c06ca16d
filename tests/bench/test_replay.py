"""bench/small_tasks.py and bench/replay.py: many networks trained as one, and searches that read them off a table."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lrkit.search import curve_fit
from lrkit.search.trials import Proposal

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module", autouse=True)
def bench_folder():
    """Benches are scripts: their own folder comes first on the path, as when one is run."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def small(bench_folder):
    return importlib.import_module("small_tasks")


@pytest.fixture(scope="module")
def replaying(bench_folder):
    return importlib.import_module("replay")


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
    path.write_text(small.json.dumps(found))
    known = replaying.Table.load("3", path, small=True)
    proposal = Proposal(found["rates"][4], 0, 0, replaying.STEPS)
    assert known.result(proposal, 7).objective == pytest.approx(found["full"][7][4])
    assert known.noise > 0


@pytest.mark.parametrize("blind", [False, True])
def test_searches_replayed_on_a_truth_find_its_best_rate(replaying, monkeypatch, blind):
    monkeypatch.setattr(
        replaying.fitting, "measured_noise", replaying.fitting.measured_noise
    )  # put back after
    found = [replaying.replay(("mnist1d", number, blind)) for number in range(4)]
    assert all(abs(search["error"]) < 0.4 and search["width"] < 1.5 for search in found)
    assert len({search["error"] for search in found}) > 1
    told = replaying.summary(found)
    assert told["searches"] == 4
    assert told["coverage"] == np.mean([search["stretch"] <= 1 for search in found])


def test_other_constants_are_those_of_the_fit(replaying, monkeypatch):
    name, value = replaying.constant("FLOOR=0.31")
    assert (name, value) == ("FLOOR", 0.31)
    with pytest.raises(argparse.ArgumentTypeError, match="NOTHING is no number"):
        replaying.constant("NOTHING=1")
    with pytest.raises(ValueError, match="could not convert"):
        replaying.constant("FLOOR=steep")
    monkeypatch.setattr(curve_fit, "FLOOR", curve_fit.FLOOR)  # put back after
    monkeypatch.setattr(replaying.fitting, "measured_noise", replaying.fitting.measured_noise)
    usual = replaying.replay(("mnist1d", 0, False))
    replaying.use({"FLOOR": 0.6})
    other = replaying.replay(("mnist1d", 0, False))
    replaying.fitting._fitted.cache_clear()
    assert math.isfinite(other["width"])
    assert other["width"] != usual["width"]
