"""Schedule times control: lr = base * factor(t) * what the controllers made of the metrics, the floor last."""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import random
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrkit.control import Action, Observation, plateau
from lrkit.duration import Duration, Horizon
from lrkit.errors import HorizonError, MetricError, SpecError, StateError
from lrkit.optim import Scheduler, snapshot
from lrkit.spec import parse, parse_spec

SPEC = "warmup(20%) >> cosine(to=0)"
CURVE = parse(SPEC).over(20)


def sgd(*lrs: float, tensor: bool = False) -> SGD:
    return SGD(
        [
            {
                "params": [nn.Parameter(torch.ones(1))],
                "lr": torch.tensor(lr) if tensor else lr,
                "name": f"g{i}",
            }
            for i, lr in enumerate(lrs or (0.5,))
        ]
    )


def rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def settings_at(seed: int) -> tuple[list[float], dict[str, Any], list[float]]:
    draw = random.Random(seed)
    lrs = [draw.choice([1e-6, 1e-3, 0.1, 0.7]) for _ in range(draw.randint(1, 3))]
    least = [draw.choice([0.0, 1e-5, 0.02]) for _ in lrs]
    options = {
        "mode": draw.choice(["min", "max"]),
        "factor": draw.choice([0.1, 0.5, 0.9]),
        "patience": draw.randint(0, 3),
        "threshold": draw.choice([0.0, 1e-4, 0.05]),
        "threshold_mode": draw.choice(["rel", "abs"]),
        "cooldown": draw.randint(0, 3),
        "min_lr": draw.choice([0.0, least]),
        "eps": draw.choice([0.0, 1e-8, 1e-4]),
    }
    sequence, level = [], draw.uniform(-2, 2)
    for _ in range(24):
        level += draw.choice([0.0, 0.0, -0.05, 0.05, draw.gauss(0, 0.5)])
        sequence.append(draw.choice([level, level, level, math.nan]) if seed % 4 == 0 else level)
    return lrs, options, sequence


@pytest.mark.parametrize("seed", range(200))
def test_under_hold_it_is_torchs_reduce_on_plateau_also_when_resumed_at_every_step(seed: int) -> None:
    lrs, options, sequence = settings_at(seed)
    theirs_on, mine_on = sgd(*lrs), sgd(*lrs)
    theirs = ReduceLROnPlateau(theirs_on, **options)
    mode = {"rel": "signed", "abs": "abs"}[options["threshold_mode"]]
    control = [plateau(**{**options, "threshold_mode": mode}, nan="bad")]
    mine = Scheduler(mine_on, "hold()", len(sequence), control=control)
    for metric in sequence:
        mine_on.step()
        theirs.step(metric)
        mine.observe(metric)
        assert rates(mine_on) == pytest.approx(rates(theirs_on), rel=1e-12, abs=0)
        assert mine.get_last_lr() == rates(mine_on)
        state = json.loads(json.dumps(mine.state_dict()))
        mine_on = sgd(*[9.0] * len(lrs))
        mine = Scheduler(mine_on, "hold()", len(sequence), control=control)
        mine.load_state_dict(state)
        assert mine.state_dict() == state


@pytest.mark.parametrize("tensor", [False, True], ids=["float lr", "tensor lr"])
@pytest.mark.parametrize("groups", [(0.5,), (0.5, 0.25), (0.5, 0.5)])
def test_the_schedule_goes_on_below_the_reductions(tensor: bool, groups: tuple[float, ...]) -> None:
    optimizer = sgd(*groups, tensor=tensor)
    places = [group["lr"] for group in optimizer.param_groups]
    scheduler = Scheduler(optimizer, SPEC, 20, control=[plateau(patience=1, factor=0.5)])
    gain = 1.0
    for t in range(20):
        # Equal to the last bit in float64: the controllers multiply the base, the schedule that.
        assert scheduler.get_last_lr() == [base * gain * CURVE(t) for base in groups]
        assert rates(optimizer) == pytest.approx(scheduler.get_last_lr(), rel=1e-6)
        optimizer.step()
        (action,) = scheduler.observe(1.0)
        if t in (2, 4, 6, 8, 10, 12, 14, 16, 18):
            gain *= 0.5
            assert action == Action((0.5,) * len(groups), "the metric was not better than 1 in 2 decisions")
    assert scheduler.base_lrs == list(groups)
    assert [group["initial_lr"] for group in optimizer.param_groups] == list(groups)
    if tensor:
        assert all(group["lr"] is place for group, place in zip(optimizer.param_groups, places, strict=True))


def test_several_controllers_see_the_same_and_multiply() -> None:
    control = [plateau(patience=1, factor=0.5), plateau(patience=2, factor=0.1)]
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=control)
    found = []
    for _ in range(6):
        optimizer.step()
        scheduler.observe(1.0)
        found.append(rates(optimizer)[0])
    assert found == pytest.approx([1.0, 1.0, 0.5, 0.05, 0.025, 0.025])
    assert scheduler.control == tuple(control)


def test_only_the_lr_is_multiplied_and_only_where_it_is_scheduled() -> None:
    optimizer = SGD(
        [{"params": [nn.Parameter(torch.ones(1))], "name": name} for name in ("body", "head")],
        lr=0.5,
        weight_decay=0.1,
    )
    schedules = {"lr@head": "hold()", "weight_decay": "hold()"}
    scheduler = Scheduler(optimizer, schedules, 20, control=[plateau(patience=0)])
    for _ in range(2):
        optimizer.step()
        scheduler.observe(1.0)
    assert rates(optimizer) == pytest.approx([0.5, 0.05])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]
    with pytest.raises(SpecError, match="multiplies the lr, which has no schedule here"):
        Scheduler(sgd(), {"weight_decay": "hold()"}, 20, control=[plateau()])


def test_the_floor_comes_last_and_absolute_levels_are_multiplied_too() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(
        optimizer, "linear(to=absolute(0.5))", 10, floor=0.01, control=[plateau(patience=0, factor=0.5)]
    )
    found = []
    for _ in range(10):
        optimizer.step()
        scheduler.observe(1.0)
        found.append(rates(optimizer)[0])
    factors = [1 - 0.05 * t for t in range(1, 11)]
    assert found == pytest.approx([max(0.01, f * 0.5**k) for k, f in enumerate(factors)])


@pytest.mark.parametrize(
    "metric",
    [
        1.0,
        1,
        torch.tensor(1.0),
        torch.tensor([1.0]),
        np.float32(1),
        np.float64(1),
        torch.ones((), requires_grad=True),
    ],
)
def test_any_single_number_is_a_metric(metric: Any) -> None:
    scheduler = Scheduler(sgd(), "hold()", 20, control=[plateau(patience=0)])
    scheduler.observe(metric)
    assert scheduler.state_dict()["feedback"]["states"][0]["best"] == 1.0


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (None, "lacks a metric: observe it when it is there, or say missing='skip'"),
        (math.nan, "was given the metric nan after 0 updates"),
        (torch.tensor(math.inf), "metric inf"),
        (torch.ones(2), "one number, not a tensor of shape"),
        (np.ones(2), "one number, not array"),
        ("0.5", "one number, not '0.5'"),
        (True, "one number, not True"),
        (1j, "one number, not 1j"),
        ({}, "lacks a metric"),
        ({"loss": 1.0, "accuracy": 0.5}, "is given 'loss', 'accuracy': say which one, with its metric="),
    ],
)
def test_what_is_no_metric_is_refused_and_changes_nothing(metric: Any, words: str) -> None:
    scheduler = Scheduler(sgd(), "hold()", 20, control=[plateau(patience=0), plateau(patience=1)])
    scheduler.observe(1.0)
    before = scheduler.state_dict()
    with pytest.raises(MetricError) as caught:
        scheduler.observe(metric)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert scheduler.state_dict() == before


def test_metrics_by_name() -> None:
    control = [
        plateau(patience=0, metric="loss"),
        plateau(patience=0, factor=0.5, mode="max", metric="accuracy"),
    ]
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=control)
    scheduler.observe({"loss": 1.0, "accuracy": 0.5, "other": "text"})
    scheduler.observe({"loss": 0.5, "accuracy": 0.5})
    assert rates(optimizer) == [0.5]
    with pytest.raises(
        MetricError, match=r"lacks the metric 'accuracy', given 'loss', 'acuracy'.*missing='skip'"
    ):
        scheduler.observe({"loss": 0.4, "acuracy": 0.6})
    with pytest.raises(MetricError, match="looks at 'loss' and is given one without a name: observe"):
        scheduler.observe(0.4)
    scheduler.observe({"loss": 0.5}, missing="skip")
    assert rates(optimizer) == pytest.approx([0.05])
    scheduler.observe(None, missing="skip")
    assert rates(optimizer) == pytest.approx([0.05])
    single = Scheduler(sgd(), "hold()", 20, control=[plateau()])
    single.observe({"whatever": 0.5})
    assert single.state_dict()["feedback"]["states"][0]["best"] == 0.5
    with pytest.raises(SpecError, match="did you mean 'skip'"):
        single.observe(1.0, missing="skipp")  # type: ignore[arg-type]


def test_a_late_metric_belongs_to_the_step_at_which_it_was_measured() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 100, control=[plateau(patience=0, every=10)])
    for _ in range(25):
        optimizer.step()
    scheduler.observe(1.0, step=9)  # the first stretch is not over
    scheduler.observe(1.0, step=12)
    assert scheduler.state_dict()["feedback"]["states"][0]["decided"] == 12
    with pytest.raises(MetricError, match="a metric of step 10 after one of step 12"):
        scheduler.observe(1.0, step=10)
    with pytest.raises(SpecError, match="step=26: a metric of later than now, 25 updates done"):
        scheduler.observe(1.0, step=26)
    assert scheduler.observe(1.0)[0].acts


def test_units_of_a_controller_are_those_of_the_run() -> None:
    optimizer = sgd(1.0)
    control = ["plateau(patience=0, every=1 epoch, after=20%)"]
    scheduler = Scheduler(
        optimizer, "warmup(20%) >> hold()", Horizon(100, steps_per_epoch=10), control=control
    )
    acted = []
    for step in range(1, 61):
        optimizer.step()
        if scheduler.observe(1.0)[0].acts:
            acted.append(step)
    assert acted == [30, 40, 50, 60]
    with pytest.raises(HorizonError, match="steps_per_epoch"):
        Scheduler(sgd(), "hold()", 100, control=control)


def test_a_spec_brings_its_controllers() -> None:
    text = "warmup(5%) >> hold() & plateau(patience=5)"
    for given in (text, parse_spec(text)):
        scheduler = Scheduler(sgd(), given, 100, control=["plateau(factor=0.5)"])
        assert scheduler.control == (plateau(patience=5), plateau(factor=0.5))
        assert "warmup(5%) >> hold() & plateau(patience=5) & plateau(factor=0.5) on SGD" in repr(scheduler)
    with pytest.raises(SpecError, match=r"it is a list, \['plateau\(\)'\]"):
        Scheduler(sgd(), "hold()", 100, control="plateau()")
    with pytest.raises(SpecError, match="a float is no controller"):
        Scheduler(sgd(), "hold()", 100, control=[0.5])  # type: ignore[list-item]


def test_a_group_that_joins_later_has_its_own_lr_and_shares_what_comes() -> None:
    optimizer = sgd(1.0, 0.5)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[plateau(patience=0)])
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.3, "name": "late"})
    assert scheduler.get_last_lr() == pytest.approx([0.1, 0.05, 0.3])
    scheduler.observe(1.0)
    assert scheduler.get_last_lr() == pytest.approx([0.01, 0.005, 0.03])
    del optimizer.param_groups[1]
    optimizer.step()
    assert rates(optimizer) == pytest.approx([0.01, 0.03])
    scheduler.observe(1.0)
    assert rates(optimizer) == pytest.approx([0.001, 0.003])


def test_groups_that_differ_in_their_reductions_keep_them_when_one_goes() -> None:
    optimizer = sgd(1.0, 1.0, 1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[plateau(patience=0, min_lr=[0.5, 0.0, 0.2])])
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    assert rates(optimizer) == [0.5, 0.1, 0.2]
    del optimizer.param_groups[0]
    optimizer.step()
    assert rates(optimizer) == [0.1, 0.2]


ORDERS = [
    order
    for order in itertools.permutations(["build", "optimizer", "scheduler"])
    if order.index("build") < order.index("scheduler")
]


@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
@pytest.mark.parametrize("k", range(13))
def test_a_controlled_run_resumed_at_any_step_in_any_order_equals_the_unbroken_one(
    order: tuple[str, ...], k: int
) -> None:
    control = [plateau(patience=1, factor=0.5, every=2, smoothing=0.3)]
    metrics = [1.0, 0.9, 0.95, 0.94, 0.97, 0.9, 0.91, 0.92, 0.5, 0.6, 0.6, 0.6]

    def make() -> tuple[nn.Linear, AdamW]:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        return model, AdamW(
            [{"params": [p], "lr": lr} for p, lr in zip(model.parameters(), (0.1, 0.01), strict=True)]
        )

    def train(model: nn.Linear, optimizer: AdamW, scheduler: Scheduler, steps: range) -> list[list[float]]:
        lrs = []
        for step in steps:
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().sum().backward()
            lrs.append(rates(optimizer))
            optimizer.step()
            scheduler.observe(metrics[step])
        return lrs

    model, optimizer = make()
    scheduler = Scheduler(optimizer, SPEC, 12, control=control)
    train(model, optimizer, scheduler, range(k))
    file = io.BytesIO()
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    rest = train(model, optimizer, scheduler, range(k, 12))

    again, other = make()
    resumed: Any = None
    for act in order:
        if act == "build":
            resumed = Scheduler(other, SPEC, 12, control=control)
        elif act == "optimizer":
            other.load_state_dict(saved["optimizer"])
        else:
            resumed.load_state_dict(saved["scheduler"])
    again.load_state_dict(saved["model"])
    assert train(again, other, resumed, range(k, 12)) == rest
    for mine, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert resumed.state_dict() == scheduler.state_dict()


VERSION_1 = {
    "version": 1,
    "schedule": {"lr": "warmup(20%) >> cosine(to=0)"},
    "horizon": {"steps": 20},
    "clock": "updates",
    "floor": None,
    "step": 7,
    "base": {"lr": [0.25]},
}


def test_a_state_of_version_1_still_loads() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SPEC, 20)
    scheduler.load_state_dict(VERSION_1)
    assert (scheduler.done, rates(optimizer)) == (7, [0.25 * CURVE(7)])
    assert scheduler.state_dict()["version"] == 2
    controlled = Scheduler(sgd(), SPEC, 20, control=[plateau()])
    with pytest.raises(StateError, match=r"control was \[\] and is \['plateau\(\)'\]"):
        controlled.load_state_dict(VERSION_1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"control": ["plateau(patience=3)"]}, "control was"),
        ({"control": "plateau()"}, "control is"),
        ({"feedback": None}, "feedback is {}"),
        ({"feedback": [1]}, "feedback is"),
        ({"feedback": {"states": [], "gains": [], "observed": None}}, "feedback is"),
        ({"feedback": {"states": [{}], "gains": [], "observed": None}}, "no state of plateau"),
        ({"feedback": {"states": [1], "gains": ["x"], "observed": None}}, "feedback is"),
    ],
)
def test_the_state_of_other_controllers_is_refused(damage: dict[str, Any], words: str) -> None:
    scheduler = Scheduler(sgd(), "hold()", 20, control=["plateau()"])
    before = scheduler.state_dict()
    with pytest.raises(StateError, match=words):
        scheduler.load_state_dict({**before, **damage})
    assert scheduler.state_dict() == before


def test_loading_an_early_state_takes_the_reductions_back() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[plateau(patience=0)])
    early = scheduler.state_dict()
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    assert rates(optimizer) == [0.1]
    scheduler.load_state_dict(early)
    assert rates(optimizer) == [1.0]
    assert scheduler.state_dict() == early


def test_a_copy_and_a_snapshot_have_the_reductions() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[plateau(patience=0)])
    scheduler.observe(1.0)
    scheduler.observe(1.0)
    twin = copy.deepcopy(scheduler)
    assert twin.state_dict() == scheduler.state_dict()
    before = scheduler.state_dict()
    with snapshot(nn.Linear(1, 1), optimizer):
        optimizer.step()
        scheduler.observe(1.0)
        assert rates(optimizer) == pytest.approx([0.01])
    assert scheduler.state_dict() == before
    assert rates(optimizer) == [0.1]
    optimizer.step()
    assert rates(optimizer) == [0.1]


def updates(optimizer: Optimizer, n: int) -> None:
    for _ in range(n):
        optimizer.step()


def test_a_run_in_which_nobody_observed_is_told_so() -> None:
    optimizer = sgd()
    Scheduler(optimizer, "hold()", 5, control=[plateau()])
    with pytest.warns(
        UserWarning, match=r"plateau\(\) was given no metric in 5 updates: call scheduler.observe"
    ):
        updates(optimizer, 5)
    optimizer = sgd()
    Scheduler(optimizer, "hold()", 5, control=[plateau()]).observe(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        updates(optimizer, 5)


def test_a_closed_scheduler_observes_nothing() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "hold()", 5, control=[plateau()])
    scheduler.close()
    with pytest.raises(StateError, match="closed"):
        scheduler.observe(1.0)


def test_step_never_is_an_observation() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[plateau(patience=0)])
    for _ in range(5):
        scheduler.step(1)
    for metric in (1.0, torch.tensor(1.0)):
        with pytest.raises(MetricError, match=r"observe\(\)"):
            scheduler.step(metric)
    assert rates(optimizer) == [1.0]
    assert scheduler.state_dict()["feedback"]["observed"] is None


@dataclass(frozen=True)
class Halve:
    """A controller of one's own: halves the lr at each observation."""

    metric: str | None = None
    every: Duration | None = None

    def over(self, horizon: Horizon) -> Halve:
        return self

    def settled(self, *, every: Duration, metric: str) -> Halve:
        return self

    def init(self) -> Halve:
        return self

    def to_dict(self) -> dict[str, Any]:
        return {}

    def restore(self, data: Any) -> Halve:
        return self

    def update(self, state: Any, observation: Observation) -> tuple[Any, Action]:
        return state, Action((0.5,) * (len(observation.lrs) if observation.metric else 7))


def test_a_controller_of_ones_own() -> None:
    optimizer = sgd(1.0)
    scheduler = Scheduler(optimizer, "hold()", 20, control=[Halve()])
    scheduler.observe(1.0)
    assert rates(optimizer) == [0.5]
    with pytest.raises(SpecError, match="answers 1 groups with the factors"):
        scheduler.observe(0.0)
    other = Scheduler(sgd(), "hold()", 20, control=[Halve()])
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert other.get_last_lr() == [0.5]


@dataclass(frozen=True)
class Careless:
    """A controller that gives whatever it is told to."""

    answer: Any
    metric: str | None = None
    every: Duration | None = None

    def init(self) -> Any:
        return plateau().init()

    def over(self, horizon: Horizon) -> Careless:
        return self

    def settled(self, *, every: Duration, metric: str) -> Careless:
        return self

    def restore(self, data: Any) -> Any:
        return plateau().restore(data)

    def update(self, state: Any, observation: Observation) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "an Action"),
        ((plateau().init(), None), "an Action"),
        ((plateau().init(), (0.5,)), "an Action"),
        ((3, Action((0.5,))), "to_dict"),
    ],
)
def test_a_controller_that_answers_something_else_is_told_so(answer: Any, words: str) -> None:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.5)
    scheduler = Scheduler(optimizer, "hold()", 10, control=[Careless(answer)])
    before = scheduler.state_dict()
    with pytest.raises(SpecError, match=words):
        scheduler.observe(1.0)
    assert scheduler.state_dict() == before


def test_a_number_beyond_floats_is_no_metric() -> None:
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.5)
    scheduler = Scheduler(optimizer, "hold()", 10, control=["plateau()"])
    with pytest.raises(MetricError, match="beyond 1e30"):
        scheduler.observe(10**400)
