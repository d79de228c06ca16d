"""What a search may cost is settled before anything is trained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError, StudyError
from lrkit.search.limits import Limits, sweep_length
from lrkit.search.methods.auto import least_budget

steps = st.integers(1, 200_000)


@given(steps)
def test_the_default_is_eight_trainings(T):
    limits = Limits.of(T, None)
    assert limits.budget == 8 * T or T < 30
    assert 20 <= limits.sweep <= 100


@given(steps, st.integers(1, 2_000_000))
def test_the_range_test_at_its_worst_leaves_enough_for_an_answer(T, budget):
    try:
        limits = Limits.of(T, budget)
    except StudyError as error:
        least = int(str(error).split("at least ")[1].split(",")[0])
        assert budget < least
        assert Limits.of(T, least).budget == least
        return
    worst = {1: 5.2, 3: 9.6}[limits.repeats] * limits.sweep
    assert worst + least_budget(T) <= budget + 1


@given(steps, st.sampled_from([1, 3]))
def test_a_sweep_can_be_read_and_where_trainings_are_long_enough_takes_a_third_of_one_in_all(T, repeats):
    sweep = sweep_length(T, repeats)
    assert 20 <= sweep <= 100
    assert sweep == 20 or repeats * sweep <= 0.35 * T
    assert Limits.of(T, None).sweep <= sweep_length(T, Limits.of(T, None).repeats)


@given(steps)
def test_a_bracket_spares_the_range_test(T):
    limits = Limits.of(T, None, bracket=(1e-4, 1e-2))
    assert (limits.sweep, limits.repeats) == (0, 0)
    with pytest.raises(StudyError, match=f"at least {least_budget(T)}$"):
        Limits.of(T, least_budget(T) - 1, bracket=(1e-4, 1e-2))


@pytest.mark.parametrize("budget", [0, -3, 2.5, True, "6"])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(SpecError, match="budget="):
        Limits.of(100, budget)


@pytest.mark.parametrize(
    "bracket",
    [(0.0, 1.0), (1.0, 0.1), (1e-3, 1e-3), (1e-3, 1.1e-3), (1e-3, float("inf")), (float("nan"), 1.0)],
)
def test_a_bracket_that_is_none_is_refused(bracket):
    with pytest.raises(SpecError, match="bracket="):
        Limits.of(100, None, bracket=bracket)
