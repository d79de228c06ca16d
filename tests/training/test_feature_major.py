"""A graph turned round computes what it did: losses, gradients and buffers, whatever the model is made of."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.data import DataLoader

from lrkit.training import cross
from lrkit.training.population.block import build_block
from lrkit.training.population.feature_major import feature_major
from lrkit.training.population.fused import fused_rows
from lrkit.training.population.setup import Setup
from optimizers import OPTIMIZERS
from toys import blobs, toy_plan, toy_task

aten = torch.ops.aten


class Gated(nn.Module):
    """Products of two activations, a softmax in the middle, a sum over features, something that no rule knows."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        mixed = self.one(x).sigmoid() * self.two(x).softmax(-1)
        mixed = mixed - mixed.mean(-1, keepdim=True) + mixed.cumsum(-1) / 7
        return self.out(mixed) + mixed.sum(1, keepdim=True)


class Halves(nn.Module):
    """Features cut in two and put together again, in other places."""

    def __init__(self):
        super().__init__()
        self.one, self.out = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        left, right = self.one(x).chunk(2, dim=-1)
        return self.out(
            torch.cat([right.tanh(), left], dim=-1).unflatten(-1, (2, 3)).transpose(1, 2).flatten(1)
        )


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
    "deep": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3)),
    "in place": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3), nn.ELU(inplace=True)
    ),
    "norms": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 3)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)),
    "no bias": lambda: nn.Sequential(nn.Linear(4, 8, bias=False), nn.Softplus(), nn.Linear(8, 3, bias=False)),
    "square": lambda: nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)),
    "gated": Gated,
    "halves": Halves,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    ),
}


def recorded(model, *, batch=8, members=3):
    """The gradients of a few members as a graph, and what it is called with."""
    task = toy_task(model=model, train=DataLoader(blobs(), batch_size=batch), optimizer=torch.optim.SGD)
    lrs = [1e-3 * (i + 1) for i in range(members)]
    setup = Setup(task, cross(toy_plan(task), lrs=lrs), "search", torch.device("cpu"))
    places = list(range(members))
    block = build_block(setup.starts(places, idle=frozenset()), places, mixed=False, build=setup.optimizer)
    generator = torch.Generator().manual_seed(0)
    for tensor in block.trainable.values():  # members that differ, so that a mixed-up one is found out
        tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    loss, window = setup.loss(mixed=False), setup.lane(0).window()

    def inputs():
        trainable = {name: tensor.clone() for name, tensor in block.trainable.items()}
        return trainable, block.constants, {name: t.clone() for name, t in block.buffers.items()}, window

    return make_fx(functools.partial(loss.gradients))(*inputs()), inputs


def results(graph, inputs):
    torch.manual_seed(5)
    given = inputs()
    losses, gradients, buffers = graph(*given)
    return {"losses": losses, **gradients, **buffers, **{f"given {n}": t for n, t in given[2].items()}}


@pytest.mark.parametrize("batch", [8, 4])  # 4: as many samples as features
@pytest.mark.parametrize("name", MODELS)
def test_a_turned_graph_computes_what_the_graph_did(name, batch):
    graph, inputs = recorded(MODELS[name], batch=batch)
    turned = feature_major(graph)
    wanted, found = results(graph, inputs), results(turned, inputs)
    for key, tensor in wanted.items():
        torch.testing.assert_close(
            found[key], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("name", ["mlp", "deep", "in place", "dropout", "no bias", "gated"])
def test_the_first_layers_of_all_members_become_one_wide_product(name):
    graph, _ = recorded(MODELS[name])
    counts = [
        [node.target for node in g.graph.nodes].count(aten.mm.default) for g in (graph, feature_major(graph))
    ]
    layers = 2 if name == "gated" else 1
    assert counts == [0, 2 * layers], "forward and weights' gradient"


def test_a_softmax_over_classes_runs_along_the_batch():
    graph, _ = recorded(MODELS["mlp"])
    axes = [n.args[1] for n in feature_major(graph).graph.nodes if n.target == aten._log_softmax.default]
    assert axes == [1]


def test_what_cannot_be_turned_is_left_as_it_is():
    """No linear layer on the batch; random numbers in the order of memory; a view of what is changed in place."""
    x = torch.randn(5, 6)
    weights = torch.randn(3, 6, 4)

    def drawn(weights, x):
        hidden = x.expand(3, 5, 6) @ weights
        return hidden * torch.rand_like(hidden)

    def viewed(weights, x):
        hidden = x.expand(3, 5, 6) @ weights
        flat = hidden.view(3, 20)
        hidden.mul_(2)
        return flat

    for function in (lambda w, x: w.relu() + x.sum(), drawn, viewed):
        graph = make_fx(function)(weights, x)
        assert feature_major(graph) is graph


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n.startswith("Adam") and n != "Adamax"])
def test_the_fused_update_is_the_written_one(name):
    """torch's kernel member by member, and the rule over the stack that compiled graphs use."""
    task = toy_task(model=lambda: MODELS["mlp"]().double(), optimizer=OPTIMIZERS[name])
    setup = Setup(task, cross(toy_plan(task), lrs=(1e-3, 1e-2, 3e-2)), "search", torch.device("cpu"))
    starts = setup.starts(range(3), idle=frozenset())
    fused, written = (build_block(starts, [0, 1, 2], mixed=False, build=setup.optimizer) for _ in "ab")
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        gradients = {
            n: torch.randn(t.shape, dtype=t.dtype, generator=generator) for n, t in fused.trainable.items()
        }
        fused.update.advance(gradients, step, live=fused.live)
        written.update.apply(
            written.trainable, gradients, written.update.state(), written.update.coefficients(step)
        )
    for key, tensor in written.trainable.items():
        torch.testing.assert_close(fused.trainable[key], tensor, rtol=1e-12, atol=1e-14)
    for key, state in written.update.state().items():
        torch.testing.assert_close(fused.update.state()[key], state, rtol=1e-12, atol=1e-14)


def test_a_gradient_that_lies_otherwise_in_memory_is_read_as_it_is():
    task = toy_task(model=MODELS["mlp"])
    setup = Setup(task, cross(toy_plan(task), lrs=(1e-3, 1e-2)), "search", torch.device("cpu"))
    starts = setup.starts(range(2), idle=frozenset())
    one, two = (build_block(starts, [0, 1], mixed=False, build=setup.optimizer) for _ in "ab")
    gradients = {name: torch.randn_like(tensor) for name, tensor in one.trainable.items()}
    strange = {
        name: g.transpose(-1, -2).contiguous().transpose(-1, -2) if g.ndim > 2 else g
        for name, g in gradients.items()
    }
    assert any(not g.is_contiguous() for g in strange.values())
    one.update.advance(gradients, 0, live=[True, True])
    two.update.advance(strange, 0, live=[True, True])
    assert all(torch.equal(tensor, two.trainable[name]) for name, tensor in one.trainable.items())


def test_a_stack_that_does_not_suit_a_kernel_has_none():
    task = toy_task(model=MODELS["mlp"], optimizer=torch.optim.RMSprop)
    setup = Setup(task, cross(toy_plan(task), lrs=(1e-3, 1e-2)), "search", torch.device("cpu"))
    starts = setup.starts(range(2), idle=frozenset())
    block = build_block(starts, [0, 1], mixed=False, build=setup.optimizer)
    from lrkit.training.population.rules import RULES

    groups = [[start.groups[0] for start in starts.values()]]
    assert fused_rows(RULES[torch.optim.RMSprop], groups, block.trainable, block.update.state()) is None
    mixed = {**block.trainable, "half": torch.zeros(2, 3, dtype=torch.float64)}
    assert fused_rows(RULES[torch.optim.AdamW], groups, mixed, block.update.state()) is None
    assert fused_rows(RULES[torch.optim.AdamW], groups, block.trainable, block.update.state()) is not None
