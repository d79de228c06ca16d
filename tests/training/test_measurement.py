"""A measurement is made of its parts: they sum to it, stay few, and are those of each member of a population."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.training import Population, Run, cross, default_plan, load_task
from lrkit.training.measurement import MOST_PARTS, PartialSums


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=700))
def test_stretches_sum_to_the_whole_and_are_few_and_even(values):
    sums = PartialSums()
    for value in values:
        sums.add(2, [value, -value])
    parts = sums.parts()
    assert sums.samples == 2 * len(values)
    assert parts.shape[1] == 2
    assert min(len(values), MOST_PARTS // 2) <= len(parts) <= min(len(values), MOST_PARTS)
    each = next(2**k for k in range(20) if 2**k * MOST_PARTS >= len(values))
    groups = [values[i : i + each] for i in range(0, len(values), each)]
    np.testing.assert_allclose(parts[:, 0], [sum(group) / len(values) for group in groups], atol=1e-12)
    np.testing.assert_allclose(parts[:, 1], -parts[:, 0])
    np.testing.assert_allclose(sums.shares(), [len(group) / len(values) for group in groups])


def test_the_parts_of_a_run_sum_to_its_figures_and_measuring_changes_nothing():
    run = Run(task := load_task("digits"), default_plan(task).with_lr(1e-2))
    run.advance(5)
    found = run.measure("validation")
    assert found.values == run.evaluate("validation") == run.measure("validation").values
    assert set(found.parts) == set(found.values) == {"validation loss", "validation accuracy"}
    for name, value in found.values.items():
        assert len(found.parts[name]) > 4
        assert sum(added for _, added in found.parts[name]) == pytest.approx(value, rel=1e-12)
        assert sum(share for share, _ in found.parts[name]) == pytest.approx(1.0)


@pytest.mark.parametrize("route", ["loop", "eager"])
def test_members_have_the_parts_of_their_runs(route):
    task = load_task("diabetes")
    plan = default_plan(task)
    population = Population(task, cross(plan, lrs=[1e-3, 3e-3, 1e-2]), route=route)
    population.advance(10)
    for i, found in population.measure("validation").items():
        member = population.members[i]
        run = Run(task, member.plan, seed=member.seed)
        run.advance(10)
        wanted = run.measure("validation")
        for name in ("validation loss", "validation absolute error"):
            np.testing.assert_allclose(found.parts[name], wanted.parts[name], rtol=1e-4)
    assert population.evaluate("validation")[0] == population.measure("validation")[0].values
