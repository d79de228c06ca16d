"""The algebra: what `>>`, `*`, `.clip`, `.repeat` and `.after` mean, and what they refuse."""

from __future__ import annotations

import copy
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.duration import Horizon
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule import (
    Schedule,
    absolute,
    cosine,
    exponential,
    from_function,
    hold,
    linear,
    milestones,
    restarts,
    staircase,
    warmup,
)
from strategies import BASE_LR, quiet, schedules, tilings

# Three at a time need not be deep.
SMALL = schedules(depth=1)


def _factors(schedule: Schedule, steps: int) -> list[float]:
    return quiet(schedule, steps).chunk(0, steps).tolist()


class TestValues:
    @given(schedules())
    def test_equal_ones_hash_alike_and_copies_are_equal(self, schedule: Schedule) -> None:
        for again in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):  # noqa: S301 - our own bytes
            assert again == schedule
            assert hash(again) == hash(schedule)

    def test_what_differs_is_not_equal(self) -> None:
        different = [hold(), linear(), cosine(), cosine(to=0.1), cosine(5), cosine("5%"), cosine().repeat(2)]
        assert len(set(different)) == len(different)

    def test_they_are_frozen(self) -> None:
        with pytest.raises(AttributeError):
            hold().level = 0.5  # type: ignore[attr-defined]

    def test_levels_become_floats_and_durations_exact_at_the_door(self) -> None:
        assert linear(to=0) == linear(to=0.0) == linear(to=-0.0) == linear(to=np.float64(0))
        assert hold(500) == hold("500") == hold("500 steps") == hold(500.0)

    @pytest.mark.parametrize("other", [0.5, "hold()", None])
    def test_only_schedules_join(self, other: object) -> None:
        with pytest.raises(TypeError):
            hold() >> other  # type: ignore[operator]
        with pytest.raises(TypeError):
            hold() * other  # type: ignore[operator]


class TestThen:
    @given(SMALL, SMALL, SMALL)
    def test_it_is_associative_in_equality_and_print(self, a: Schedule, b: Schedule, c: Schedule) -> None:
        a, b = a.body, b.body
        try:
            left = (a >> b) >> c
        except SpecError:
            with pytest.raises(SpecError):
                a >> (b >> c)
            return
        assert left == a >> (b >> c)
        assert str(left) == str(a >> (b >> c))

    @given(SMALL, SMALL, SMALL)
    def test_a_product_binds_tighter(self, a: Schedule, b: Schedule, c: Schedule) -> None:
        a, b, c = a.body, b.body, c.body
        try:
            joined = a >> b * c
        except SpecError:
            return
        assert joined == a >> (b * c)

    @given(tilings(), st.integers(1, 10**6))
    def test_percent_tiles_any_horizon(self, schedule: Schedule, steps: int) -> None:
        phases = quiet(schedule, steps).phases
        borders = [(start, stop) for start, stop, _ in phases]
        assert borders[0][0] == 0
        assert borders[-1][1] == steps
        assert all(start < stop for start, stop in borders)
        assert all(before[1] == after[0] for before, after in pairwise(borders))

    def test_borders_are_the_rounded_cumulative_fractions_half_up(self) -> None:
        curve = (hold("25%") >> hold("25%") >> hold("50%")).over(10)
        assert [(start, stop) for start, stop, _ in curve.phases] == [(0, 3), (3, 5), (5, 10)]

    def test_a_nested_sequence_has_the_same_borders(self) -> None:
        flat = hold("33%") >> linear("33%", to=0.5) >> hold("34%")
        nested = hold("33%") >> (linear("33%", to=0.5) >> hold("34%")).clip(low=0)
        assert [phase[:2] for phase in flat.over(1234).phases] == [
            phase[:2] for phase in nested.over(1234).phases
        ]

    def test_each_phase_starts_where_the_one_before_ended(self) -> None:
        curve = (linear(4, to=0.5) >> hold(2) >> linear(4, to=0) >> warmup(2)).over(12)
        assert [curve(t) for t in (0, 4, 5, 6, 8)] == [1.0, 0.5, 0.5, 0.5, 0.25]
        assert curve.chunk(10, 12).tolist() == pytest.approx([1 / 3, 2 / 3])

    def test_the_open_phase_may_stand_anywhere(self) -> None:
        for schedule, borders in (
            (linear(to=0.5) >> hold(3), [0, 7, 10]),
            (hold(2) >> linear(to=0.5) >> hold(3), [0, 2, 7, 10]),
            (hold(2) >> linear(to=0.5), [0, 2, 10]),
        ):
            curve = schedule.over(10)
            assert [start for start, _, _ in curve.phases] == borders[:-1]

    def test_only_one_phase_may_be_open(self) -> None:
        with pytest.raises(SpecError, match=r"only one phase .* not both hold\(\) and cosine\(to=0\)"):
            hold() >> cosine()

    def test_overrunning_lists_the_phases_with_their_steps(self) -> None:
        with pytest.raises(HorizonError) as caught:
            (warmup(200) >> hold("50%") >> linear("3 epochs")).over(Horizon(1000, steps_per_epoch=150))
        assert str(caught.value) == (
            "the phases take 1150 steps of 1000 steps (warmup(200): 200 steps, hold(50%): 500 steps,"
            " linear(3 epochs, to=0): 450 steps): shorten one"
        )

    def test_overrunning_beside_an_open_phase_is_the_same_error(self) -> None:
        with pytest.raises(HorizonError, match=r"linear\(to=0\): what is left"):
            (warmup(200) >> linear() >> hold(900)).over(1000)

    def test_ending_early_lists_them_too(self) -> None:
        with pytest.raises(
            HorizonError,
            match=r"take 200 steps of 1000 steps \(warmup\(200\): 200 steps\): append >> hold\(\)",
        ):
            warmup(200).over(1000)
        assert (warmup(200) >> hold()).over(1000)(999) == 1.0

    def test_a_unit_that_the_horizon_lacks_is_an_error(self) -> None:
        with pytest.raises(HorizonError, match="steps_per_epoch"):
            (warmup("1 epoch") >> cosine()).over(1000)


class TestEmptyPhases:
    def test_a_phase_that_rounds_to_nothing_warns_and_keeps_its_to(self) -> None:
        with pytest.warns(
            UserWarning, match=r"linear\(1%, to=0.5\) gets none of 10 steps; what follows starts at 0.5"
        ):
            curve = (linear("1%", to=0.5) >> hold()).over(10)
        assert curve.chunk(0, 10).tolist() == [0.5] * 10
        assert len(curve.phases) == 1

    def test_nothing_left_for_the_open_phase_warns(self) -> None:
        with pytest.warns(UserWarning, match=r"cosine\(to=0\) gets none of 10 steps"):
            (hold(10) >> cosine()).over(10)

    def test_zero_that_was_asked_for_is_silent(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert (warmup(0) >> hold()).over(10)(0) == 1.0

    def test_a_tail_for_which_nothing_is_left_is_silent(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert (linear(10, to=0.5) >> hold()).over(10)(10) == 0.5

    def test_many_warnings_are_one(self) -> None:
        phases = [linear("0.1%", to=1 / (k + 2)) for k in range(5)]
        with pytest.warns(UserWarning, match=r"to=0.5\).*to=0.25\).* \(and 2 more\)") as caught:
            (phases[0] >> phases[1] >> phases[2] >> phases[3] >> phases[4] >> hold()).over(5)
        assert len(caught) == 1


class TestTimes:
    @given(SMALL, SMALL, SMALL)
    def test_it_is_associative(self, a: Schedule, b: Schedule, c: Schedule) -> None:
        a, b, c = a.body, b.body, c.body
        assert (a * b) * c == a * (b * c)
        assert str((a * b) * c) == str(a * (b * c))

    @given(tilings(), tilings(), st.integers(1, 3000))
    def test_it_multiplies_with_the_right_one_entering_at_1(
        self, a: Schedule, b: Schedule, steps: int
    ) -> None:
        product = quiet(a * b, steps).chunk(0, steps)
        alone = quiet(a, steps).chunk(0, steps)
        beside = quiet(warmup(0) >> (b * hold()), steps).chunk(0, steps)  # warmup(0) ends at 1
        np.testing.assert_allclose(product, alone * beside, rtol=1e-14)  # another order of factors

    def test_the_left_operand_takes_the_running_level(self) -> None:
        curve = (linear(5, to=0.5) >> linear(to=0) * staircase(2, factor=0.1)).over(10)
        assert curve.chunk(5, 10).tolist() == pytest.approx([0.5, 0.4, 0.03, 0.02, 0.001])

    def test_a_warmup_on_the_right_needs_a_start_of_its_own(self) -> None:
        with pytest.warns(UserWarning, match=r"warmup\(5\) starts at 1, so there is nothing to warm up"):
            (cosine() * (warmup(5) >> hold())).over(10)
        curve = (hold() * (warmup(4, start=0) >> hold())).over(10)
        assert curve.chunk(0, 5).tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])

    def test_the_next_phase_starts_at_the_product_of_the_ends(self) -> None:
        curve = (linear(5, to=0.5) * linear(5, to=0.5) >> hold()).over(10)
        assert curve(5) == 0.25

    def test_a_closed_operand_gives_the_length_and_others_must_agree(self) -> None:
        curve = (hold(4) * linear(to=0) >> hold()).over(10)
        assert [phase[:2] for phase in curve.phases] == [(0, 4), (4, 10)]
        with pytest.raises(HorizonError, match=r"take 5 steps of 4 steps \(linear\(5, to=0\): 5 steps\)"):
            (hold(4) * linear(5) >> hold()).over(10)


class TestClip:
    @given(tilings(), st.floats(0, 1), st.floats(0, 1), st.integers(1, 3000))
    def test_it_keeps_all_factors_within(self, schedule: Schedule, a: float, b: float, steps: int) -> None:
        low, high = sorted((a, b))
        inside = quiet(schedule.clip(low, high), steps).chunk(0, steps)
        np.testing.assert_array_equal(inside, quiet(schedule, steps).chunk(0, steps).clip(low, high))

    def test_the_next_phase_starts_at_the_clipped_level(self) -> None:
        assert (linear(5, to=0).clip(low=0.2) >> hold()).over(10)(7) == 0.2
        assert (hold(5).clip(high=0.2) >> hold()).over(10)(7) == 0.2

    def test_a_cap_above_the_base_lr_is_idle_and_a_floor_above_it_an_error(self) -> None:
        assert hold().clip(high=absolute(2.0)).over(10, base_lr=1.0)(0) == 1.0
        with pytest.raises(SpecError, match=r"absolute\(2\) lies above the base lr 1"):
            hold().clip(low=absolute(2.0)).over(10, base_lr=1.0)
        with pytest.raises(SpecError, match="low lies above high"):
            hold().clip(low=0.5, high=absolute(0.1)).over(10, base_lr=1.0)

    @pytest.mark.parametrize(
        "bounds", [{}, {"low": 0.5, "high": 0.4}, {"low": -1}, {"high": float("nan")}], ids=str
    )
    def test_bounds_are_checked(self, bounds: dict[str, float]) -> None:
        with pytest.raises(SpecError):
            hold().clip(**bounds)


class TestRepeat:
    @given(tilings(), st.integers(1, 12), st.integers(1, 5000))
    def test_the_copies_split_the_span_in_whole_steps(self, inner: Schedule, n: int, steps: int) -> None:
        """Each copy is the inner schedule over its own length: percent and open phases are of one copy."""
        borders = [(2 * k * steps + n) // (2 * n) for k in range(n + 1)]
        expected = [factor for a, b in pairwise(borders) if b > a for factor in _factors(inner, b - a)]
        assert _factors(inner.repeat(n), steps) == expected

    def test_every_copy_restarts_at_the_entry_level(self) -> None:
        curve = (linear(4, to=0.5) >> linear(to=0).repeat(2)).over(8)
        assert curve.chunk(4, 8).tolist() == [0.5, 0.25, 0.5, 0.25]

    def test_at_the_start_of_a_run_every_copy_warms_up_from_0(self) -> None:
        copies = _factors((warmup(3) >> linear(to=0)).repeat(3), 30)
        assert copies[:10] == copies[10:20] == copies[20:]
        assert copies[0] == 0.25

    def test_a_closed_block_is_as_long_as_its_copies(self) -> None:
        curve = ((linear(3, to=0) >> hold(2)).repeat(2) >> hold(level=1)).over(20)
        assert [phase[:2] for phase in curve.phases] == [(0, 3), (3, 5), (5, 8), (8, 10), (10, 20)]

    def test_copies_of_a_fractional_length_do_not_drift(self) -> None:
        curve = (hold("1.5 epochs").repeat(4) >> hold()).over(Horizon(100, steps_per_epoch=7))
        assert [start for start, _, _ in curve.phases] == [0, 11, 21, 32, 42]

    def test_percent_in_a_copy_must_fill_it(self) -> None:
        with pytest.raises(
            HorizonError, match=r"take 25 steps of 50 steps \(linear\(50%, to=0\): 25 steps\)"
        ):
            linear("50%").repeat(2).over(100)

    def test_repeats_nest(self) -> None:
        assert _factors(linear(to=0).repeat(2).repeat(3), 12) == [1.0, 0.5] * 6

    @pytest.mark.parametrize("n", [0, -1, 1.5, True, "2", None, 10**9])
    def test_the_number_is_checked(self, n: int) -> None:
        with pytest.raises(SpecError):
            hold().repeat(n)


class TestAfter:
    def test_hold_is_the_default_and_leaves_no_trace(self) -> None:
        assert linear().after("hold") == linear()
        assert linear().after("continue").after("hold") == linear()

    def test_it_moves_to_the_end_of_what_is_built_around_it(self) -> None:
        assert hold(5) >> linear().after("continue") == (hold(5) >> linear()).after("continue")
        assert linear().after("continue").clip(low=0.1) == linear().clip(low=0.1).after("continue")

    @pytest.mark.parametrize(
        "build",
        [
            lambda s: s >> hold(5),
            lambda s: s * hold(),
            lambda s: hold() * s,
            lambda s: s.repeat(2),
        ],
    )
    def test_nothing_can_come_after_the_end(self, build: object) -> None:
        with pytest.raises(SpecError, match=r"write \.after\(continue\) at the very end"):
            build(linear().after("continue"))  # type: ignore[operator]

    def test_an_unknown_ending_gets_the_nearest(self) -> None:
        with pytest.raises(SpecError, match="did you mean 'continue'"):
            hold().after("continues")  # type: ignore[arg-type]


class TestAbsolute:
    @given(tilings(), st.integers(1, 2000))
    def test_only_schedules_with_absolute_levels_need_a_base_lr(self, schedule: Schedule, steps: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if schedule.needs_base_lr:
                with pytest.raises(SpecError, match="needs a base lr"):
                    schedule.over(steps)
            else:
                assert schedule.over(steps).chunk(0, steps).tolist() == _factors(schedule, steps)

    def test_it_is_a_factor_for_each_base_lr(self) -> None:
        schedule = linear(to=absolute(1e-3))
        assert schedule.over(10, base_lr=1e-1)(10) == pytest.approx(1e-2)
        assert schedule.over(10, base_lr=1e-2)(10) == pytest.approx(1e-1)

    def test_products_scale_it(self) -> None:
        assert (hold(level=absolute(0.1)) * hold(level=0.5)).over(10, base_lr=1.0)(3) == 0.05

    @pytest.mark.parametrize(
        ("base_lr", "message"),
        [
            (
                None,
                "absolute(0.001) needs a base lr: use over(horizon, base_lr=...), a Scheduler, or --base-lr",
            ),
            (0.0, "absolute(0.001) is no factor of the base lr 0: no multiple of 0 gives it"),
            (1e-4, "absolute(0.001) lies above the base lr 0.0001: lower it, or raise the base lr"),
            (-1.0, "base_lr takes a finite number from 0, not -1.0"),
        ],
    )
    def test_without_a_base_lr_that_serves_it_is_an_error(self, base_lr: float | None, message: str) -> None:
        with pytest.raises(SpecError) as caught:
            cosine(to=absolute(1e-3)).over(100, base_lr=base_lr)
        assert str(caught.value) == message

    @pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "1e-3", None, True, 10**400])
    def test_a_level_is_a_finite_number_from_0(self, value: float) -> None:
        with pytest.raises(SpecError):
            absolute(value)
        with pytest.raises(SpecError):
            linear(to=value)


class TestFunctions:
    def test_the_same_function_is_the_same_schedule(self) -> None:
        def f(step: int) -> float:
            return 1 / (step + 1)

        def g(step: int) -> float:
            return 1 / (step + 1)

        assert from_function(f) == from_function(f)
        assert hash(from_function(f)) == hash(from_function(f))
        assert from_function(f) != from_function(g)
        assert from_function(f) != from_function(f, 5)
        assert from_function(f) != hold()

    def test_it_is_opaque_wherever_it_stands(self) -> None:
        f = from_function(lambda step: 0.5, 5)
        for schedule in (f, f >> hold(), hold() * f, f.clip(low=0), f.repeat(2), f.after("continue")):
            assert schedule.is_opaque
        assert not (hold(5) >> cosine()).is_opaque

    def test_it_gets_the_step_of_its_own_phase_and_is_never_asked_past_it(self) -> None:
        table = [1.0, 0.5, 0.25]
        curve = (hold(2) >> from_function(table.__getitem__, 3) >> hold()).over(8)
        assert curve.chunk(0, 8).tolist() == [1, 1, 1, 0.5, 0.25, 0.25, 0.25, 0.25]

    @pytest.mark.parametrize("value", [float("nan"), -0.1, "x", None, float("inf")])
    def test_what_is_no_factor_is_an_error_that_names_the_step(self, value: float) -> None:
        with pytest.raises(SpecError, match="at step 9: a factor is finite"):
            from_function(lambda step: value).over(10)

    def test_its_own_exceptions_pass_unchanged(self) -> None:
        with pytest.raises(ZeroDivisionError):
            from_function(lambda step: 1 / 0).over(10)

    def test_it_takes_a_function(self) -> None:
        with pytest.raises(SpecError, match="takes a function of the step"):
            from_function(0.5)  # type: ignore[arg-type]


class TestLimits:
    def test_growth_beyond_floats_is_an_error(self) -> None:
        for schedule in (
            staircase(1, factor=10.0),
            exponential(rate=10.0),
            hold(level=1e308) * hold(level=1e308),
        ):
            with pytest.raises(SpecError, match="grows beyond what a float holds"):
                schedule.over(1000)

    def test_too_many_phases_are_refused_at_once(self) -> None:
        with pytest.raises(SpecError, match="at most 10000"):
            (hold(1) >> hold(1)).repeat(100).repeat(100)

    def test_too_many_cycles_are_refused(self) -> None:
        with pytest.raises(HorizonError, match="make them longer"):
            restarts(1, growth=1.0000001).over(10**6)

    def test_milestones_after_the_end_are_mentioned(self) -> None:
        with pytest.warns(
            UserWarning, match=r"1 of the milestones of milestones\(\[5, 50\], factor=0.1\) lie after"
        ):
            milestones([5, 50], factor=0.1).over(10)

    def test_a_period_that_rounds_to_no_step_takes_one_and_says_so(self) -> None:
        with pytest.warns(UserWarning, match="the 1% of staircase round to no step, so each takes one"):
            assert _factors_loud(staircase("1%", factor=0.5), 4) == [1.0, 0.5, 0.25, 0.125]

    def test_an_exponential_never_touches_0(self) -> None:
        for schedule in (exponential(to=0), hold(5, level=0) >> exponential(to=0.5)):
            with pytest.raises(SpecError, match="no geometric decay touches 0"):
                schedule.over(10)
        with pytest.raises(SpecError, match="give it a start"):
            (warmup(5, kind="exponential") >> hold()).over(10)


def _factors_loud(schedule: Schedule, steps: int) -> list[float]:
    return schedule.over(steps, base_lr=BASE_LR).chunk(0, steps).tolist()
