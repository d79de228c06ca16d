"""A snapshot leaves no trace: same bits, same storages, same objects, however its block ends."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, SequentialLR, StepLR
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, TensorDataset

from fingerprints import fingerprint
from lrkit.errors import TaskError
from lrkit.optim import Scheduler, schedulers_paused, snapshot


class Awkward(nn.Module):
    """Tied weights, BatchNorm, dropout, non-persistent and absent buffers, attributes that forward changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 1)
        self.frozen.requires_grad_(False)
        self.frozen.eval()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cache", None)
        self.register_buffer("scratch", torch.full((3,), float("nan")), persistent=False)
        self.register_buffer("wide", torch.ones(1).expand(5), persistent=False)
        self.calls = 0
        self.log: list[int] = []
        self.tables = {"plain": torch.zeros(2), "numpy": np.zeros(2)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        self.calls += 1
        self.log.append(self.calls)
        self.tables["plain"] += 1
        self.tables["numpy"] += 1
        return self.frozen(self.second(self.drop(self.norm(self.first(x)))))


def world(kind: str = "adamw") -> tuple[Awkward, Optimizer]:
    torch.manual_seed(0)
    model = Awkward()
    parts = [
        {"params": list(model.first.parameters()), "lr": torch.tensor(0.1) if kind == "adamw" else 0.1},
        {"params": list(model.norm.parameters()), "weight_decay": 0.01},
        {"params": [model.second.bias]},
    ]
    makers: dict[str, Callable[[], Optimizer]] = {
        "adamw": lambda: AdamW(parts, lr=0.01),
        "momentum": lambda: SGD(parts, lr=0.01, momentum=0.9),
        "plain": lambda: SGD(parts, lr=0.01),
        "rmsprop": lambda: RMSprop(parts, lr=0.01, centered=True),
        "adagrad": lambda: Adagrad(parts, lr=0.01),
        "lbfgs": lambda: LBFGS([p for p in model.parameters() if p.requires_grad], lr=0.01, max_iter=3),
    }
    return model, makers[kind]()


def train(model: nn.Module, optimizer: Optimizer, steps: int = 1, scaler: Any = None) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        (loss if scaler is None else scaler.scale(loss)).backward()
        return loss

    for _ in range(steps):
        if scaler is not None:
            closure()
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step(closure)


def havoc(model: Awkward, optimizer: Optimizer) -> Iterator[str]:
    """Everything that a probe might do, one thing at a time."""
    yield "nothing yet"
    train(model, optimizer)
    yield "trained"
    model.eval()
    model.frozen.train()
    yield "modes"
    model.requires_grad_(True)
    model.first.bias.requires_grad_(False)
    yield "requires_grad"
    optimizer.zero_grad(set_to_none=True)
    model.frozen.weight.grad = torch.ones_like(model.frozen.weight)
    yield "grads"
    for group in optimizer.param_groups:
        group["lr"] = 7.0
        group["new"] = 1
    optimizer.param_groups[0].pop("differentiable", None)
    yield "hyperparameters"
    if not isinstance(optimizer, LBFGS):
        optimizer.add_param_group({"params": list(model.frozen.parameters())})
    yield "a group more"
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    yield "a checkpoint loaded into the optimizer"
    optimizer.state.clear()
    yield "no state"
    model.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    yield "a checkpoint loaded into the model"
    model.cache = torch.ones(3)
    model.register_buffer("extra", torch.ones(1))
    model.seen = torch.tensor(5)
    del model.scratch
    yield "buffers"
    model.first.weight = nn.Parameter(torch.zeros(4, 4))
    yield "a parameter replaced"
    model.second.bias.data = torch.zeros(9)
    yield "data replaced"
    model.to(torch.float64)
    yield "another dtype"
    model.norm = nn.Identity()
    model.extra_head = nn.Linear(1, 1)
    yield "modules"
    model.register_forward_hook(lambda *args: None)
    parametrizations.orthogonal(model.frozen)
    yield "hooks and parametrisations"
    model.note = "added"
    model.log.clear()
    model.tables.clear()
    yield "attributes"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        StepLR(optimizer, 1).step()
        Scheduler(optimizer, "cosine(to=0)", 10)
    yield "schedulers"
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    yield "generators"


KINDS = ["adamw", "momentum", "plain", "rmsprop", "adagrad", "lbfgs"]
with snapshot([]):  # seeds the generators
    ACTS = list(havoc(*world()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [0, 2], ids=["fresh", "trained"])
def test_whatever_the_block_did_is_undone(kind: str, before: int) -> None:
    model, optimizer = world(kind)
    train(model, optimizer, before)
    found = fingerprint([model], [optimizer])
    for _ in range(3):  # a peer loses the momentum at the second time
        with snapshot(model, optimizer):
            assert list(havoc(model, optimizer)) == ACTS
            assert fingerprint([model], [optimizer]) != found
        assert fingerprint([model], [optimizer]) == found


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("act", ACTS)
def test_an_error_anywhere_in_the_block_undoes_it_too(act: str, error: type[BaseException]) -> None:
    model, optimizer = world()
    train(model, optimizer, 1)
    found = fingerprint([model], [optimizer])
    with pytest.raises(error, match="in the block"), snapshot(model, optimizer):  # noqa: PT012 - the block is the point
        for done in havoc(model, optimizer):
            if done == act:
                raise error("in the block")
    assert fingerprint([model], [optimizer]) == found


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_as_if_nothing_had_been(kind: str) -> None:
    results = []
    for probe in (False, True):
        model, optimizer = world(kind)
        train(model, optimizer, 2)
        if probe:
            with snapshot(model, optimizer):
                train(model, optimizer, 3)
        train(model, optimizer, 2)
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@given(st.permutations(range(len(ACTS))), st.integers(1, len(ACTS)))
@settings(deadline=None, max_examples=8)
def test_snapshots_may_be_nested(order: list[int], depth: int) -> None:
    """Each undoes what came after it, and one object can be entered within itself."""
    model, optimizer = world()
    train(model, optimizer, 1)
    again = snapshot(model, optimizer)
    found = fingerprint([model], [optimizer])
    with again:
        train(model, optimizer, 1)
        inner = fingerprint([model], [optimizer])
        for place in order[:3]:
            with again:
                for n, _ in enumerate(havoc(model, optimizer)):
                    if n >= min(place, depth):
                        break
            assert fingerprint([model], [optimizer]) == inner
    assert fingerprint([model], [optimizer]) == found


def test_memory_shared_with_others_stays_shared() -> None:
    flat = torch.arange(6.0)
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(flat[:4].view(2, 2))
    model.bias = nn.Parameter(flat[4:])
    with snapshot(model):
        model.weight.data = torch.zeros(2, 2)
        model.bias.data.fill_(9.0)
    assert flat.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert model.weight.data_ptr() == flat.data_ptr()
    flat.fill_(8.0)
    assert model.weight.tolist() == [[8.0, 8.0], [8.0, 8.0]]


def test_sparse_gradients_come_back() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = SGD(model.parameters(), lr=0.1)
    model(torch.tensor([1, 1, 3])).sum().backward()
    grad = model.weight.grad
    assert grad is not None
    dense = grad.to_dense()
    with snapshot(model, optimizer):
        optimizer.step()
        grad.zero_()
        model.zero_grad()
    assert model.weight.grad is grad
    assert torch.equal(grad.to_dense(), dense)


@pytest.mark.parametrize("used", [False, True])
def test_the_grad_scaler_comes_back_whether_or_not_it_was_used(used: bool) -> None:
    model, optimizer = world("momentum")
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    if used:
        train(model, optimizer, 1, scaler)
    found = fingerprint([model], [optimizer], scaler)
    with snapshot(model, optimizer, scaler=scaler):
        train(model, optimizer, 5, scaler)
        assert scaler.get_scale() != 8.0
    assert fingerprint([model], [optimizer], scaler) == found
    assert scaler.get_scale() == 8.0


@pytest.mark.parametrize("more", [False, True], ids=["same groups", "a group more"])
def test_schedulers_stand_where_they_stood(more: bool) -> None:
    model, optimizer = world("momentum")
    scheduler = Scheduler(optimizer, "warmup(5) >> cosine(to=0)", 3000, floor=1e-9)
    train(model, optimizer, 7)
    found, state, lrs = fingerprint([model], [optimizer]), scheduler.state_dict(), scheduler.get_last_lr()
    with snapshot(model, optimizer):
        if more:
            optimizer.add_param_group({"params": list(model.frozen.parameters())})
        for _ in range(1500):  # beyond what is read ahead
            optimizer.step()
        scheduler.close()
    assert fingerprint([model], [optimizer]) == found
    assert (scheduler.state_dict(), scheduler.get_last_lr()) == (state, lrs)
    train(model, optimizer)
    curve = scheduler.schedules["lr"].over(3000)
    assert scheduler.done == 8
    assert [group["lr"] for group in optimizer.param_groups] == [
        base * curve(8) for base in (0.1, 0.01, 0.01)
    ]


def test_a_sweep_sets_the_attached_scheduler_aside() -> None:
    model, optimizer = world("plain")
    scheduler = Scheduler(optimizer, "cosine(to=0)", 10)
    train(model, optimizer, 2)
    state, lr = scheduler.state_dict(), optimizer.param_groups[0]["lr"]
    with snapshot(model, optimizer), schedulers_paused(optimizer):
        for rate in (1e-3, 1e-2, 1e-1):
            optimizer.param_groups[0]["lr"] = rate
            train(model, optimizer)
            assert optimizer.param_groups[0]["lr"] == rate
    assert (scheduler.state_dict(), optimizer.param_groups[0]["lr"]) == (state, lr)
    train(model, optimizer)
    assert scheduler.done == 3


def test_torchs_own_schedulers_come_back() -> None:
    model, optimizer = world("plain")
    scheduler = SequentialLR(
        optimizer, [StepLR(optimizer, 2), CosineAnnealingLR(optimizer, 5)], milestones=[3]
    )
    found, state = fingerprint([model], [optimizer]), copy.deepcopy(scheduler.state_dict())
    with snapshot(model, optimizer, schedulers=[scheduler]):
        for _ in range(5):
            train(model, optimizer)
            scheduler.step()
        assert scheduler.state_dict() != state
    assert scheduler.state_dict() == state
    assert fingerprint([model], [optimizer]) == found


def test_loaders_give_again_what_they_would_have_given() -> None:
    data = TensorDataset(torch.arange(20))
    generator = torch.Generator().manual_seed(5)
    own = DataLoader(data, batch_size=4, shuffle=True, generator=generator)
    sampled = DataLoader(data, sampler=RandomSampler(data, generator=torch.Generator().manual_seed(6)))
    spread = DataLoader(data, sampler=DistributedSampler(data, num_replicas=2, rank=0))
    spread.sampler.set_epoch(3)  # type: ignore[attr-defined]
    globally = DataLoader(data, batch_size=4, shuffle=True)
    loaders = [own, sampled, spread, globally]

    def epoch() -> list[Any]:
        return [[batch[0].tolist() for batch in loader] for loader in loaders]

    with snapshot([], loaders=loaders):
        expected = [epoch(), epoch()]
        spread.sampler.set_epoch(4)  # type: ignore[attr-defined]
        epoch()
    assert [epoch(), epoch()] == expected


class Stream:
    """A loader that knows where it stands."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.at += 1
            yield self.at

    def state_dict(self) -> dict[str, Any]:
        return {"at": [self.at]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"].pop()


class Epochs(list[int]):
    """An iterable with an epoch of its own."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def test_loaders_of_other_makes() -> None:
    stream, epochs = Stream(), Epochs([1, 2])
    epochs.set_epoch(3)
    for _ in range(2):
        with snapshot([], loaders=[stream, epochs, [1, 2, 3]]):
            assert next(iter(stream)) == 1
            epochs.set_epoch(8)
        assert (stream.at, epochs.epoch) == (0, 3)


@pytest.mark.parametrize("iterator", [iter([1]), (x for x in [1])])
def test_an_iterator_cannot_be_put_back_and_is_refused_at_once(iterator: Any) -> None:
    with pytest.raises(TaskError, match="pass the loader"), snapshot([], loaders=[iterator]):
        pytest.fail("entered")


def test_a_lazy_module_has_nothing_to_remember_yet() -> None:
    model = nn.LazyLinear(1)
    with pytest.raises(TaskError, match="run one batch"), snapshot(model):
        pytest.fail("entered")


def test_several_models_and_optimizers() -> None:
    pairs = [world("momentum"), world("adamw")]
    models, optimizers = [model for model, _ in pairs], [optimizer for _, optimizer in pairs]
    for model, optimizer in pairs:
        train(model, optimizer, 1)
    found = fingerprint(models, optimizers)
    with snapshot(models, optimizers):
        for model, optimizer in pairs:
            list(havoc(model, optimizer))
    assert fingerprint(models, optimizers) == found


def test_a_scripted_model() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out
        model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with snapshot(model):
        model(torch.randn(4, 2))
        model.eval()
        nn.init.zeros_(dict(model.named_parameters())["0.weight"])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_if_something_cannot_be_put_back_the_rest_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = world()
    stream = Stream()
    found = fingerprint([model], [optimizer])

    def refuse(state: dict[str, Any]) -> None:
        raise OSError("the stream is gone")

    with pytest.raises(OSError, match="the stream is gone"), snapshot(model, optimizer, loaders=[stream]):  # noqa: PT012 - the block is the point
        train(model, optimizer, 2)
        monkeypatch.setattr(stream, "load_state_dict", refuse)
    assert fingerprint([model], [optimizer]) == found


def test_nothing_is_written_to_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: opened.append(args))
    model, optimizer = world()
    with snapshot(model, optimizer):
        train(model, optimizer)
    assert not opened
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_sees_each_act() -> None:
    """The oracle itself: after each act it differs from the one before (a checkpoint loaded anew changes objects)."""
    model, optimizer = world()
    found = [str(fingerprint([model], [optimizer])) for _ in havoc(model, optimizer)]
    assert len(set(found)) == len(found)
    assert isinstance(optimizer, AdamW | Adam)
