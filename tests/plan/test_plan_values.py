"""Plans made in Python: checked when made, comparable, hashable, and changed only by making another."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrkit.plan
from lrkit.control import plateau
from lrkit.duration import Horizon
from lrkit.errors import PlanError
from lrkit.plan import Evidence, FrozenMap, GroupPlan, OptimizerPlan, Plan, TrainingPlan
from lrkit.plan.checks import TORCH_OPTIONS
from lrkit.schedule import from_function, hold
from lrkit.spec import parse
from plan_strategies import plans

ADAM = OptimizerPlan(name="torch.optim.Adam", lr=1e-3)
SMALL = Plan(optimizer=ADAM, schedule=hold(), horizon=Horizon(100))


@settings(max_examples=40)
@given(plans())
def test_a_plan_is_a_value(plan: Plan) -> None:
    for twin in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan)), dataclasses.replace(plan)):  # noqa: S301
        assert twin == plan
        assert hash(twin) == hash(plan)
    assert (
        dataclasses.replace(plan, horizon=Horizon(10**7, steps_per_epoch=1, batch_size=1, tokens_per_step=1))
        != plan
    )


@settings(max_examples=40)
@given(plans())
def test_a_printed_plan_is_the_code_that_makes_it(plan: Plan) -> None:
    namespace = {**vars(lrkit.plan), **vars(lrkit.schedule), "Horizon": Horizon}
    assert eval(repr(plan), namespace) == plan  # noqa: S307


@settings(max_examples=40)
@given(plans(), st.floats(1.0, 1e3))
def test_another_lr_keeps_the_ratios_of_the_groups(plan: Plan, factor: float) -> None:
    other = plan.with_lr(plan.lr * factor)
    assert other.lr == plan.lr * factor
    for name, group in plan.groups.items():
        assert other.groups[name].lr / other.lr == pytest.approx(group.lr / plan.lr, rel=1e-12)
        if group.lr == plan.lr:
            assert other.groups[name].lr == other.lr
    assert dataclasses.replace(other, optimizer=plan.optimizer, groups=plan.groups) == plan


def test_numbers_of_numpy_become_plain_ones() -> None:
    plan = Plan(
        optimizer=OptimizerPlan(
            name="task",
            lr=np.float64(0.1),
            options={"eps": np.float32(0.5), "k": np.int64(3), "b": [np.float64(1)]},
        ),
        schedule=hold(),
        horizon=Horizon(100),
        evidence=Evidence(
            objective="validation loss",
            interval=(np.float64(0.05), np.float64(0.2)),
            trials=np.int64(3),
            seeds=[np.int64(0)],
            member_steps=10,
            seconds=np.float32(1.5),
        ),
    )
    assert type(plan.lr) is float
    assert plan.optimizer.options == {"eps": 0.5, "k": 3, "b": (1.0,)}
    assert "np." not in repr(plan)
    assert Plan.parse(plan.to_toml()) == plan


def test_what_was_passed_in_can_change_without_changing_the_plan() -> None:
    options, groups = {"betas": [0.9, 0.95]}, {"head": GroupPlan(lr=1.0)}
    plan = dataclasses.replace(SMALL, optimizer=dataclasses.replace(ADAM, options=options), groups=groups)
    options["betas"].append(1.0)
    options["eps"] = 1.0
    groups.clear()
    assert plan.optimizer.options == {"betas": (0.9, 0.95)}
    assert plan.groups == {"head": GroupPlan(lr=1.0)}


WRONG = {
    "lr is None": (lambda: OptimizerPlan(name="task", lr=None), "lr: None is not a finite number above 0"),
    "lr is true": (lambda: OptimizerPlan(name="task", lr=True), "lr: True is not"),
    "name": (lambda: OptimizerPlan(name="adam", lr=1.0), "name: 'adam' is no optimizer"),
    "name is a class": (lambda: OptimizerPlan(name=dict, lr=1.0), "name: <class 'dict'> is not a text"),
    "name on two lines": (lambda: OptimizerPlan(name="task\n", lr=1.0), "name: "),
    "options": (lambda: OptimizerPlan(name="task", lr=1.0, options=[1]), "options: "),
    "option lr": (lambda: OptimizerPlan(name="task", lr=1.0, options={"lr": 1}), "'lr' is no option"),
    "option None": (
        lambda: OptimizerPlan(name="task", lr=1.0, options={"eps": None}),
        "options.eps: None cannot",
    ),
    "option key": (lambda: OptimizerPlan(name="task", lr=1.0, options={3: 1}), "3 cannot be"),
    "group schedule": (lambda: GroupPlan(lr=1.0, schedule="hold()"), "lrkit.parse"),
    "group option": (lambda: GroupPlan(lr=1.0, options={"schedul": 1}), "did you mean 'schedule'"),
    "accumulate": (lambda: TrainingPlan(accumulate=1.0), "accumulate: 1.0 is not a whole number"),
    "clip_norm": (lambda: TrainingPlan(clip_norm=float("inf")), "clip_norm: inf is not"),
    "precision": (lambda: TrainingPlan(precision="fp16"), "did you mean 'float16'"),
    "schedule is text": (
        lambda: dataclasses.replace(SMALL, schedule="hold()"),
        "schedule: 'hold()' is no Schedule",
    ),
    "horizon is a number": (lambda: dataclasses.replace(SMALL, horizon=100), "horizon: 100 is no Horizon"),
    "optimizer is a name": (lambda: dataclasses.replace(SMALL, optimizer="task"), "optimizer: 'task' is no"),
    "evidence": (lambda: dataclasses.replace(SMALL, evidence={}), "evidence: {} is no Evidence"),
    "groups": (lambda: dataclasses.replace(SMALL, groups=[1]), "groups: "),
    "group": (lambda: dataclasses.replace(SMALL, groups={"a": 1.0}), "groups.a: 1.0 is no GroupPlan"),
    "group name": (lambda: dataclasses.replace(SMALL, groups={"": GroupPlan(lr=1.0)}), "no name for a group"),
    "controllers": (
        lambda: dataclasses.replace(SMALL, control=("plateu()",)),
        "control: unknown controller 'plateu'",
    ),
    "control as text": (lambda: dataclasses.replace(SMALL, control="plateau()"), "'plateau()' is no list"),
    "controller's unit": (
        lambda: dataclasses.replace(SMALL, control=("plateau(every=1 epoch)",)),
        "control: '1 epoch' needs Horizon(steps_per_epoch=...)",
    ),
    "floor": (lambda: dataclasses.replace(SMALL, floor=-1.0), "floor: -1.0"),
    "floor above": (lambda: dataclasses.replace(SMALL, floor=1.0), "floor: 1.0 is above the base lr 0.001"),
    "epochs": (
        lambda: dataclasses.replace(SMALL, schedule=parse("warmup(1 epoch) >> hold()")),
        "steps_per_epoch",
    ),
    "group level": (
        lambda: dataclasses.replace(
            SMALL, schedule=parse("linear(to=absolute(5e-4))"), groups={"a": GroupPlan(lr=1e-5)}
        ),
        "groups.a.lr: ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_at_the_door(case: str) -> None:
    make, said = WRONG[case]
    with pytest.raises(PlanError) as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "schedule", [from_function(lambda p: 1.0), from_function(lambda p: 1.0) * hold()], ids=str
)
def test_python_functions_are_refused_with_the_reason(schedule: object) -> None:
    with pytest.raises(PlanError, match="Python function, and a plan holds text alone"):
        dataclasses.replace(SMALL, schedule=schedule)
    with pytest.raises(PlanError, match="Python function"):
        GroupPlan(lr=1.0, schedule=schedule)


def test_every_option_of_torchs_optimizers_is_taken() -> None:
    optim = pytest.importorskip("torch").optim
    for name, kind in vars(optim).items():
        if not inspect.isclass(kind) or not issubclass(kind, optim.Optimizer):
            continue
        given = [
            option
            for option in inspect.signature(kind).parameters
            if option not in ("params", "lr", "defaults")
        ]
        assert set(given) <= TORCH_OPTIONS
        plan = OptimizerPlan(name=f"torch.optim.{name}", lr=1.0, options=dict.fromkeys(given, 1))
        assert plan.class_name == name
        assert set(plan.options) == set(given)


def test_the_tasks_own_optimizer_has_no_class() -> None:
    assert OptimizerPlan(name="task", lr=1.0, options={"weigth_decay": 1}).class_name is None


maps = st.dictionaries(st.text(max_size=3), st.integers())


@given(maps, maps)
def test_a_frozen_map_equals_and_hashes_like_its_dict(first: dict[str, int], second: dict[str, int]) -> None:
    frozen = FrozenMap(first)
    assert frozen == first
    assert list(frozen) == list(first)
    assert (frozen == FrozenMap(second)) == (first == second)
    assert hash(frozen) == hash(FrozenMap(dict(reversed(first.items()))))
    assert frozen | second == first | second
    assert eval(repr(frozen)) == first  # noqa: S307
    with pytest.raises(TypeError):
        frozen["a"] = 1


def test_controllers_are_kept_as_their_texts() -> None:
    plan = dataclasses.replace(SMALL, control=["plateau( patience = 5 )", plateau(min_lr=[1e-6, 0])])
    assert plan.control == ("plateau(patience=5)", "plateau(min_lr=[1e-06, 0])")
    assert Plan.parse(plan.to_toml()) == plan
    assert 'control = ["plateau(patience=5)", "plateau(min_lr=[1e-06, 0])"]' in plan.to_toml()
