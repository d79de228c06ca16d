"""Changing one's mind during a run: stated policies, no jump unless asked for, and a state that knows it all."""

from __future__ import annotations

import copy
import io
import itertools
import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from lrkit.control import plateau
from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError, StateError
from lrkit.optim import Scheduler
from lrkit.schedule import from_function, linear
from lrkit.spec import parse

WSD = "warmup(10%) >> hold() >> linear(20%, to=0)"
COSINE = "warmup(10%) >> cosine(to=0)"


def sgd(*lrs: float) -> SGD:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs or (0.5,)]
    return SGD(groups, weight_decay=0.1)


def rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def updates(optimizer: Optimizer, n: int) -> list[float]:
    """The first group's lr in each of `n` updates."""
    found = []
    for _ in range(n):
        found.append(rates(optimizer)[0])
        optimizer.step()
    return found


@pytest.mark.parametrize("how", ["stretch", "hold", "continue", "again"])
@pytest.mark.parametrize("spec", [WSD, COSINE, "linear(to=0)"])
def test_a_longer_run_goes_on_without_a_jump_and_as_the_curve_says(spec: str, how: Any) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, spec, 100)
    curve = parse(spec).over(100)
    seen = updates(optimizer, 85)
    before = rates(optimizer)
    scheduler.extend(200, how=how)
    longer = curve.extend(200, at=85, how=how)
    assert scheduler.horizon == Horizon(200)
    if how != "again":
        assert rates(optimizer) == before
    assert abs(rates(optimizer)[0] - before[0]) <= 0.5 * 0.1  # a warmup anew begins a step above the level
    seen += updates(optimizer, 115)
    assert seen == [0.5 * longer(t) for t in range(200)]


def test_the_warning_past_the_end_names_the_way_and_the_way_works() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "linear(to=0.1)", 10)
    updates(optimizer, 10)
    with pytest.warns(UserWarning, match=r"planned 10 updates, now 11 are done: .*extend\(\) the run"):
        optimizer.step()
    scheduler.extend(20, how="again")
    assert rates(optimizer)[0] == pytest.approx(0.05)
    assert updates(optimizer, 9)[0] == pytest.approx(0.05)
    assert scheduler.done == 20


def test_the_longer_run_may_be_announced_before_it_begins() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WSD, 100)
    updates(optimizer, 10)
    scheduler.extend(150, how="hold", at=50)
    longer = parse(WSD).over(100).extend(150, at=50, how="hold")
    assert updates(optimizer, 140) == [0.5 * longer(t) for t in range(10, 150)]


def test_decay_now_ends_a_stable_run_early() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "warmup(100) >> hold()", 10_000)
    updates(optimizer, 900)
    scheduler.decay_now("10%")
    assert scheduler.horizon.steps == 1000
    direct = parse("warmup(100) >> hold(800) >> one_minus_sqrt(100, to=0)").over(1000)
    assert updates(optimizer, 100) == [0.5 * direct(t) for t in range(900, 1000)]
    assert rates(optimizer) == [0.0]


def test_one_trunk_many_branches() -> None:
    """The trunk's checkpoint is loaded into a Scheduler built like the trunk's; each branch then cools down."""
    trunk_optimizer = sgd()
    trunk = Scheduler(trunk_optimizer, "warmup(10) >> hold()", 1000)
    updates(trunk_optimizer, 60)
    saved = trunk.state_dict()
    for share, steps in [("40%", 100), (15, 75)]:
        optimizer = sgd()
        branch = Scheduler(optimizer, "warmup(10) >> hold()", 1000)
        branch.load_state_dict(saved)
        branch.decay_now(share, "linear(to=0.1)")
        assert branch.horizon.steps == steps
        assert updates(optimizer, steps - 60)[0] == 0.5
        assert rates(optimizer)[0] == pytest.approx(0.05)
    assert updates(trunk_optimizer, 100) == [0.5] * 100


def test_replace_takes_over_at_the_level_of_the_moment() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "linear(to=0)", 100)
    updates(optimizer, 40)
    scheduler.replace("cosine(to=0.1)")
    assert rates(optimizer) == [0.5 * 0.6]
    scheduler.replace("hold(level=2)", at=70)  # a jump, because it says so
    curve = (
        linear(to=0).over(100).replace(parse("cosine(to=0.1)"), at=40).replace(parse("hold(level=2)"), at=70)
    )
    assert updates(optimizer, 60) == [0.5 * curve(t) for t in range(40, 100)]


def test_what_is_not_replaced_goes_on() -> None:
    optimizer = SGD(
        [{"params": [nn.Parameter(torch.ones(1))], "name": name} for name in ("body", "head")],
        lr=1.0,
        weight_decay=0.1,
    )
    schedules = {"lr": "linear(to=0)", "lr@head": "hold()", "weight_decay": "linear(to=0)"}
    scheduler = Scheduler(optimizer, schedules, 10)
    updates(optimizer, 5)
    scheduler.replace({"lr": "hold()"}, horizon=20)
    updates(optimizer, 10)
    assert rates(optimizer) == [0.5, 1.0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]


@pytest.mark.parametrize("new", [64, 16, 48])
def test_another_batch_size_keeps_the_place_in_the_data(new: int) -> None:
    optimizer = sgd()
    horizon = Horizon(100, batch_size=32, steps_per_epoch=10)
    scheduler = Scheduler(optimizer, "warmup(320 samples) >> linear(to=0)", horizon)
    updates(optimizer, 40)
    before = rates(optimizer)
    scheduler.rebatch(new)
    assert rates(optimizer) == before
    left = 60 * 32 / new
    for k in range(scheduler.horizon.steps - 40):
        assert rates(optimizer)[0] == pytest.approx(before[0] * (1 - k / left), rel=1e-12)
        optimizer.step()
    assert scheduler.horizon == Horizon(
        40 + round(left), batch_size=new, steps_per_epoch=round(10 * 32 / new)
    )
    with pytest.raises(HorizonError, match=r"Horizon\(batch_size=...\)"):
        Scheduler(sgd(), WSD, 100).rebatch(64)


def test_another_base_lr_survives_steps_saves_and_loads() -> None:
    optimizer = sgd(0.5, 0.1)
    scheduler = Scheduler(optimizer, COSINE, 100)
    updates(optimizer, 30)
    factor = parse(COSINE).over(100)
    scheduler.rescale(0.1)
    assert rates(optimizer) == pytest.approx([0.05 * factor(30), 0.01 * factor(30)])
    scheduler.rebase({"group 1": 0.3})
    assert scheduler.base_lrs == pytest.approx([0.05, 0.3])
    other = sgd(9.0, 9.0)
    resumed = Scheduler(other, COSINE, 100)
    resumed.load_state_dict(scheduler.state_dict())
    other.load_state_dict(optimizer.state_dict())
    assert rates(other) == rates(optimizer)
    assert updates(other, 5) == updates(optimizer, 5)
    resumed.rebase(3e-3)
    assert resumed.base_lrs == [3e-3, 3e-3]
    assert rates(other) == [3e-3 * factor(35)] * 2


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (0.0, "rescale.. takes a finite number above 0, not 0.0"),
        (-1, "not -1"),
        (float("nan"), "not nan"),
        (True, "not True"),
        ({"group 7": 2.0}, "no group is named 'group 7'; did you mean 'group 0'"),
    ],
)
def test_a_base_lr_that_is_none_is_refused(given: Any, match: str) -> None:
    scheduler = Scheduler(sgd(), COSINE, 100)
    with pytest.raises(SpecError, match=match):
        scheduler.rescale(given)
    floored = Scheduler(sgd(), COSINE, 100, floor=0.1)
    before = floored.state_dict()
    with pytest.raises(SpecError, match=r"floor=0.1 lies above the base lr 0.05"):
        floored.rescale(0.1)
    assert floored.state_dict() == before
    with pytest.raises(SpecError, match="the lr has no schedule here"):
        Scheduler(sgd(), {"weight_decay": "hold()"}, 10).rebase(0.1)


CHANGES: dict[str, Callable[[Scheduler], None]] = {
    "extend": lambda s: s.extend(30, how="stretch"),
    "hold": lambda s: s.extend(30, how="hold"),
    "again": lambda s: s.extend(30, how="again"),
    "replace": lambda s: s.replace("one_minus_sqrt(to=0.1)", horizon=25),
    "decay": lambda s: s.decay_now(5),
    "rebatch": lambda s: s.rebatch(48),
    "rescale": lambda s: s.rescale(0.5),
    "later": lambda s: s.replace("hold()", at=15),
}
ORDERS = [
    order
    for order in itertools.permutations(["build", "optimizer", "scheduler"])
    if order.index("build") < order.index("scheduler")
]


@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("k", [8, 9, 13, 20])
def test_a_state_made_after_a_change_loads_into_the_scheduler_as_it_was_built(
    order: tuple[str, ...], change: str, k: int
) -> None:
    def make() -> tuple[nn.Linear, AdamW]:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        return model, AdamW([{"params": [p], "lr": 0.1} for p in model.parameters()])

    def train(model: nn.Linear, optimizer: AdamW, steps: int) -> list[list[float]]:
        lrs = []
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().sum().backward()
            lrs.append(rates(optimizer))
            optimizer.step()
        return lrs

    horizon = Horizon(20, batch_size=32)
    model, optimizer = make()
    scheduler = Scheduler(optimizer, COSINE, horizon, control=[plateau(patience=0, factor=0.5)])
    train(model, optimizer, 8)
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    CHANGES[change](scheduler)
    end = min(k, scheduler.horizon.steps)
    train(model, optimizer, end - 8)
    file = io.BytesIO()
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    rest = train(model, optimizer, scheduler.horizon.steps - end)

    again, other = make()
    resumed: Any = None
    for act in order:
        if act == "build":
            resumed = Scheduler(other, COSINE, horizon, control=[plateau(patience=0, factor=0.5)])
        elif act == "optimizer":
            other.load_state_dict(saved["optimizer"])
        else:
            resumed.load_state_dict(json.loads(json.dumps(saved["scheduler"])))
    again.load_state_dict(saved["model"])
    assert resumed.horizon == scheduler.horizon
    assert train(again, other, scheduler.horizon.steps - end) == rest
    for mine, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert resumed.state_dict() == scheduler.state_dict()


def test_a_change_made_before_loading_an_unchanged_state_is_not_lost_in_silence() -> None:
    saved = Scheduler(sgd(), COSINE, 100).state_dict()
    scheduler = Scheduler(sgd(), COSINE, 100)
    scheduler.extend(200, how="stretch")
    before = scheduler.state_dict()
    with pytest.raises(
        StateError, match=r"changed at step 0 \(stretch\), and the saved one was not: load first"
    ):
        scheduler.load_state_dict(saved)
    assert scheduler.state_dict() == before
    scheduler.load_state_dict(before)  # its own is fine


def test_a_function_that_came_later_must_come_again_before_the_state() -> None:
    half = from_function(lambda step: 0.5)
    optimizer = sgd()
    scheduler = Scheduler(optimizer, COSINE, 100)
    scheduler.replace(half)
    state = scheduler.state_dict()
    other = sgd()
    resumed = Scheduler(other, COSINE, 100)
    with pytest.raises(
        StateError, match=r"brought a Python function, which no state holds: make the same replace"
    ):
        resumed.load_state_dict(state)
    resumed.replace(half)
    resumed.load_state_dict(state)
    assert rates(other) == [0.25]
    assert copy.deepcopy(scheduler).state_dict() == state


@pytest.mark.parametrize(
    "history",
    [
        "x",
        [1],
        [{}],
        [{"at": 3, "how": "stretch", "horizon": {"steps": 2}, "schedule": {}}],
        [{"at": 3, "how": "bend", "horizon": {"steps": 200}, "schedule": {}}],
        [{"at": 3, "how": "hold", "horizon": {"weeks": 2}, "schedule": {}}],
        [{"at": 3, "how": "continue", "horizon": {"steps": 200}, "schedule": {"lr": "cosin()"}}],
    ],
)
def test_a_damaged_history_is_refused_and_nothing_changes(history: Any) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, COSINE, 100)
    updates(optimizer, 5)
    before = scheduler.state_dict(), rates(optimizer)
    with pytest.raises(StateError, match="it is damaged") as caught:
        scheduler.load_state_dict({**before[0], "history": history})
    assert "\n" not in str(caught.value)
    assert (scheduler.state_dict(), rates(optimizer)) == before


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda s: s.extend(200, how="longer"), SpecError, "how= cannot be 'longer'"),
        (lambda s: s.extend(200, how="hold", at=3), HorizonError, "at=3: 10 updates are done"),
        (lambda s: s.extend(10, how="stretch"), HorizonError, "would end after 10 steps and 10 are done"),
        (lambda s: s.replace("cosin(to=0)"), SpecError, "did you mean 'cosine'"),
        (
            lambda s: s.replace({"weight_decay": "hold()"}),
            SpecError,
            "'weight_decay' has no schedule that could",
        ),
        (lambda s: s.replace("hold() & plateau()"), SpecError, "controllers stay as they are"),
        (lambda s: s.replace("linear(5, to=0)"), HorizonError, "5 steps of 90 steps"),
        (lambda s: s.decay_now("100%"), HorizonError, "100%"),
        (lambda s: s.decay_now("1 epoch"), HorizonError, "steps_per_epoch"),
        (lambda s: s.rebatch(0), HorizonError, "batch_size=0"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_changes(
    change: Callable[[Scheduler], None], error: type[Exception], match: str
) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, COSINE, Horizon(100, batch_size=8))
    updates(optimizer, 10)
    before = scheduler.state_dict(), rates(optimizer)
    with pytest.raises(error, match=match) as caught:
        change(scheduler)
    assert "\n" not in str(caught.value)
    assert (scheduler.state_dict(), rates(optimizer)) == before
    curve = parse(COSINE).over(100)
    assert updates(optimizer, 90) == [0.5 * curve(t) for t in range(10, 100)]


def test_a_plan_for_later_bars_the_way_to_what_is_before_it() -> None:
    scheduler = Scheduler(sgd(), COSINE, 100)
    scheduler.extend(150, how="hold", at=50)
    with pytest.raises(SpecError, match="a change is planned for step 50 already"):
        scheduler.extend(200, how="hold", at=20)


def test_a_closed_scheduler_cannot_be_changed() -> None:
    scheduler = Scheduler(sgd(), COSINE, 100)
    scheduler.close()
    for change in (lambda: scheduler.extend(200, how="hold"), lambda: scheduler.rescale(2.0)):
        with pytest.raises(StateError, match="closed"):
            change()


def test_schedules_that_refuse_the_end_refuse_the_new_one() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "linear(to=0).after(error)", 10)
    updates(optimizer, 5)
    scheduler.extend(12, how="stretch")
    updates(optimizer, 7)
    with pytest.raises(HorizonError, match="update 13 of a run planned for 12"):
        optimizer.step()


def test_a_state_that_is_too_short_says_what_can_be_done() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, COSINE, 5)
    updates(optimizer, 4)
    longer = Scheduler(sgd(), COSINE, 10)
    with pytest.raises(StateError, match=r"steps was 5 and is 10.*then extend\(\) or replace\(\).*step=4"):
        longer.load_state_dict(scheduler.state_dict())


def test_warnings_of_a_phase_without_steps_come_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer = sgd()
        scheduler = Scheduler(optimizer, "warmup(1%) >> hold()", 20)
        updates(optimizer, 3)
        scheduler.extend(30, how="hold")
        other = Scheduler(sgd(), "warmup(1%) >> hold()", 20)
        other.load_state_dict(scheduler.state_dict())
    told = [str(each.message) for each in caught if "gets none" in str(each.message)]
    assert len(told) == 2  # each Scheduler when it was built


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(1, 7)),
        st.tuples(st.just("observe"), st.sampled_from([0.5, 1.0, 2.0])),
        st.tuples(st.just("extend"), st.sampled_from(["stretch", "hold", "continue", "again"])),
        st.tuples(
            st.just("replace"), st.sampled_from(["cosine(to=0.1)", "hold()", "warmup(20%) >> linear(to=0)"])
        ),
        st.tuples(st.just("decay"), st.integers(2, 9)),
        st.tuples(st.just("rescale"), st.sampled_from([0.5, 2.0])),
        st.tuples(st.just("resume"), st.sampled_from(["state first", "optimizer first"])),
        st.tuples(st.just("join"), st.sampled_from([0.25, 1.0])),
    ),
    max_size=14,
)


@pytest.mark.filterwarnings(
    "ignore:plateau.* was given no metric", "ignore:.*nothing to warm up", "ignore:.*gets none"
)
@pytest.mark.parametrize("clock", ["updates", "calls"])
@given(operations=OPERATIONS)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_the_lr_is_base_times_gain_times_curve(clock: Any, operations: list[Any]) -> None:
    def build(lrs: list[float]) -> tuple[SGD, Scheduler]:
        optimizer = sgd(*lrs)
        return optimizer, Scheduler(
            optimizer, COSINE, 30, clock=clock, control=[plateau(patience=1, factor=0.5, eps=0)]
        )

    bases, gains, curve, done = [0.5], [1.0], parse(COSINE).over(30), 0
    optimizer, scheduler = build(bases)
    for name, value in operations:
        left = curve.steps - done
        if name == "update":
            for _ in range(min(value, left)):
                optimizer.step()
                scheduler.step()
                done += 1
        elif name == "observe":
            (action,) = scheduler.observe(value)
            gains = [gain * factor for gain, factor in zip(gains, action.factors, strict=True)]
        elif name == "extend" and left:
            scheduler.extend(curve.steps + 10, how=value)
            curve = curve.extend(curve.steps + 10, at=done, how=value)
        elif name == "replace" and left:
            scheduler.replace(value)
            curve = curve.replace(parse(value), at=done)
        elif name == "decay":
            scheduler.decay_now(value, "linear(to=0)")
            curve = curve.decay(linear(to=0), value, at=done)
        elif name == "rescale":
            scheduler.rescale(value)
            bases = [base * value for base in bases]
        elif name == "join" and len(bases) < 3:
            optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": value})
            bases, gains = [*bases, value], [*gains, 1.0]
        elif name == "resume":
            saved, state = optimizer.state_dict(), scheduler.state_dict()
            optimizer, scheduler = build([9.0] * len(bases))
            if value == "optimizer first":
                optimizer.load_state_dict(saved)
            scheduler.load_state_dict(state)
            if value == "state first":
                optimizer.load_state_dict(saved)
            assert scheduler.state_dict() == state
        expected = [base * gain * curve(done) for base, gain in zip(bases, gains, strict=True)]
        assert scheduler.get_last_lr() == pytest.approx(expected, rel=1e-12, abs=0)
        assert rates(optimizer) == scheduler.get_last_lr()
        assert (scheduler.done, scheduler.horizon.steps) == (done, curve.steps)
