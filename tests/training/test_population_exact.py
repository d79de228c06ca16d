"""A member ends where its plain run would: every optimizer of torch that stacks, every kind of layer, to rounding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrkit
from lrkit.plan import GroupPlan
from lrkit.training import MemberPlan, Population, Run, cross
from optimizers import OPTIMIZERS, Lion, double_blobs, plain_net
from toys import small_net, toy_plan, toy_task

LRS = (1e-3, 1e-2, 3e-2)


def assert_members_are_runs(task, members, *, route="eager", steps=20, rel=1e-5, **kwargs):
    population = Population(task, members, route=route, **kwargs)
    population.advance(steps)
    assert population.route.name == route, population.route.reason
    measured = population.evaluate("validation")
    for index, member in enumerate(members):
        run = Run(task, member.plan, seed=member.seed)
        run.advance(steps)
        assert population.losses[index] == pytest.approx(run.losses, rel=100 * rel, abs=1e-6)
        assert measured[index]["validation loss"] == pytest.approx(
            run.evaluate("validation")["validation loss"], rel=100 * rel
        )
        found = population.model(index).state_dict()
        for name, wanted in run.model.state_dict().items():
            off = (found[name] - wanted).abs().max()
            assert off <= rel * wanted.abs().max() + 1e-7, (index, name, float(off))
    return population


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_elementwise_optimizer_of_torch_is_itself_in_a_stack(name):
    task = toy_task(model=lambda: plain_net().double(), optimizer=OPTIMIZERS[name], train=double_blobs())
    assert_members_are_runs(task, cross(toy_plan(task), lrs=LRS), rel=1e-10)


@pytest.mark.parametrize("optimizer", [Lion, type("MyAdamW", (torch.optim.AdamW,), {})])
def test_an_optimizer_of_the_users_own_runs_itself_at_lr_1(optimizer):
    task = toy_task(model=plain_net, optimizer=optimizer)
    assert_members_are_runs(task, cross(toy_plan(task), lrs=LRS))


class SmallTransformer(nn.Module):
    """Embedding tied to the output, attention, LayerNorm."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=dropout, batch_first=True)
        self.out = nn.Linear(16, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        return self.out(self.layer(self.embed(tokens)))


def next_token_loss(model, batch):
    (tokens,) = batch
    return nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def tokens_task(**changes):
    tokens = torch.randint(0, 11, (60, 9), generator=torch.Generator().manual_seed(1))
    parts = {
        "model": SmallTransformer,
        "loss": next_token_loss,
        "train": DataLoader(TensorDataset(tokens), batch_size=8, shuffle=True),
        "test": None,
        "metrics": {},
    }
    return toy_task(**(parts | changes))


def test_attention_embeddings_and_tied_weights():
    task = tokens_task(optimizer=torch.optim.SGD)
    population = assert_members_are_runs(task, cross(toy_plan(task), lrs=LRS[:2]))
    assert population.route.masks == "none"


def test_dropout_on_a_transposed_tensor_draws_masks_of_its_own_and_the_route_says_so():
    """The mask of a transposed tensor is drawn in the order of its memory, and a stack has another one."""
    task = tokens_task(model=lambda: SmallTransformer(dropout=0.1))
    population = Population(task, cross(toy_plan(task), lrs=(1e-3, 1e-3)), route="eager")
    population.advance(10)
    assert population.route.name == "eager", population.route.reason
    assert population.route.masks == "alike"
    assert population.losses[0] == pytest.approx(population.losses[1], rel=1e-5)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 3),
    )


@pytest.mark.parametrize("route", ["eager", "traced"])
def test_batchnorm_statistics_and_dropout_masks_are_those_of_the_plain_run(route):
    task = toy_task(model=convolutional)
    assert_members_are_runs(task, cross(toy_plan(task, clip_norm=0.5), lrs=LRS), route=route, rel=1e-4)


def test_accumulation_and_clipping_member_by_member():
    task = toy_task(model=plain_net)
    assert_members_are_runs(task, cross(toy_plan(task, accumulate=3, clip_norm=0.05), lrs=LRS), steps=8)


def test_bfloat16_under_autocast():
    task = toy_task(model=plain_net, optimizer=torch.optim.SGD)
    plan = toy_plan(task, precision="bfloat16")
    assert_members_are_runs(task, cross(plan, lrs=LRS), rel=3e-3)


def test_frozen_idle_and_foreign_parameters_stay_where_they_are():
    """Frozen, trained by nobody, without gradient: an optimizer leaves all three alone, weight decay included."""

    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.head = nn.Linear(4, 8).requires_grad_(False), nn.Linear(8, 3)
            self.idle, self.nobodys = nn.Linear(2, 2), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.head(self.frozen(x).relu()) + self.nobodys

    def optimizer(model, lr):
        return torch.optim.AdamW(
            [*model.head.parameters(), *model.idle.parameters()], lr=lr, weight_decay=0.5
        )

    task = toy_task(model=Partly, optimizer=optimizer)
    population = assert_members_are_runs(task, cross(toy_plan(task), lrs=LRS))
    assert population.route.idle == ("idle.bias", "idle.weight")


def test_groups_have_their_own_rates_and_schedules():
    def optimizer(model, lr):
        head, body = list(model[2].parameters()), list(model[0].parameters())
        return torch.optim.AdamW(
            [{"params": body, "name": "body", "lr": lr / 10}, {"params": head, "name": "head"}], lr=lr
        )

    task = toy_task(model=plain_net, optimizer=optimizer)
    plan = toy_plan(task)
    assert_members_are_runs(task, cross(plan, lrs=LRS))
    own = {
        "body": GroupPlan(lr=1e-3, schedule=lrkit.parse("hold(50%) >> linear(to=0)")),
        "head": GroupPlan(lr=plan.lr),
    }
    assert_members_are_runs(task, cross(dataclasses.replace(plan, groups=own, floor=1e-5), lrs=LRS))


def test_members_may_differ_in_schedule_and_in_every_number_of_their_optimizer():
    task = toy_task(model=plain_net)
    plan = toy_plan(task)
    schedules = ["linear(to=0)", "warmup(50%) >> hold()", "cosine(to=absolute(1e-5))"]
    members = [
        MemberPlan(
            dataclasses.replace(
                plan.with_lr(lr),
                schedule=lrkit.parse(schedule),
                optimizer=dataclasses.replace(
                    plan.optimizer, lr=lr, options={"weight_decay": decay, "betas": (beta, 0.99)}
                ),
            )
        )
        for schedule, lr, decay, beta in zip(schedules, LRS, (0.0, 0.1, 1.0), (0.9, 0.5, 0.0), strict=True)
    ]
    assert_members_are_runs(task, members)


@pytest.mark.parametrize(("dropout", "mixed"), [(0.0, True), (0.3, False)])
def test_several_seeds_have_weights_batches_and_masks_of_their_own(dropout, mixed):
    """Members of several seeds share a stack only where no random numbers are drawn."""
    task = toy_task(model=lambda: small_net(dropout=dropout), optimizer=torch.optim.SGD)
    members = cross(toy_plan(task), lrs=(1e-2, 1e-1), seeds=(0, 5, 7))
    population = assert_members_are_runs(task, members, rel=1e-4)
    assert population.route.mixed is mixed


def test_blocks_of_one_seed_draw_the_same_masks(monkeypatch):
    from lrkit.training.population import choice

    monkeypatch.setattr(choice, "_largest", lambda setup, mixed: 2)
    task = toy_task(optimizer=torch.optim.SGD)
    assert_members_are_runs(task, cross(toy_plan(task), lrs=np.geomspace(1e-3, 0.1, 5).tolist()), rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # torch's compiler imports what torch has deprecated
@pytest.mark.parametrize("name", ["SGD nesterov", "AdamW amsgrad", "RAdam", "RMSprop centered"])
def test_a_compiled_step_is_the_same_step(name):
    task = toy_task(model=plain_net, optimizer=OPTIMIZERS[name])
    assert_members_are_runs(task, cross(toy_plan(task, clip_norm=1.0), lrs=LRS), route="compiled")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_step_draws_the_masks_of_the_plain_run():
    task = toy_task(model=convolutional)
    assert_members_are_runs(task, cross(toy_plan(task), lrs=LRS), route="compiled", rel=1e-4)
