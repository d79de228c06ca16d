"""What a space's names do to a task and its plan: seen in the optimizer and the batches that come of it."""

import functools
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

import lrkit
from lrkit.errors import SpecError
from lrkit.plan import GroupPlan
from lrkit.search.setting import apply_values, check_space, corners
from lrkit.search.space import Space
from lrkit.training import Run, default_plan
from lrkit.training.build import planned_optimizer
from toys import blobs, small_net, toy_task


def built(task, plan):
    return planned_optimizer(task, plan.optimizer, small_net())


def changed(values, *, schedule=None, **parts):
    task = toy_task(**parts)
    return apply_values(task, default_plan(task, schedule=schedule), tuple(values.items()))


def decay_split(model, lr):
    """What users write: no decay of biases and norms."""
    flat = [p for p in model.parameters() if p.ndim < 2]
    deep = [p for p in model.parameters() if p.ndim >= 2]
    return torch.optim.AdamW([{"params": deep}, {"params": flat, "weight_decay": 0.0}], lr=lr)


def plain_sgd(model, lr):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


class OwnSGD(torch.optim.SGD):
    """No class of torch's: the plan calls it the task's own."""


class Picky(torch.optim.AdamW):
    """Refuses what each parameter alone may be."""

    def __init__(self, params, lr=1e-3, eps=1e-8, weight_decay=0.01):
        if eps == weight_decay == 1.0:
            raise ValueError("both are 1")
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay)


SCHEDULES = [
    "one_cycle",
    "cosine(to=0)",
    "wsd",
    "hold(20 steps) >> linear(to=0)",
    "warmup(5%) >> linear(95%, to=0)",
]


def test_no_values_change_nothing():
    task = toy_task()
    plan = default_plan(task)
    assert apply_values(task, plan, ()) == (task, plan)


@pytest.mark.parametrize(
    ("optimizer", "name", "value", "key", "seen"),
    [
        (torch.optim.AdamW, "weight_decay", 0.3, "weight_decay", 0.3),
        (torch.optim.AdamW, "momentum", 0.8, "betas", (0.8, 0.999)),
        (functools.partial(torch.optim.Adam, betas=(0.9, 0.95)), "momentum", 0.8, "betas", (0.8, 0.95)),
        (torch.optim.Adam, "beta2", 0.9, "betas", (0.9, 0.9)),
        (torch.optim.Adam, "eps", 1e-5, "eps", 1e-5),
        (torch.optim.SGD, "momentum", 0.7, "momentum", 0.7),
        (torch.optim.RMSprop, "alpha", 0.5, "alpha", 0.5),
        (OwnSGD, "momentum", 0.7, "momentum", 0.7),
        (functools.partial(OwnSGD, nesterov=True, momentum=0.9), "momentum", 0.7, "momentum", 0.7),
        (plain_sgd, "momentum", 0.7, "momentum", 0.7),
        (plain_sgd, "weight_decay", 0.01, "weight_decay", 0.01),
        (decay_split, "momentum", 0.7, "betas", (0.7, 0.999)),
    ],
)
def test_an_option_reaches_every_group_of_the_optimizer(optimizer, name, value, key, seen):
    task, plan = changed({name: value}, optimizer=optimizer)
    assert {group[key] for group in built(task, plan).param_groups} == {seen}
    assert built(task, plan.with_lr(0.25)).param_groups[0]["lr"] == 0.25
    task, plan = pickle.loads(pickle.dumps((task.optimizer, plan)))  # noqa: S301  # our own bytes: workers get them so


def test_groups_without_weight_decay_stay_without_it():
    task, plan = changed({"weight_decay": 0.3}, optimizer=decay_split)
    assert [group["weight_decay"] for group in built(task, plan).param_groups] == [0.3, 0.0]


def test_a_group_of_the_plan_with_an_option_of_its_own_keeps_it():
    task = toy_task()
    plan = default_plan(task)
    group = GroupPlan(lr=plan.lr, options={"weight_decay": 0.0})
    with_group = apply_values(
        task,
        lrkit.Plan(
            optimizer=plan.optimizer, schedule=plan.schedule, horizon=plan.horizon, groups={"flat": group}
        ),
        (("weight_decay", 0.5),),
    )[1]
    assert with_group.groups["flat"] == group
    assert with_group.optimizer.options["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("schedule", "percent", "becomes"),
    [
        ("warmup(5%) >> cosine(to=0)", 12.5, "warmup(12.5%) >> cosine(to=0)"),
        (
            "warmup(5%, kind=cosine) >> hold() >> linear(20%, to=0)",
            10,
            "warmup(10%, kind=cosine) >> hold() >> linear(20%, to=0)",
        ),
        ("cosine(to=0)", 10, "warmup(10%) >> cosine(to=0)"),
        ("warmup(5%) >> cosine(to=0)", 0, "cosine(to=0)"),
        ("cosine(to=0)", 0, "cosine(to=0)"),
        ("warmup(5%) >> cosine(to=0)", 2, "cosine(to=0)"),
        ("warmup(5%) >> cosine(to=0)", 2.1, "warmup(2.1%) >> cosine(to=0)"),
        ("(warmup(2) >> hold()).after(continue)", 10, "(warmup(10%) >> hold()).after(continue)"),
    ],
)
def test_a_warmup_takes_the_place_of_the_one_that_is_there(schedule, percent, becomes):
    _, plan = changed({"warmup": percent}, schedule=schedule)
    assert str(plan.schedule) == becomes
    plan.schedule.over(plan.horizon)  # without a warning: 2 % of 24 updates are none


def test_the_warmup_goes_before_the_schedule_of_the_same_trial():
    values = {"schedule": "hold() & plateau(patience=2)", "warmup": 25}
    for order in (values, dict(reversed(values.items()))):
        _, plan = changed(order)
        assert str(plan.schedule) == "warmup(25%) >> hold()"
        assert plan.control == ("plateau(patience=2)",)
    _, plan = changed({"schedule": "cosine(to=0)"}, schedule="hold() & plateau()")
    assert plan.control == ()


@pytest.mark.parametrize("factory", [False, True])
def test_another_batch_size_trains_as_many_epochs(factory):
    loader = DataLoader(blobs(), batch_size=8, shuffle=True)
    for size, steps in [(4, 48), (8, 24), (16, 12), (20, 10)]:
        task, plan = changed(
            {"batch_size": size},
            train=(lambda seed: loader) if factory else loader,
            validation=DataLoader(blobs(24, seed=9), batch_size=24),
            final_train=loader,
        )
        assert (plan.horizon.steps, plan.horizon.batch_size) == (steps, size)
        run = Run(task, plan, seed=0, data="search")
        run.advance(plan.horizon.steps)
        assert len(run.losses) == steps
        shapes = [len(batch[0]) for batch in (task.train(0) if factory else task.train)]
        assert shapes[0] == size
        assert sum(shapes) == 96
        assert task.final_train.batch_size == size


def test_a_held_out_part_stays_the_same_whatever_the_batch_size():
    from lrkit.training.data import search_split

    task, _ = changed({"batch_size": 4})
    assert (
        search_split(task).validation.dataset.indices == search_split(toy_task()).validation.dataset.indices
    )


def test_a_length_that_is_no_whole_number_of_epochs_keeps_its_samples():
    _, plan = changed({"batch_size": 16}, steps=15)
    assert plan.horizon.steps == round(15 * 5 / 10)


@pytest.mark.parametrize(
    ("values", "parts", "told"),
    [
        ({"weigth_decay": 0.1}, {}, "weigth_decay = 0.1: .*AdamW.*did you mean 'weight_decay'"),
        ({"momentun": 0.1}, {"optimizer": OwnSGD}, "OwnSGD.*did you mean 'momentum'"),
        ({"momentum": 0.1}, {"optimizer": torch.optim.Adagrad}, "neither lrkit nor Adagrad"),
        ({"nesterov": 1}, {"optimizer": torch.optim.SGD}, "neither lrkit nor SGD"),
        ({"bach_size": 1}, {}, "did you mean 'batch_size'"),
        ({"weight_decay": "much"}, {}, "takes numbers"),
        ({"warmup": 101}, {}, "from 0 to 100"),
        ({"warmup": "5%"}, {}, "takes numbers"),
        ({"batch_size": 2.5}, {}, "whole numbers from 1"),
        (
            {"batch_size": 8},
            {"train": list(DataLoader(blobs(), batch_size=8)), "validation": [1]},
            "map-style",
        ),
        (
            {"batch_size": 200},
            {"train": DataLoader(blobs(), batch_size=8, drop_last=True)},
            "drops incomplete batches",
        ),
        ({"schedule": "cosin(to=0)"}, {}, "did you mean 'cosine'"),
        ({"schedule": 3}, {}, "schedule = 3"),
    ],
)
def test_what_cannot_be_set_is_told(values, parts, told):
    with pytest.raises(SpecError, match=told):
        changed(values, **parts)


def test_own_batches_have_their_size():
    loader = DataLoader(blobs(), batch_sampler=_Own(SequentialSampler(blobs()), 8, drop_last=False))
    with pytest.raises(SpecError, match="_Own makes the batches"):
        changed({"batch_size": 4}, train=loader, validation=loader)


class _Own(BatchSampler):
    pass


@pytest.mark.parametrize(
    "schedule", ["one_cycle()", "slanted_triangle", "warmup(100%)", "warmup(5%) >> linear(95%, to=0)"]
)
def test_a_schedule_that_leaves_no_room_for_a_warmup_is_told(schedule):
    with pytest.raises(SpecError, match="warmup = 20"):
        changed({"warmup": 20}, schedule=schedule)


@pytest.mark.parametrize(
    ("space", "parts", "told"),
    [
        ({"weight_decay": "-1..1"}, {}, r"weight_decay = -1.0: .*weight_decay"),
        ({"momentum": "0.5..1"}, {}, r"momentum = 1.0: .*[Ii]nvalid beta"),
        (
            {"momentum": "0..0.9"},
            {"optimizer": functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True)},
            "momentum = 0.0",
        ),
        ({"momentun": "0.5..0.9"}, {"optimizer": plain_sgd}, "SGD.*did you mean 'momentum'"),
        ({"schedule": ["cosine(to=0)", "cosinus"]}, {}, "schedule = cosinus"),
        ({"warmup": "0..100"}, {"schedule": "warmup(5%) >> linear(95%, to=0)"}, "warmup = 0.0: .*95%"),
    ],
)
def test_a_space_is_tried_at_its_ends_before_anything_is_trained(space, parts, told):
    before = torch.get_rng_state()
    task = toy_task(**{key: part for key, part in parts.items() if key != "schedule"})
    plan = default_plan(task, schedule=parts.get("schedule"))
    with pytest.raises(SpecError, match=told):
        check_space(task, plan, Space(space))
    assert torch.equal(before, torch.get_rng_state())


def test_a_space_that_can_be_had_passes():
    task = toy_task()
    check_space(
        task,
        default_plan(task),
        Space(
            {
                "weight_decay": "1e-4..1:log",
                "momentum": [0.0, 0.9],
                "warmup": "0..20",
                "batch_size": [4, 64],
                "schedule": ["wsd", "cosine(to=0)"],
                "eps": "1e-9..1e-6:log",
            }
        ),
    )


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (
            {"schedule": ["one_cycle", "cosine(to=0)"], "warmup": "1..20"},
            r"^with schedule = one_cycle, warmup = 1\.0: .* rises by itself",
        ),
        (
            {
                "batch_size": [4, 64],
                "schedule": ["hold(20 steps) >> linear(to=0)", "wsd"],
                "weight_decay": "0..1",
            },
            r"^with batch_size = 64, schedule = hold\(20 steps\) >> linear\(to=0\): .* 20 steps of 5",
        ),
        ({"eps": "0..1", "weight_decay": "0..1"}, r"^with eps = 1\.0, weight_decay = 1\.0: both are 1"),
    ],
)
def test_values_that_do_not_go_together_are_named_before_anything_is_trained(space, told):
    task = toy_task(optimizer=Picky)
    with pytest.raises(SpecError, match=told):
        check_space(task, default_plan(task), Space(space))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(SCHEDULES), min_size=2, max_size=4, unique=True),
    st.sampled_from(["0..10", "5..20", "0..100"]),
    st.sampled_from([(4, 8), (8, 64)]),
)
def test_a_space_passes_exactly_where_each_of_its_corners_can_be_had(schedules, rise, sizes):
    task = toy_task()
    plan = default_plan(task)
    space = Space({"schedule": schedules, "warmup": rise, "batch_size": list(sizes)})
    each = list(corners(space, space))
    assert len(each) == len(set(each)) == len(schedules) * 4
    assert succeeds(lambda: check_space(task, plan, space)) == all(
        succeeds(lambda values=values: apply_values(task, plan, values)) for values in each
    )


def test_of_more_than_4096_combinations_only_the_pairs_are_tried():
    builds = []

    def counted(model, lr):
        builds.append(lr)
        return torch.optim.AdamW(model.parameters(), lr=lr)

    task = toy_task(optimizer=counted)
    seventeen = [i / 20 for i in range(17)]
    check_space(
        task, default_plan(task), Space(dict.fromkeys(("weight_decay", "momentum", "beta2"), seventeen))
    )
    assert len(builds) == 3 * 17 + 3 * 17**2


def succeeds(call) -> bool:
    try:
        call()
    except SpecError:
        return False
    return True
