"""optax, Keras and scikit-learn: their oddities kept, their mistakes told, and what is a controller refused."""

from __future__ import annotations

import importlib.util

import pytest

from lrkit import convert, hold, linear
from lrkit.errors import MissingExtra, SpecError


def rates(name, n, **parameters):
    return convert.schedule(name, **parameters).over(n).chunk(0, n).round(12).tolist()


def test_optaxs_warmup_of_no_steps_stays_at_its_start():
    given = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 0}
    assert rates("optax:warmup_constant_schedule", 3, **given) == [0.0, 0.0, 0.0]


def test_optaxs_one_cycle_of_three_steps_does_not_rise():
    assert max(rates("optax:cosine_onecycle_schedule", 3, transition_steps=3, peak_value=1.0)) == 1.0
    assert rates("optax:cosine_onecycle_schedule", 3, transition_steps=3, peak_value=1.0)[0] == 1.0


def test_optaxs_decay_counts_the_warmup_and_keras_does_not():
    optax = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 4}
    keras = {"initial_learning_rate": 0.0, "warmup_target": 1.0, "warmup_steps": 2, "decay_steps": 4}
    assert rates("optax:warmup_cosine_decay_schedule", 7, **optax) == [0, 0.5, 1, 0.5, 0, 0, 0]
    assert rates("keras:CosineDecay", 7, **keras) == [0, 0.5, 1, 0.853553390593, 0.5, 0.146446609407, 0]


def test_keras_changes_a_value_one_step_after_its_boundary():
    assert rates("keras:PiecewiseConstantDecay", 5, boundaries=[2], values=[1.0, 0.5]) == [1, 1, 1, 0.5, 0.5]
    scales = {"init_value": 1.0, "boundaries_and_scales": {2: 0.5}}
    assert rates("optax:piecewise_constant_schedule", 5, **scales) == [1, 1, 0.5, 0.5, 0.5]


def test_keras_ignores_a_warmup_without_a_target():
    given = {"initial_learning_rate": 1.0, "decay_steps": 2, "warmup_steps": 100}
    assert rates("keras:CosineDecay", 3, **given) == [1.0, 0.5, 0.0]


def test_keras_falls_again_and_again_from_lower_starts():
    given = {"initial_learning_rate": 1.0, "decay_steps": 2, "end_learning_rate": 0.0, "cycle": True}
    assert rates("keras:PolynomialDecay", 6, **given) == [1.0, 0.5, 0.0, 0.25, 0.0, 0.166666666667]


def test_scikit_learn_counts_samples_from_one():
    assert rates("sklearn:invscaling", 4, eta0=1.0) == [1.0, 0.707106781187, 0.57735026919, 0.5]
    assert rates("sklearn:optimal", 2, alpha=1.0) == [1.0, 0.5]


def test_joined_schedules_are_cut_where_the_next_begins():
    parts = [linear(4, to=0) >> hold(), linear(to=1, start=0.5)]
    joined = convert.schedule("optax:join_schedules", schedules=parts, boundaries=[2])
    assert joined.over(6).chunk(0, 6).tolist() == [1.0, 0.75, 0.5, 0.625, 0.75, 0.875]


def test_what_goes_on_for_ever_goes_on_past_the_end():
    endless = convert.schedule("optax:exponential_decay", init_value=1.0, transition_steps=1, decay_rate=0.5)
    assert endless.over(2)(4) == pytest.approx(0.0625)


def test_rates_are_factors_of_the_base_lr():
    given = {"init_value": 0.1, "end_value": 0.0, "transition_steps": 2}
    assert rates("optax:linear_schedule", 2, base_lr=0.2, **given) == [0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        (
            "optax:cosine_decay_schedule",
            {"init_value": 1.0, "decay_steps": 0},
            "decay_steps takes a whole number",
        ),
        (
            "optax:warmup_cosine_decay_schedule",
            {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 5},
            "counts the warmup",
        ),
        ("optax:sgdr_schedule", {"cosine_kwargs": []}, "is empty"),
        ("optax:sgdr_schedule", {"cosine_kwargs": [{"init_value": 0.0}]}, r"cosine_kwargs\[0\]: missing 3"),
        ("optax:join_schedules", {"schedules": [hold()], "boundaries": [3]}, "1 schedules take 0 boundaries"),
        ("optax:join_schedules", {"schedules": ["hold()"], "boundaries": []}, "a list of Schedules"),
        (
            "optax:piecewise_constant_schedule",
            {"init_value": 1.0, "boundaries_and_scales": [3]},
            "takes a dict",
        ),
        (
            "optax:linear_schedule",
            {"init_value": -1, "end_value": 0, "transition_steps": 1},
            "from 0, not -1",
        ),
        ("optax:cosine_decay", {}, "did you mean 'cosine_decay_schedule'"),
        ("keras:PiecewiseConstantDecay", {"boundaries": [2, 1], "values": [1, 2, 3]}, "2 rising boundaries"),
        (
            "keras:CosineDecayRestarts",
            {"initial_learning_rate": 1.0, "first_decay_steps": 4, "t_mul": 0.5},
            "cycles that shrink",
        ),
        ("keras:ExponentialDecay", {"initial_learning_rate": 1.0}, "lacks its parameter 'decay_steps'"),
        ("sklearn:optimal", {"loss": "hings"}, "did you mean 'hinge'"),
    ],
)
def test_mistakes_are_told(name, parameters, says):
    with pytest.raises(SpecError, match=f"(?s){name.partition(':')[0]}.*{says}"):
        convert.schedule(name, **parameters)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("optax:reduce_on_plateau", "patience=9"),
        ("keras:ReduceLROnPlateau", "patience=9"),
        ("sklearn:adaptive", "factor=0.2, patience=4"),
    ],
)
def test_a_controller_is_no_schedule(name, says):
    with pytest.raises(SpecError, match=rf"controller .*plateau\(.*{says}"):
        convert.schedule(name)


@pytest.mark.skipif(importlib.util.find_spec("jax") is not None, reason="jax is here")
def test_without_jax_the_extra_is_named():
    with pytest.raises(MissingExtra, match=r"convert.to_optax\(\) needs jax: pip install 'lrkit\[optax\]'"):
        convert.to_optax("cosine(to=0)", 10)


@pytest.mark.skipif(importlib.util.find_spec("keras") is not None, reason="Keras is here")
def test_without_keras_the_extra_is_named():
    with pytest.raises(MissingExtra, match=r"convert.to_keras\(\) needs keras: pip install 'lrkit\[keras\]'"):
        convert.to_keras("cosine(to=0)", 10)
