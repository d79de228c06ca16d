"""Several groups, groups that come late, tensors, floors, absolute levels, and hyperparameters other than the lr."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lrkit.errors import SpecError
from lrkit.optim import Scheduler
from lrkit.spec import CATALOG, parse

SPEC = "warmup(3) >> cosine(to=0.1)"
CURVE = parse(SPEC).over(10)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(1))


def sgd(*lrs: Any, **options: Any) -> Optimizer:
    return SGD([{"params": [parameter()], "lr": lr} for lr in lrs], **options)


def lrs(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=50))
@settings(deadline=None, max_examples=30)
def test_every_group_keeps_its_own_base_lr(rates: list[float]) -> None:
    optimizer = sgd(*rates)
    scheduler = Scheduler(optimizer, SPEC, 10)
    assert scheduler.base_lrs == rates
    for t in range(10):
        assert lrs(optimizer) == scheduler.get_last_lr() == [rate * CURVE(t) for rate in rates]
        optimizer.step()


@pytest.mark.parametrize("how", ["add_param_group", "append"])
@pytest.mark.parametrize("after", range(10))
@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_a_late_group_has_its_own_base_lr_times_the_factor_at_once(entry: Any, after: int, how: str) -> None:
    curve = parse(entry.example).over(1000, base_lr=0.5)
    optimizer = sgd(0.5)
    scheduler = Scheduler(optimizer, entry.example, 1000)
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append(opt.param_groups[-1]["lr"]))
    for _ in range(after):
        optimizer.step()
    late = {"params": [parameter()], "lr": 0.5}
    if how == "append":
        optimizer.param_groups.append({**optimizer.defaults, **late})
    else:
        optimizer.add_param_group(late)
    seen.clear()
    for _ in range(3):
        optimizer.step()
    assert seen == [0.5 * curve(t) for t in range(after, after + 3)]
    assert scheduler.base_lrs == [0.5, 0.5]


def test_a_late_group_is_counted_in_before_the_next_update_by_whoever_looks() -> None:
    optimizer = sgd(0.5)
    scheduler = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    optimizer.add_param_group({"params": [parameter()], "lr": 0.01, "name": "late"})
    assert scheduler.lrs() == {"group 0": 0.5 * CURVE(1), "late": 0.01 * CURVE(1)}
    assert optimizer.param_groups[1]["lr"] == 0.01 * CURVE(1)


def test_groups_may_go() -> None:
    optimizer = sgd(0.5, 0.1, 0.01)
    scheduler = Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    del optimizer.param_groups[1]
    optimizer.step()
    assert lrs(optimizer) == scheduler.get_last_lr() == [0.5 * CURVE(2), 0.01 * CURVE(2)]


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_tensor_lrs_are_written_in_place_and_aliased_by_nothing(kind: type[Optimizer]) -> None:
    tensors = [torch.tensor(0.5, dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64)]
    optimizer = kind([{"params": [parameter()], "lr": tensor} for tensor in tensors], lr=0.1)  # type: ignore[call-arg]
    scheduler = Scheduler(optimizer, SPEC, 10)
    assert scheduler.base_lrs == [0.5, 0.25]
    for t in range(1, 10):
        optimizer.step()
        assert [group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, tensors, strict=True)]
        assert [float(tensor) for tensor in tensors] == [0.5 * CURVE(t), 0.25 * CURVE(t)]
    found = scheduler.get_last_lr()
    tensors[0].fill_(9.0)
    assert scheduler.base_lrs == [0.5, 0.25]
    assert scheduler.get_last_lr() == found
    assert all(type(lr) is float for lr in found)


def test_a_tensor_lr_is_never_read_while_training() -> None:
    """On a device that would be a wait at each update."""
    optimizer = sgd(torch.tensor(0.5))
    scheduler = Scheduler(optimizer, SPEC, 10)
    reads: list[str] = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            reads.append(getattr(func, "__name__", str(func)))
            return func(*args, **(kwargs or {}))

    with Spy():
        optimizer.step()
        scheduler.step()
        scheduler.get_last_lr()
        scheduler.state_dict()
    assert "fill_" in reads
    assert not {"item", "__float__", "tolist", "cpu"} & set(reads)


def test_mixed_tensor_and_float_lrs() -> None:
    optimizer = sgd(torch.tensor(0.5), 0.25)
    Scheduler(optimizer, SPEC, 10)
    optimizer.step()
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
    assert lrs(optimizer) == [float(torch.tensor(0.5 * CURVE(1))), 0.25 * CURVE(1)]


def test_the_floor_comes_last_and_is_an_lr() -> None:
    optimizer = sgd(0.5, 0.05)
    Scheduler(optimizer, SPEC, 10, floor=0.04)
    for t in range(10):
        assert lrs(optimizer) == [max(0.5 * CURVE(t), 0.04), max(0.05 * CURVE(t), 0.04)]
        optimizer.step()


@pytest.mark.parametrize("floor", [-1.0, float("nan"), float("inf"), True, "1e-3", 0.2])
def test_a_floor_that_is_none_is_refused(floor: Any) -> None:
    optimizer = sgd(0.5, 0.1)
    with pytest.raises(SpecError, match="floor="):
        Scheduler(optimizer, SPEC, 10, floor=floor)
    assert lrs(optimizer) == [0.5, 0.1]
    assert "initial_lr" not in optimizer.param_groups[0]
    optimizer.step()
    assert lrs(optimizer) == [0.5, 0.1]


def test_absolute_levels_are_lrs_in_every_group() -> None:
    optimizer = sgd(0.5, 0.1, 0.1)
    Scheduler(optimizer, "linear(to=absolute(0.05))", 4)
    for _ in range(4):
        optimizer.step()
    assert lrs(optimizer) == pytest.approx([0.05, 0.05, 0.05], abs=1e-17)
    low = sgd(0.5, 0.01)
    with pytest.raises(SpecError, match=r"lr of 'group 1': .*0\.05.*above the base lr 0\.01"):
        Scheduler(low, "linear(to=absolute(0.05))", 4)
    assert lrs(low) == [0.5, 0.01]


def test_other_hyperparameters_follow_their_own_schedules_and_nothing_else_is_written() -> None:
    optimizer = Adam([parameter()], lr=0.5, betas=(0.8, 0.99), weight_decay=0.1)
    untouched = {
        k: v for k, v in optimizer.param_groups[0].items() if k not in ("lr", "betas", "weight_decay")
    }
    table = {"lr": SPEC, "betas[0]": "linear(to=0.5)", "weight_decay": "cosine(to=0)"}
    scheduler = Scheduler(optimizer, table, 10)
    linear, cosine = parse("linear(to=0.5)").over(10), parse("cosine(to=0)").over(10)
    for t in range(10):
        group = optimizer.param_groups[0]
        assert group["lr"] == 0.5 * CURVE(t)
        assert group["betas"] == (0.8 * linear(t), 0.99)
        assert group["weight_decay"] == 0.1 * cosine(t)
        assert {key: group[key] for key in untouched} == untouched
        optimizer.step()
    assert scheduler.get_last_lr() == [0.5 * CURVE(10)]


def test_without_a_schedule_for_the_lr_the_lr_is_let_alone() -> None:
    optimizer = SGD([parameter()], lr=0.5, momentum=0.9)
    scheduler = Scheduler(optimizer, {"momentum": "linear(to=0.5)"}, 4)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.123
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.123
    assert optimizer.param_groups[0]["momentum"] == 0.9 * 0.75
    assert "initial_lr" not in optimizer.param_groups[0]
    assert scheduler.get_last_lr() == scheduler.base_lrs == [0.123]


def test_a_group_may_have_a_schedule_of_its_own() -> None:
    optimizer = SGD(
        [{"params": [parameter()], "name": name, "lr": lr} for name, lr in [("body", 0.5), ("head", 0.1)]]
    )
    scheduler = Scheduler(optimizer, {"lr": SPEC, "lr@head": "hold()"}, 10)
    for t in range(10):
        assert scheduler.lrs() == {"body": 0.5 * CURVE(t), "head": 0.1}
        optimizer.step()
    alone = Scheduler(sgd(0.5, 0.1), {"lr@group 1": "linear(to=0)"}, 4, step=2)
    assert alone.get_last_lr() == [0.5, 0.05]


def test_names_of_groups_are_stable_and_never_collide() -> None:
    optimizer = sgd(1.0, 2.0, 3.0)
    for group, name in zip(optimizer.param_groups, ["a", "a", None], strict=True):
        group["name"] = name
    scheduler = Scheduler(optimizer, "hold()", 10)
    assert scheduler.lrs() == {"a (0)": 1.0, "a (1)": 2.0, "group 2": 3.0}


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"lrr": "hold()"}, "did you mean 'lr'"),
        ({"weightdecay": "hold()"}, "did you mean 'weight_decay'"),
        ({"betas": "hold()"}, r"betas\[[01]\]"),
        ({"betas[2]": "hold()"}, r"betas\[[01]\]"),
        ({"amsgrad": "hold()"}, "no scalar hyperparameter"),
        ({"params": "hold()"}, "no scalar hyperparameter"),
        ({"lr": 3}, "schedule of 'lr' is a int"),
        ({"lr@hed": "hold()"}, "did you mean 'head'"),
        ({"l r": "hold()"}, "names no hyperparameter"),
        ({}, "no schedule"),
        (0.1, "is a float"),
        ("cosin(to=0)", "did you mean 'cosine'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(schedule: Any, words: str) -> None:
    optimizer = Adam([{"params": [parameter()], "name": "head"}], lr=0.5)
    before = dict(optimizer.param_groups[0])
    with pytest.raises(SpecError, match=words):
        Scheduler(optimizer, schedule, 10)
    assert optimizer.param_groups[0] == before
    optimizer.step()
    assert optimizer.param_groups[0] == before


@pytest.mark.parametrize(
    "wrong", [{"step": -1}, {"step": True}, {"step": 1.5}, {"clock": "call"}, {"clock": "epochs"}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Scheduler(sgd(0.5), SPEC, 10, **wrong)


def test_only_an_optimizer_is_one() -> None:
    with pytest.raises(TypeError, match="takes an Optimizer, not a Linear"):
        Scheduler(nn.Linear(1, 1), SPEC, 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_group_that_takes_the_place_of_another_has_its_own_base(gone: int) -> None:
    """Between two updates one goes and one comes: their number is the same."""
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(3)]
    optimizer = SGD([{"params": [parameters[0]], "lr": 0.1}, {"params": [parameters[1]], "lr": 0.01}])
    scheduler = Scheduler(optimizer, "linear(to=0)", 10)
    for _ in range(2):
        optimizer.step()
    optimizer.param_groups.pop(gone)
    optimizer.add_param_group({"params": [parameters[2]], "lr": 0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    bases = [0.01 if gone == 0 else 0.1, 0.5]
    found = [group["lr"] for group in optimizer.param_groups]
    assert found == pytest.approx([base * 0.7 for base in bases])
    assert scheduler.base_lrs == bases


def test_a_list_of_parameters_may_be_replaced() -> None:
    """As FSDP does: the group is still the same one."""
    optimizer = SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.01)])
    scheduler = Scheduler(optimizer, "linear(to=0)", 10)
    for places in ([1], [0, 1]):
        optimizer.step()
        for place in places:
            optimizer.param_groups[place]["params"] = [nn.Parameter(torch.ones(1))]
        optimizer.step()
        assert scheduler.base_lrs == [0.1, 0.01]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.06, 0.006])
