"""`convert.to_optax`: lrkit's curves as JAX computes them, jitted, and inside an optax optimizer."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import assume, given, settings

from lrkit import convert, errors, from_function
from lrkit.spec.catalog import CATALOG
from strategies import BASE_LR, horizons, quiet, schedules


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
@pytest.mark.parametrize("ending", ["hold", "continue"])
def test_every_catalogued_shape_compiles_to_its_own_numbers(entry: object, ending: str) -> None:
    from lrkit import parse

    schedule = parse(entry.example).after(ending)
    curve = schedule.over(200)
    counts = jnp.arange(240)
    mine = 0.5 * curve.chunk(0, 240)
    rate = convert.to_optax(schedule, 200, base_lr=0.5)
    for values in (rate(counts), jax.jit(rate)(counts), jax.vmap(jax.jit(rate))(counts)):
        assert values.dtype == jnp.float64
        np.testing.assert_allclose(values, mine, rtol=1e-12, atol=1e-12 * mine.max())


@settings(max_examples=25)
@given(schedule=schedules(), horizon=horizons(most=2000))
def test_any_schedule_gives_the_same_numbers_there(schedule: object, horizon: object) -> None:
    try:
        curve = quiet(schedule, horizon)
    except errors.LrkitError:
        assume(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rate = convert.to_optax(schedule, horizon, base_lr=BASE_LR)
    steps = np.unique(np.linspace(0, curve.steps - 1, 50).astype(int))
    mine = BASE_LR * curve(steps)
    np.testing.assert_allclose(rate(jnp.asarray(steps)), mine, rtol=1e-9, atol=1e-12 * (1.0 + mine.max()))


def test_a_count_may_be_an_int() -> None:
    rate = convert.to_optax("linear(to=0)", 10, base_lr=0.1)
    assert float(rate(5)) == pytest.approx(0.05)
    assert float(rate(-1)) == 0.1
    with pytest.raises(errors.HorizonError, match="whole numbers"):
        rate(0.5)


def test_without_x64_it_is_float32() -> None:
    with jax.enable_x64(False):
        rate = convert.to_optax("warmup(5%) >> cosine(to=0)", 1000)
        values = rate(jnp.arange(1000))
        assert values.dtype == jnp.float32
        mine = convert.to_table("warmup(5%) >> cosine(to=0)", 1000)
        np.testing.assert_allclose(values, mine, atol=1e-6)


def test_optax_trains_with_it() -> None:
    rate = convert.to_optax("linear(to=0)", 4, base_lr=0.1)
    optimizer = optax.sgd(rate)
    weight, seen = jnp.zeros(()), []
    state = optimizer.init(weight)
    step = jax.jit(optimizer.update)
    for _ in range(5):
        update, state = step(jnp.ones(()), state)
        seen.append(-float(update))
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])


def test_a_python_function_becomes_a_table() -> None:
    rate = jax.jit(convert.to_optax(from_function(lambda step: 0.5**step), 4))
    assert np.asarray(rate(jnp.arange(6))).tolist() == [1.0, 0.5, 0.25, 0.125, 0.125, 0.125]


def test_join_schedules_is_optaxs() -> None:
    """The parts longer than their stretch, shorter, and without an end of their own."""
    mine = [
        convert.schedule("optax:cosine_decay_schedule", init_value=1.0, decay_steps=40),
        convert.schedule("optax:linear_schedule", init_value=0.2, end_value=0.8, transition_steps=5),
        convert.schedule("optax:exponential_decay", init_value=0.5, transition_steps=10, decay_rate=0.5),
    ]
    theirs = [
        optax.cosine_decay_schedule(1.0, 40),
        optax.linear_schedule(0.2, 0.8, 5),
        optax.exponential_decay(0.5, 10, 0.5),
    ]
    joined = optax.join_schedules(theirs, [12, 30])
    curve = convert.schedule("optax:join_schedules", schedules=mine, boundaries=[12, 30]).over(60)
    np.testing.assert_allclose(curve.chunk(0, 80), [float(joined(count)) for count in range(80)], rtol=1e-12)
