"""Parameter groups keep their ratios, or one is swept alone; attached schedulers see nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lrkit.errors import TaskError
from lrkit.range_test import find_lr

# Beside the optimizers: what an optimizer holds itself is put back after a sweep.
RATES: dict[torch.optim.Optimizer, list[list[float]]] = {}


class Recording(torch.optim.SGD):
    """Notes the rates of every update."""

    def __init__(self, groups) -> None:
        super().__init__(groups)
        RATES[self] = []

    def step(self, closure=None):
        RATES[self].append([float(group["lr"]) for group in self.param_groups])
        return super().step(closure)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))


def groups_of(model, body=0.01, head=0.1):
    return [
        {"params": model[0].parameters(), "lr": body, "name": "body"},
        {"params": model[2].parameters(), "lr": head, "name": "head"},
    ]


BATCHES = [torch.randn(64, 4, generator=torch.Generator().manual_seed(i)) for i in range(20)]


def loss(model, batch):
    return (model(batch) - batch.sum(1, keepdim=True)).square().mean()


def swept(model, optimizer, **options):
    options = {"low": 1e-5, "high": 1.0, "steps": 60, "repeats": 1, **options}
    return find_lr(model=model, optimizer=optimizer, loss=loss, train=BATCHES, **options)


def test_all_groups_rise_together_and_keep_their_ratio():
    model = net()
    optimizer = Recording(groups_of(model))
    result = swept(model, optimizer)
    rates = np.array(RATES[optimizer])
    np.testing.assert_allclose(rates[:, 0], result.lrs[: len(rates)])
    np.testing.assert_allclose(rates[:, 1], 10 * result.lrs[: len(rates)])
    np.testing.assert_allclose(result.group_lrs["body"], result.lrs)
    np.testing.assert_allclose(result.group_lrs["head"], 10 * result.lrs)


def test_one_group_is_swept_alone_while_the_others_stand_still():
    model = net()
    optimizer = Recording(groups_of(model))
    result = swept(model, optimizer, group="head")
    rates = np.array(RATES[optimizer])
    np.testing.assert_allclose(rates[:, 0], 0.01)
    np.testing.assert_allclose(rates[:, 1], result.lrs[: len(rates)])
    assert result.group == "head"
    np.testing.assert_allclose(result.group_lrs["body"], 0.01)


def test_an_unknown_group_is_refused_with_the_nearest_name():
    model = net()
    with pytest.raises(TaskError, match="did you mean 'head'"):
        swept(model, Recording(groups_of(model)), group="haed")


def test_groups_without_names_are_called_by_their_place():
    model = net()
    groups = [{k: v for k, v in group.items() if k != "name"} for group in groups_of(model)]
    assert list(swept(model, Recording(groups)).group_lrs) == ["group 0", "group 1"]


def test_a_group_at_rate_zero_stays_there_and_the_first_other_is_the_measure():
    model = net()
    optimizer = Recording(groups_of(model, body=0.0))
    result = swept(model, optimizer)
    rates = np.array(RATES[optimizer])
    assert (rates[:, 0] == 0).all()
    np.testing.assert_allclose(rates[:, 1], result.lrs[: len(rates)])


def test_groups_that_all_stand_at_zero_have_no_ratio():
    model = net()
    with pytest.raises(TaskError, match="lr 0"):
        swept(model, Recording(groups_of(model, body=0.0, head=0.0)))


def test_a_single_group_may_stand_at_zero():
    model = net()
    optimizer = Recording(model.parameters())
    optimizer.param_groups[0]["lr"] = 0.0
    assert swept(model, optimizer).steps >= 40
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_tensor_rates_are_written_in_place_and_put_back():
    model = net()
    rate = torch.tensor(0.01)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    held = optimizer.param_groups[0]["lr"]
    swept(model, optimizer)
    assert optimizer.param_groups[0]["lr"] is held
    assert held.item() == pytest.approx(0.01)


def test_a_schedule_that_stands_at_zero_keeps_the_base_ratios_and_goes_on_as_before():
    model = net()
    optimizer = Recording(groups_of(model))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    before = scheduler.state_dict()
    result = swept(model, optimizer)
    np.testing.assert_allclose(result.group_lrs["head"], 10 * result.lrs)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    assert scheduler.state_dict() == before


def test_a_scheduler_of_lrkit_counts_no_update_of_the_sweep():
    from lrkit.optim import Scheduler

    model = net()
    optimizer = torch.optim.SGD(groups_of(model))
    scheduler = Scheduler(optimizer, "warmup(5) >> cosine(to=0)", 20)
    for batch in BATCHES[:3]:
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    before, rates = scheduler.state_dict(), scheduler.get_last_lr()
    result = swept(model, optimizer)
    np.testing.assert_allclose(result.group_lrs["head"], 10 * result.lrs)
    assert scheduler.state_dict() == before
    assert scheduler.get_last_lr() == rates
    assert [group["lr"] for group in optimizer.param_groups] == rates
    optimizer.step()
    assert scheduler.done == 4


def test_an_optimizer_that_needs_a_closure_is_refused():
    model = net()
    with pytest.raises(TaskError, match="closure"):
        swept(model, torch.optim.LBFGS(model.parameters()))
