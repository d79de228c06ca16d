"""Graphs of flat tensors behind nested arguments, and graphs without what nobody reads."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from lrkit.training.population.flat import FlatGraph
from lrkit.training.population.trimmed import trimmed

aten = torch.ops.aten


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


def nested(scale: float):
    x = scale * torch.arange(6.0).reshape(2, 3)
    return {"a": x, "b": [x + 1, (x + 2,)]}, Pair(x + 3, x + 4), "sum", None


def combined(tensors, pair, how, nothing):
    assert (how, nothing) == ("sum", None)
    first, (second,) = tensors["b"]
    return tensors["a"] * pair.left, {"out": [first - pair.right, Pair(second.sum(), pair.left.exp())]}


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # torch's compiler imports what torch has deprecated
def test_a_flat_graph_takes_and_gives_the_nests_of_its_function(compiled):
    with torch.no_grad():
        graph = FlatGraph(combined, nested(1.0), rewrite=lambda module: module, compiled=compiled)
        found, wanted = graph(*nested(0.3)), combined(*nested(0.3))
    assert type(found) is tuple
    assert isinstance(found[1]["out"][1], Pair)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_flat_graph_changes_what_its_function_changes(compiled):
    def moved(state, by):
        state["x"].add_(by)
        return state["x"] * 2

    with torch.no_grad():
        graph = FlatGraph(moved, ({"x": torch.zeros(4)}, torch.ones(4)), rewrite=trimmed, compiled=compiled)
        state = {"x": torch.full((4,), 5.0)}
        for count in (1, 2, 3):
            assert torch.equal(graph(state, torch.ones(4)), torch.full((4,), 2 * (5.0 + count)))
    assert torch.equal(state["x"], torch.full((4,), 8.0))


def count(graph, target):
    return [node.target for node in graph.graph.nodes].count(target)


def test_what_is_equal_is_computed_once_and_what_nobody_reads_is_not():
    def function(x):
        x.sin()
        return x.exp() + 1, x.exp() + 1.0, (x > 0).any(), (x > 0).any()

    graph = trimmed(make_fx(function)(torch.ones(3)))
    assert [count(graph, op) for op in (aten.exp.default, aten.sin.default, aten.gt.Scalar)] == [1, 0, 1]
    assert count(graph, aten.add.Tensor) == 2, "1 and 1.0 may make different kinds of numbers"
    torch.testing.assert_close(graph(torch.full((3,), 0.5)), function(torch.full((3,), 0.5)))


def test_random_numbers_and_changes_in_place_stay():
    def drawn(x):
        torch.rand_like(x)
        return torch.rand_like(x), torch.rand_like(x)

    graph = trimmed(make_fx(drawn)(torch.ones(3)))
    torch.manual_seed(0)
    found = graph(torch.ones(3))
    torch.manual_seed(0)
    assert torch.equal(torch.stack(found), torch.stack(drawn(torch.ones(3))))

    def changed(x):
        before = x.exp()
        x.add_(1)
        return before, x.exp()

    graph = trimmed(make_fx(changed)(torch.ones(3)))
    torch.testing.assert_close(graph(torch.zeros(3)), changed(torch.zeros(3)))
