"""`convert.to_keras`: lrkit's curves as a LearningRateSchedule, on two of Keras's backends, saved and loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from lrkit import convert, errors, from_function, parse
from lrkit.spec.catalog import CATALOG
from peers import oracle_keras

assert keras.config.floatx() == "float64", oracle_keras


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
@pytest.mark.parametrize("ending", ["hold", "continue"])
def test_every_catalogued_shape_gives_its_own_numbers(entry: object, ending: str) -> None:
    schedule = parse(entry.example).after(ending)
    mine = 0.5 * schedule.over(200).chunk(0, 240)
    rate = convert.to_keras(schedule, 200, base_lr=0.5)
    values = np.array([float(rate(t)) for t in range(240)])
    np.testing.assert_allclose(values, mine, rtol=1e-12, atol=1e-12 * mine.max())


def test_it_is_what_keras_asks_for_and_comes_back_from_its_config() -> None:
    rate = convert.to_keras("warmup(5%) >> cosine(to=0)", 100, base_lr=0.1)
    assert isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    assert rate.get_config() == {
        "schedule": "warmup(5%) >> cosine(to=0)",
        "horizon": {"steps": 100},
        "base_lr": 0.1,
    }
    again = type(rate).from_config(rate.get_config())
    assert again.curve == rate.curve
    third = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert third.get_config() == rate.get_config()
    with pytest.raises(errors.HorizonError, match="whole numbers"):
        rate(0.5)


def test_a_python_function_is_refused_where_it_would_be_saved() -> None:
    rate = convert.to_keras(from_function(lambda step: 1.0), 4)
    assert float(rate(0)) == 1.0
    with pytest.raises(errors.SpecError, match="Python function"):
        rate.get_config()


TRAINING = """
import sys
import keras, numpy
from lrkit import convert

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
rate = convert.to_keras("linear(to=0)", 4, base_lr=0.1)
# The mean of the outputs has slope 1 for an input of 1: each update lowers the weight by the rate itself.
model.compile(optimizer=keras.optimizers.SGD(rate), loss=lambda y, p: keras.ops.mean(p))
ones = numpy.ones((1, 1), dtype="float32")
weights = [0.0]
for _ in range(5):
    model.fit(ones, ones, verbose=0)
    weights.append(float(model.get_weights()[0][0, 0]))
used = -numpy.diff(weights)
assert numpy.allclose(used, [0.1, 0.075, 0.05, 0.025, 0.0], atol=1e-6), used
model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
model.save(sys.argv[1])
"""

LOADING = """
import sys
import keras
import lrkit.convert.keras_schedule
model = keras.saving.load_model(sys.argv[1])
print(keras.backend.backend(), model.optimizer._learning_rate.get_config()["schedule"])
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_trains_with_it_and_loads_it_in_another_process(backend: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.keras")
    settings = os.environ | {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "0"}
    for code, says in ((TRAINING, ""), (LOADING, f"{backend} linear(to=0)")):
        done = subprocess.run(
            [sys.executable, "-c", code, path], env=settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.strip().endswith(says)
