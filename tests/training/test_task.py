"""What a task refuses, and what its check says."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

import lrkit
from lrkit.errors import TaskError
from lrkit.training import resolve_loader, search_split
from toys import blobs, fingerprint, random_states, small_net, toy_task

SHARED = small_net()


def no_seed() -> list:
    return []


def frozen_net() -> nn.Module:
    return small_net().requires_grad_(False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": small_net()}, "builds a fresh model"),
        ({"model": 3}, "model= must be callable"),
        ({"loss": None}, "loss= must be callable"),
        ({"epochs": 2}, "not both"),
        ({"steps": 0}, "at least 1"),
        ({"steps": 2.5}, "whole number"),
        ({"holdout": 1.0}, "between 0 and 1"),
        ({"seed": "1"}, "seed="),
        ({"objective": "acuracy"}, "did you mean 'accuracy'"),
        ({"objective": "accuracy"}, "direction='max'"),
        ({"direction": "max"}, "minimised"),
        ({"direction": "up"}, "'min' or 'max'"),
        ({"metrics": {"loss": len}}, "own loss"),
    ],
)
def test_a_wrong_argument_is_refused_at_the_door(changes, message):
    with pytest.raises(TaskError, match=message):
        toy_task(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda: SHARED}, "same weights twice"),
        ({"model": lambda: "net"}, "not an nn.Module"),
        ({"model": lambda: nn.Linear(0, "a")}, "model or optimizer raised TypeError"),
        ({"model": frozen_net, "optimizer": torch.optim.SGD}, "does not depend on a trainable"),
        ({"loss": lambda model, batch: model(batch[0])}, "shape"),
        ({"loss": lambda model, batch: 0.5}, "gave a float"),
        ({"loss": lambda model, batch: 1 / 0}, "loss raised ZeroDivisionError"),
        ({"optimizer": lambda model, lr: torch.optim.SGD(model.parameters(), lr=0.1)}, "does not use lr"),
        ({"optimizer": lambda model, lr: torch.optim.SGD(SHARED.parameters(), lr=lr)}, "another model"),
        ({"optimizer": lambda model, lr: "sgd"}, "not a torch.optim.Optimizer"),
        ({"train": []}, "cannot be cut"),
        ({"train": [], "validation": []}, "no batch"),
        ({"train": no_seed}, "must take one seed"),
        ({"train": DataLoader(TensorDataset(torch.zeros(0, 4)), batch_size=2)}, "empty"),
    ],
)
def test_a_check_names_the_callable_that_is_wrong(changes, message):
    with pytest.raises(TaskError, match=message):
        toy_task(**changes).check()


def unseeded_net() -> nn.Module:
    net = small_net()
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(8, 4, generator=unseeded_net.generator))
    return net


unseeded_net.generator = torch.Generator().manual_seed(0)


def test_models_that_differ_under_one_seed_are_found():
    with pytest.raises(TaskError, match=r"differ at '0\.weight'"):
        toy_task(model=unseeded_net).check()


def two_groups(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [
            {"params": model[0].parameters(), "name": "body"},
            {"params": model[-1].parameters(), "name": "head", "lr": 1e-3},
        ],
        lr=lr,
    )


def test_a_check_reports_groups_that_do_not_follow_the_rate_and_leaves_no_trace():
    before = fingerprint(random_states())
    report = toy_task(optimizer=two_groups).check()
    assert fingerprint(random_states()) == before
    assert report.groups == ("body", "head")
    assert report.unscaled_groups == ("head",)
    assert report.parameters == sum(p.numel() for p in small_net().parameters())
    assert report.batches_per_epoch == 10


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, functools.partial(torch.optim.SGD, momentum=0.9)])
def test_an_optimizer_class_or_a_partial_of_one_gets_the_parameters(optimizer):
    assert toy_task(optimizer=optimizer).check().unscaled_groups == ()


def samples_of(loader) -> set:
    return {tuple(row.tolist()) for x, _ in loader for row in x}


def test_the_held_out_part_is_disjoint_complete_and_drawn_by_the_task_seed_alone():
    task = toy_task()
    split = search_split(task)
    train, validation = samples_of(split.train), samples_of(split.validation)
    assert split.held_out
    assert not train & validation
    assert train | validation == samples_of(task.train)
    assert len(validation) == round(0.2 * 96)
    torch.manual_seed(12)
    assert samples_of(search_split(task, seed=77).validation) == validation
    assert samples_of(search_split(toy_task(seed=1)).validation) != validation


def test_a_validation_loader_is_used_as_it_is():
    loader = DataLoader(blobs(20, seed=9), batch_size=5)
    split = search_split(toy_task(validation=loader))
    assert not split.held_out
    assert split.validation is loader


class Stream(IterableDataset):
    def __iter__(self):
        yield from blobs()


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream(), batch_size=8),
        DataLoader(blobs(), batch_size=8, sampler=WeightedRandomSampler(torch.ones(96), 96)),
        DataLoader(blobs(), batch_size=8, sampler=torch.utils.data.RandomSampler(blobs(), num_samples=10)),
        DataLoader(blobs(1), batch_size=8),
    ],
    ids=["iterable", "weighted", "part of an epoch", "one sample"],
)
def test_what_cannot_be_cut_in_two_is_refused_with_the_remedy(loader):
    with pytest.raises(TaskError, match="pass validation="):
        search_split(toy_task(train=loader))


def test_a_factory_is_called_with_the_seed_of_the_run():
    seen = []

    def factory(seed: int) -> DataLoader:
        seen.append(seed)
        return DataLoader(blobs(), batch_size=8, shuffle=True)

    resolve_loader(factory, 5, which="train")
    search_split(toy_task(train=factory), seed=9)
    assert seen == [5, 9]


def test_supervised_refuses_batches_that_are_no_pairs():
    loss: Callable = lrkit.supervised(nn.functional.mse_loss)
    with pytest.raises(TaskError, match="tuple of 3"):
        loss(nn.Identity(), (1, 2, 3))
