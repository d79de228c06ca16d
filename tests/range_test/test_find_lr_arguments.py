"""What find_lr refuses, in one line that names the argument; and what it answers about repeats and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrkit.errors import LrkitError, SpecError, TaskError
from lrkit.range_test import RULES, find_lr
from lrkit.training import Task, supervised

X = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, (X[:, :1] * 2 - X[:, 1:2]))


def loader(shuffle: bool = True) -> DataLoader:
    return DataLoader(DATA, batch_size=16, shuffle=shuffle)


def task(**options) -> Task:
    options = {
        "model": lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)),
        "loss": supervised(nn.functional.mse_loss),
        "train": loader(),
        "device": "cpu",
        **options,
    }
    return Task(**options)


def live(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    options = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loss": supervised(nn.functional.mse_loss),
        "train": loader(),
        "steps": 30,
        **options,
    }
    return find_lr(**options)


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"low": 0}, SpecError, "low="),
        ({"low": 2.0, "high": 1.0}, SpecError, "below high="),
        ({"high": math.nan}, SpecError, "high="),
        ({"steps": 5}, SpecError, "at least 20"),
        ({"repeats": 0}, SpecError, "repeats="),
        ({"seed": -1}, SpecError, "seed="),
        ({"accumulate": 1.5}, SpecError, "accumulate="),
        ({"rule": "vally"}, SpecError, "did you mean 'valley'"),
        ({"precision": "float8"}, SpecError, "precision="),
        ({"spacing": "exp"}, SpecError, "'log' or 'linear'"),
        ({"model": None}, TaskError, "model= is missing"),
        ({"model": nn.Linear}, TaskError, "nn.Module"),
        ({"optimizer": "sgd"}, TaskError, "torch.optim.Optimizer"),
        ({"loss": 3}, TaskError, "callable"),
        ({"train": 3}, TaskError, "train loader must be"),
        (
            {"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))])},
            TaskError,
            "no parameter of the model",
        ),
        ({"group": "head"}, TaskError, "no group 'head'"),
        ({"device": "meta"}, TaskError, "device='meta'"),
        ({"task": task()}, TaskError, "not both"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(wrong, error, told):
    with pytest.raises(error, match=told) as raised:
        live(**wrong)
    assert isinstance(raised.value, LrkitError)
    assert "\n" not in str(raised.value)


def test_nothing_at_all_is_refused_with_what_is_missing():
    with pytest.raises(TaskError, match="model=, optimizer=, loss=, train= is missing"):
        find_lr()


def test_an_error_of_the_users_own_comes_through_as_it_is():
    def broken(model, batch):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        live(loss=broken)


def test_a_live_model_is_repeated_over_data_order_and_says_so():
    result = live()
    assert result.varied == "data order"
    assert "data order only" in result.reason
    assert len({losses.tobytes() for losses in result.losses}) == 3


def test_repeats_that_saw_the_same_batches_have_no_spread_and_say_so():
    result = live(train=loader(shuffle=False))
    assert result.varied == "nothing"
    assert math.isnan(result.spread)
    assert "no spread" in result.reason


def test_one_seed_gives_one_answer_and_another_seed_another():
    assert live(seed=5) == live(seed=5)
    assert live(seed=5) != live(seed=6)
    assert find_lr(task(), steps=30, seed=5) == find_lr(task(), steps=30, seed=5)


def test_the_first_repeats_do_not_depend_on_how_many_there_are():
    few, many = live(repeats=2), live(repeats=4)
    np.testing.assert_array_equal(few.losses[1], many.losses[1])


def test_a_task_is_repeated_over_initial_weights_and_data_order():
    result = find_lr(task(), steps=100)
    assert result.varied == "initial weights and data order"
    assert result.status == "found"
    assert len(result.losses) == len(result.suggestions) == 3
    # The very first loss differs: the weights do.
    assert len({losses[0] for losses in result.losses}) == 3
    assert result.bracket[0] < result.suggestion < result.bracket[1]


def test_a_task_sees_only_what_a_search_may_see():
    seen = []

    def watching(model, batch):
        seen.append(batch[0])
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    find_lr(task(loss=watching), steps=60, repeats=2)
    rows = {tuple(row.tolist()) for batch in seen for row in batch}
    assert len(rows) == len(X) - round(0.2 * len(X))


def test_a_task_leaves_the_random_generators_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()
    find_lr(task(), steps=30)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]


def test_a_tasks_groups_keep_their_ratio():
    def optimizer(model, lr):
        return torch.optim.SGD([
            {"params": model[0].parameters(), "lr": lr, "name": "body"},
            {"params": model[2].parameters(), "lr": 5 * lr, "name": "head"},
        ])  # fmt: skip

    result = find_lr(task(optimizer=optimizer), steps=30)
    np.testing.assert_allclose(result.group_lrs["head"], 5 * result.group_lrs["body"])


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_asked_for(rule):
    result = live(rule=rule, steps=100)
    assert result.rule == rule
    assert result.status in ("found", "could not tell")
    if result.status == "found":
        each = [RULES[rule](result.lrs, losses) for losses in result.losses]
        assert result.suggestions == tuple(each)
        assert result.suggestion == pytest.approx(10 ** np.median(np.log10(each)))


def test_mixed_precision_sweeps_too():
    result = live(precision="bfloat16", steps=100)
    assert result.status == "found"
    # The last bits differ from float32's: autocast was on.
    assert result != live(steps=100)


class Heard:
    def __init__(self) -> None:
        self.steps, self.stages, self.notes = 0, [], []

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, steps, *, loss, lr):
        assert math.isfinite(loss)
        assert lr > 0
        self.steps += steps

    def note(self, text):
        self.notes.append(text)

    def close(self):
        raise AssertionError("not ours to close")


def test_it_reports_every_step_it_takes():
    heard = Heard()
    result = live(reporter=heard, low=100.0, high=1000.0)
    assert heard.stages == [("range test", 90)]
    assert heard.steps == result.steps
    assert heard.notes


def test_a_loader_may_be_made_for_each_repeat():
    seeds = []

    def made(seed):
        seeds.append(seed)
        return loader()

    live(train=made, repeats=3)
    assert len(set(seeds)) == 3
