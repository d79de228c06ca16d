"""Fused updates are the updates that torch makes by default, but for rounding; what they cannot make is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from lrkit.training.fused_updates import fuse_updates

OPTIONS = {
    "adam": (torch.optim.Adam, {}),
    "adam with decay": (torch.optim.Adam, {"weight_decay": 0.1}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.95)}),
    "maximizing": (torch.optim.AdamW, {"maximize": True, "eps": 1e-6}),
}


def model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 5, 2), nn.Flatten(), nn.LayerNorm(15), nn.Linear(15, 2)).to(dtype)


def trained(net: nn.Module, optimizer: Optimizer, steps: int, *, dtype=torch.float32, begin: int = 0) -> None:
    for step in range(begin, begin + steps):
        x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(step)).to(dtype)
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + step % 3)
        optimizer.step()


class Kernels(TorchDispatchMode):
    """Counts the calls of fused kernels within."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += "_fused_adam" in str(func)
        return func(*args, **(kwargs or {}))


def furthest(one: nn.Module, two: nn.Module) -> float:
    """The largest difference between parameters, as a part of the largest of its tensor."""
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_it_is_the_same_update_but_for_rounding(name, dtype, tolerance):
    kind, options = OPTIONS[name]
    plain, fused = model(dtype), model(dtype)
    usual, quick = kind(plain.parameters(), **options), kind(fused.parameters(), **options)
    fuse_updates(quick)
    with Kernels() as without:
        trained(plain, usual, 50, dtype=dtype)
    with Kernels() as kernels:
        trained(fused, quick, 50, dtype=dtype)
    assert (without.calls, kernels.calls) == (0, 50), "or nothing is tested"
    assert furthest(plain, fused) < tolerance
    assert furthest(plain, model(dtype)) > 1e-2, "they have been trained"


@settings(max_examples=40, deadline=None)
@given(
    layouts=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=3),
    kind=st.sampled_from([torch.optim.Adam, torch.optim.AdamW]),
)
def test_memory_that_lies_otherwise_is_not_taken_as_it_lies(layouts, kind):
    """torch's own fused update reads a transposed gradient in the wrong order."""

    def made() -> tuple[list[nn.Parameter], Optimizer]:
        drawn = torch.Generator().manual_seed(1)
        parameters = []
        for turned, gradient_turned in layouts:
            value, slope = (torch.randn(4, 6, generator=drawn) for _ in range(2))
            p = nn.Parameter(value.t().contiguous().t() if turned else value)
            p.grad = slope.t().contiguous().t() if gradient_turned else slope
            parameters.append(p)
        return parameters, kind(parameters, lr=0.1)

    one, usual = made()
    two, quick = made()
    fuse_updates(quick)
    with Kernels() as kernels:
        for _ in range(3):
            usual.step()
            quick.step()
    for a, b in zip(one, two, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    assert kernels.calls == (0 if any(map(any, layouts)) else 3)


def test_a_layout_may_change_on_the_way():
    p, q = nn.Parameter(torch.arange(12.0).reshape(3, 4)), nn.Parameter(torch.arange(12.0).reshape(3, 4))
    usual, quick = torch.optim.Adam([p], lr=0.1), torch.optim.Adam([q], lr=0.1)
    fuse_updates(quick)
    for step in range(6):
        slope = torch.randn(4, 3).t() if step % 2 else torch.randn(3, 4)
        p.grad, q.grad = slope.clone(), slope
        usual.step()
        with Kernels() as kernels:
            quick.step()
        assert kernels.calls == (step % 2 == 0)
    assert torch.allclose(p, q, atol=1e-6)


def test_a_closure_makes_its_gradients_later_than_anybody_can_look():
    p, q = nn.Parameter(torch.arange(12.0).reshape(3, 4)), nn.Parameter(torch.arange(12.0).reshape(3, 4))
    usual, quick = torch.optim.Adam([p], lr=0.1), torch.optim.Adam([q], lr=0.1)
    fuse_updates(quick)
    for step in range(4):
        slope = torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).t()

        def closure(one=p, other=q, slope=slope) -> float:
            one.grad, other.grad = slope.clone(), slope
            return 0.0

        usual.step(closure)
        with Kernels() as kernels:
            quick.step(closure)
        assert kernels.calls == 0
    assert torch.equal(p, q)


def test_a_group_that_is_added_has_its_own_say_and_a_failed_step_leaves_nothing():
    first, second = model(), model()
    optimizer = torch.optim.Adam(first.parameters())
    fuse_updates(optimizer)
    optimizer.add_param_group({"params": second.parameters(), "fused": False, "foreach": True})
    for p in (*first.parameters(), *second.parameters()):
        p.grad = torch.ones_like(p)
    with Kernels() as kernels:
        optimizer.step()
    assert kernels.calls == 1
    assert [group["fused"] for group in optimizer.param_groups] == [None, False]
    optimizer.param_groups[0]["fused"] = True  # as a step that raised would leave it
    next(first.parameters()).grad = torch.ones(2, 3, 5).permute(2, 1, 0)
    with Kernels() as kernels:
        optimizer.step()
    assert kernels.calls == 0
    assert [group["fused"] for group in optimizer.param_groups] == [None, False]


def test_parameters_may_get_gradients_late_or_never():
    def run(prepare: Callable[[Optimizer], None]) -> nn.Module:
        net = model()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        prepare(optimizer)
        late = net[3].weight
        late.requires_grad_(False)
        trained(net, optimizer, 5)
        late.requires_grad_(True)
        trained(net, optimizer, 5, begin=5)
        return net

    assert furthest(run(lambda _: None), run(fuse_updates)) < 1e-5


def test_its_state_goes_on_without_it_and_back():
    plain, other = model(), model()
    usual, quick = torch.optim.Adam(plain.parameters()), torch.optim.Adam(other.parameters())
    fuse_updates(quick)
    trained(plain, usual, 10)
    trained(other, quick, 5)
    saved = copy.deepcopy(quick.state_dict())
    assert [group["fused"] for group in saved["param_groups"]] == [None], (
        "loaded elsewhere it asks for nothing"
    )
    again = torch.optim.Adam(other.parameters())
    again.load_state_dict(saved)
    fuse_updates(again)
    trained(other, again, 5, begin=5)
    assert furthest(plain, other) < 1e-5


class Own(torch.optim.Adam):
    """Somebody's own Adam: what it does is not known."""


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: torch.optim.SGD(ps, lr=0.1),
        lambda ps: Own(ps),
        lambda ps: torch.optim.Adam(ps, fused=False),
        lambda ps: torch.optim.Adam(ps, foreach=True),
        lambda ps: torch.optim.AdamW(ps, capturable=True),
        lambda ps: torch.optim.AdamW(ps, differentiable=True),
    ],
)
def test_what_the_user_has_chosen_is_left_alone(make):
    optimizer = make(model().parameters())
    before = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    fuse_updates(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    assert [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups] == before


def test_half_precision_is_updated_as_ever():
    one, two = model(torch.bfloat16), model(torch.bfloat16)
    usual, quick = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
    fuse_updates(quick)
    trained(one, usual, 5, dtype=torch.bfloat16)
    trained(two, quick, 5, dtype=torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
