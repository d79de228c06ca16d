"""find_lr on a live model changes not one bit: after its end, an error at any call, nan, Ctrl-C."""

from __future__ import annotations

import hashlib
import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrkit.range_test import find_lr

STEPS = 30


def net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.BatchNorm1d(8),
        nn.Linear(8, 2),
    )  # fmt: skip


def loss(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    random.random()
    np.random.random()
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


class Bench:
    """A model in mid-training: moments and statistics warm, gradients there, one layer in eval mode."""

    def __init__(self, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3, amsgrad=True)) -> None:
        torch.manual_seed(3)
        self.model = net()
        self.model[5].eval()
        self.model[0].bias.requires_grad_(False)
        self.optimizer = optimizer(self.model.parameters())
        inputs = torch.randn(256, 6)
        data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
        self.loader = DataLoader(
            data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(1)
        )
        for batch in itertools.islice(self.loader, 3):
            self.optimizer.zero_grad()
            loss(self.model, batch).backward()
            self.optimizer.step()

    def find(self, loss=loss, **options):
        options = {"steps": STEPS, "repeats": 2, "low": 1e-6, "high": 10.0, **options}
        return find_lr(model=self.model, optimizer=self.optimizer, loss=loss, train=self.loader, **options)

    def digest(self) -> str:
        """A hash of everything that a later training could notice."""
        parts: list[object] = [
            random.getstate(),
            np.random.get_state()[1].tobytes(),
            np.random.get_state()[2:],
        ]
        parts += [torch.get_rng_state(), self.loader.generator.get_state()]
        for name, module in self.model.named_modules():
            parts.append((name, module.training))
        for name, parameter in self.model.named_parameters():
            parts += [
                name,
                parameter.requires_grad,
                id(parameter),
                parameter.data_ptr(),
                parameter,
                parameter.grad,
            ]
        for name, buffer in self.model.named_buffers():
            parts += [name, buffer.data_ptr(), buffer]
        for place, group in enumerate(self.optimizer.param_groups):
            parts += [place, [(key, value) for key, value in sorted(group.items()) if key != "params"]]
            for parameter in group["params"]:
                state = self.optimizer.state.get(parameter, {})
                parts += [id(parameter), sorted(state), *(state[key] for key in sorted(state))]
        parts.append([len(hooks) for hooks in (
            self.optimizer._optimizer_step_pre_hooks, self.optimizer._optimizer_step_post_hooks,
        )])  # fmt: skip
        hashed = hashlib.sha256()
        for part in parts:
            hashed.update(
                part.detach().numpy().tobytes() if isinstance(part, torch.Tensor) else repr(part).encode()
            )
        return hashed.hexdigest()


OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: torch.optim.AdamW(p, lr=1e-3, amsgrad=True),
    lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_range_tests_leave_every_bit_as_it_was(optimizer):
    bench = Bench(optimizer)
    before = bench.digest()
    results = [bench.find(seed=seed) for seed in range(20)]
    assert bench.digest() == before
    assert len({result.losses[0].tobytes() for result in results}) == 20


class Trap:
    """The loss, with something else at its call number `at`."""

    def __init__(self, at: int, effect) -> None:
        self.calls, self.at, self.effect = 0, at, effect

    def __call__(self, model, batch):
        value = loss(model, batch)
        self.calls += 1
        return self.effect(value) if self.calls == self.at + 1 else value


class Broken(RuntimeError):
    pass


def broken(value):
    raise Broken


def interrupted(value):
    raise KeyboardInterrupt


# One sweep has STEPS + 1 forward passes, but may end earlier or begin lower: every call there is, is met.
@pytest.mark.parametrize(("effect", "error"), [(broken, Broken), (interrupted, KeyboardInterrupt)])
def test_an_error_at_any_call_leaves_every_bit_as_it_was(effect, error):
    bench = Bench()
    before = bench.digest()
    counting = Trap(-1, broken)
    bench.find(counting)
    assert counting.calls > STEPS
    for at in range(counting.calls):
        with pytest.raises(error):
            bench.find(Trap(at, effect))
        assert bench.digest() == before, f"call {at}"


def test_nan_at_any_call_leaves_every_bit_as_it_was():
    bench = Bench()
    before = bench.digest()
    for at in range(STEPS + 1):
        bench.find(Trap(at, lambda value: value * math.nan), repeats=1)
        assert bench.digest() == before, f"call {at}"


def test_an_error_in_the_backward_pass_leaves_every_bit_as_it_was():
    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise Broken

    bench = Bench()
    before = bench.digest()
    for at in (0, 1, 10):
        with pytest.raises(Broken):
            bench.find(Trap(at, Raises.apply))
        assert bench.digest() == before


@pytest.mark.parametrize("find", [0, 1, 2])
def test_a_training_goes_on_as_if_nothing_had_been(find):
    def losses_after(finds: int) -> list[float]:
        random.seed(0)
        np.random.seed(0)
        bench = Bench()
        for _ in range(finds):
            bench.find()
        losses = []
        for batch in itertools.chain(bench.loader, bench.loader):
            bench.optimizer.zero_grad()
            value = loss(bench.model, batch)
            value.backward()
            bench.optimizer.step()
            losses.append(value.item())
        return [*losses, random.random(), np.random.random()]

    assert losses_after(find) == losses_after(0)


def test_a_model_in_eval_mode_is_swept_in_train_mode_and_comes_back_in_eval_mode():
    bench = Bench()
    bench.model.eval()
    seen = set()

    def watching(model, batch):
        seen.add(model.training and model[3].training)
        return loss(model, batch)

    bench.find(watching)
    assert seen == {True}
    assert not any(module.training for module in bench.model.modules())


def test_layers_in_eval_mode_stay_so_in_a_model_in_train_mode():
    bench = Bench()
    seen = set()

    def watching(model, batch):
        seen.add((model.training, model[5].training))
        return loss(model, batch)

    bench.find(watching)
    assert seen == {(True, False)}
