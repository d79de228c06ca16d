"""A plan's lrs and schedules reach the groups that it names, or it says which do not match."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from lrkit.duration import Horizon
from lrkit.errors import PlanError, SpecError
from lrkit.optim import Scheduler
from lrkit.plan import GroupPlan, OptimizerPlan, Plan
from lrkit.spec import parse

MAIN = parse("warmup(10%) >> cosine(to=0)")
OWN = parse("hold(50%) >> linear(to=0)")
HORIZON = Horizon(20, steps_per_epoch=5)


def plan(groups: dict[str, GroupPlan] | None = None, **fields: Any) -> Plan:
    optimizer = OptimizerPlan(name="torch.optim.SGD", lr=0.25)
    return Plan(optimizer=optimizer, schedule=MAIN, horizon=HORIZON, groups=groups or {}, **fields)


def sgd(*names: str | None, **options: Any) -> Optimizer:
    groups: list[dict[str, Any]] = [{"params": [nn.Parameter(torch.ones(1))]} for _ in names]
    for group, name in zip(groups, names, strict=True):
        if name is not None:
            group["name"] = name
    return SGD(groups, **{"lr": 9.0, **options})


def lrs(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("name", [None, "model"])
def test_the_only_group_gets_the_plans_lr(name: str | None) -> None:
    optimizer = sgd(name)
    optimizer.param_groups[0]["initial_lr"] = 7.0
    scheduler = Scheduler.from_plan(plan(floor=1e-3), optimizer, horizon=HORIZON)
    assert isinstance(scheduler, Scheduler)
    assert scheduler.base_lrs == [0.25] == [optimizer.param_groups[0]["initial_lr"]]
    for t in range(20):
        assert lrs(optimizer) == [max(0.25 * MAIN.over(20)(t), 1e-3)]
        optimizer.step()


def test_groups_get_their_own_lr_and_schedule_by_name() -> None:
    groups = {"head": GroupPlan(lr=0.5, schedule=OWN), "body": GroupPlan(lr=0.125)}
    optimizer = sgd("body", None, "head")
    scheduler = Scheduler.from_plan(plan(groups), optimizer)
    assert scheduler.base_lrs == [0.125, 0.25, 0.5]
    for t in range(20):
        main = MAIN.over(20)(t)
        assert lrs(optimizer) == [0.125 * main, 0.25 * main, 0.5 * OWN.over(20)(t)]
        optimizer.step()


def test_tensor_lrs_are_overwritten_in_place() -> None:
    tensor = torch.tensor(9.0, dtype=torch.float64)
    optimizer = sgd(None, lr=tensor)
    Scheduler.from_plan(plan(), optimizer)
    assert optimizer.param_groups[0]["lr"] is tensor
    assert tensor.item() == 0.25 * MAIN.over(20)(0)


@pytest.mark.parametrize(
    ("names", "groups", "words"),
    [
        ((None, None), {}, "the optimizer's 'group 0', 'group 1'"),
        (("body", "head"), {}, "the optimizer's 'body', 'head'"),
        (("body", "hed"), {"body": 1.0, "head": 1.0}, "the optimizer's 'hed'; the plan's 'head'"),
        ((None,), {"head": 1.0}, "the plan's 'head'"),
    ],
)
def test_groups_without_a_match_are_an_error_that_offers_to_keep_them(
    names: tuple[str | None, ...], groups: dict[str, float], words: str
) -> None:
    made = plan({name: GroupPlan(lr=lr) for name, lr in groups.items()})
    optimizer = sgd(*names)
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(PlanError, match=words) as caught:
        Scheduler.from_plan(made, optimizer)
    assert "unmatched='keep'" in str(caught.value)
    assert [dict(group) for group in optimizer.param_groups] == before

    scheduler = Scheduler.from_plan(made, optimizer, unmatched="keep")
    expected = {None: 0.25 if names == (None,) else 9.0, **groups}
    assert scheduler.base_lrs == [expected.get(name, 9.0) for name in names]


@pytest.mark.parametrize("horizon", [Horizon(21), Horizon(20, steps_per_epoch=4)])
def test_another_horizon_is_an_error_that_offers_a_way(horizon: Horizon) -> None:
    optimizer = sgd(None)
    with pytest.raises(PlanError, match=r"this run \d+: leave horizon= out.*dataclasses\.replace"):
        Scheduler.from_plan(plan(), optimizer, horizon=horizon)
    assert lrs(optimizer) == [9.0]
    Scheduler.from_plan(plan(), optimizer, horizon=Horizon(20, batch_size=8))  # says no more than the plan


def test_options_of_a_group_must_be_those_of_the_plan() -> None:
    made = plan({"head": GroupPlan(lr=0.5, options={"weight_decay": 0.1, "betas": [0.9, 0.95]})})

    def adamw(**options: Any) -> Optimizer:
        return AdamW([{"params": [nn.Parameter(torch.ones(1))], "name": "head"}], **options)

    with pytest.raises(PlanError, match=r"group 'head' has weight_decay=0\.01, the plan says 0\.1"):
        Scheduler.from_plan(made, adamw(betas=(0.9, 0.95)))
    Scheduler.from_plan(made, adamw(betas=(0.9, 0.95), weight_decay=0.1))
    Scheduler.from_plan(made, adamw(), unmatched="keep")


def test_where_it_raises_the_groups_are_as_they_were() -> None:
    made = plan({"head": GroupPlan(lr=0.5)}, floor=0.1)
    optimizer = sgd("head", "small", "seen")
    optimizer.param_groups[1]["lr"] = 0.01
    optimizer.param_groups[2]["initial_lr"] = 3.0
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(SpecError, match=r"floor=0\.1 lies above the base lr 0\.01 of 'small'"):
        Scheduler.from_plan(made, optimizer, unmatched="keep")
    assert [dict(group) for group in optimizer.param_groups] == before


def test_a_misspelt_policy_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'keep'"):
        Scheduler.from_plan(plan(), sgd(None), unmatched="kep")  # type: ignore[arg-type]


def test_a_plans_controllers_multiply_its_lrs() -> None:
    optimizer = sgd(None)
    scheduler = Scheduler.from_plan(plan(control=["plateau(patience=0)"]), optimizer)
    before = scheduler.get_last_lr()
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    assert lrs(optimizer) == scheduler.get_last_lr() == [before[0] * 0.1]
