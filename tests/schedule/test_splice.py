"""A curve that is changed on the way: what was done stays, nothing jumps unless asked for, the rest is as stated."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrkit.duration import Duration, Horizon
from lrkit.errors import HorizonError, LrkitError, SpecError
from lrkit.schedule import Curve, cosine, hold, linear, one_minus_sqrt, staircase, warmup
from lrkit.schedule.numeric import NUMPY, Numeric, device_namespace
from lrkit.schedule.splice import Change, _between, changed, rebatched_horizon
from lrkit.schedule.track import Formula
from lrkit.spec import CATALOG, parse

HOWS = ["stretch", "hold", "continue", "again"]
WSD = warmup(10) >> hold(50) >> linear(40, to=0)


SPECS = [
    *(entry.example for entry in CATALOG),
    "warmup(3) >> hold() >> linear(5, to=0.1)",
    "(cosine(to=0.2) * staircase(4, factor=0.5)).clip(low=0.05)",
    "restarts(25%, growth=2).after(continue)",
    "(warmup(20%) >> linear(to=0)).repeat(3)",
]


@st.composite
def places(draw: st.DrawFn) -> tuple[Curve, int]:
    """A curve, and a step of it."""
    steps = draw(st.integers(10, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            curve = parse(draw(st.sampled_from(SPECS))).over(steps, base_lr=0.5)
        except LrkitError:
            curve = parse("warmup(20%) >> cosine(to=0)").over(steps, base_lr=0.5)
    return curve, draw(st.integers(0, steps - 1))


def extended(curve: Curve, more: int, at: int, how: Any) -> Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return curve.extend(curve.steps + more, at=at, how=how)
        except LrkitError:  # closed phases laid anew, for which there is no room
            assert how == "again"
            return curve.extend(curve.steps + more, at=at, how="hold")


@given(places(), st.sampled_from(HOWS), st.integers(0, 50))
def test_what_was_done_stays_and_the_phases_tile_the_new_run(
    place: tuple[Curve, int], how: Any, more: int
) -> None:
    curve, at = place
    new = extended(curve, more, at, how)
    assert np.array_equal(new.chunk(0, at), curve.chunk(0, at))
    borders = [border for start, stop, _ in new.phases for border in (start, stop)]
    assert borders[::2] == [0, *borders[1:-1:2]]
    assert borders[-1] == new.steps == curve.steps + more
    every = new.chunk(0, new.steps)
    assert every.tolist() == [new(step) for step in range(new.steps)]
    np.testing.assert_allclose(new(torch.arange(new.steps)).numpy(), every, rtol=1e-12, atol=1e-12)


@given(places(), st.sampled_from(HOWS[:3]), st.integers(0, 50))
def test_the_rest_begins_where_the_old_curve_is(place: tuple[Curve, int], how: Any, more: int) -> None:
    curve, at = place
    assert extended(curve, more, at, how)(at) == curve(at)


@given(places(), st.sampled_from(["stretch", "hold", "continue"]))
def test_no_more_steps_no_change(place: tuple[Curve, int], how: Any) -> None:
    curve, at = place
    same = extended(curve, 0, at, how)
    assert np.array_equal(same.chunk(0, curve.steps), curve.chunk(0, curve.steps))


@given(places(), st.integers(2, 5))
def test_a_rest_stretched_n_times_has_the_old_values_at_every_nth_step(
    place: tuple[Curve, int], n: int
) -> None:
    curve, at = place
    left = curve.steps - at
    new = extended(curve, (n - 1) * left, at, "stretch")
    assert np.array_equal(new.chunk(at, new.steps)[::n], curve.chunk(at, curve.steps))
    shorter = new.extend(curve.horizon, at=at, how="stretch")
    np.testing.assert_allclose(
        shorter.chunk(0, curve.steps), curve.chunk(0, curve.steps), rtol=1e-12, atol=1e-12
    )


@given(places(), st.integers(1, 50))
def test_hold_puts_the_additional_steps_before_the_rest(place: tuple[Curve, int], more: int) -> None:
    curve, at = place
    new = extended(curve, more, at, "hold")
    assert set(new.chunk(at, at + more)) == {curve(at)}
    assert np.array_equal(new.chunk(at + more, new.steps), curve.chunk(at, curve.steps))


def test_wsd_prolonged_in_its_stable_phase() -> None:
    longer = WSD.over(100).extend(200, at=30, how="hold")
    direct = (warmup(10) >> hold(150) >> linear(40, to=0)).over(200)
    assert np.array_equal(longer.chunk(0, 200), direct.chunk(0, 200))


def test_continue_goes_past_the_old_end_as_the_schedule_says() -> None:
    held = linear(to=0.5).over(10).extend(15, at=5, how="continue")
    assert held.chunk(10, 15).tolist() == [0.5] * 5
    falling = linear(to=0.5).after("continue").over(10).extend(30, at=5, how="continue")
    assert falling(12) == pytest.approx(0.4)
    assert falling(25) == 0.0
    with pytest.raises(HorizonError, match=r"ends after 10 steps and says .after\('error'\)"):
        linear(to=0).after("error").over(10).extend(15, at=5, how="continue")
    cut = linear(to=0).over(10).extend(5, at=2, how="continue")
    assert (cut.steps, cut(4), cut(5), cut(9)) == (5, 0.6, 0.5, 0.5)


def test_again_warms_up_from_where_the_run_is() -> None:
    schedule = warmup("10%") >> cosine(to=0)
    again = schedule.over(100).extend(150, at=50, how="again")
    level = schedule.over(100)(50)
    assert again(50) == pytest.approx(level + (1 - level) / 11)
    assert again(60) == 1.0
    assert again(150) == 0.0
    falling = cosine(to=0).over(100).extend(150, at=50, how="again")
    assert falling(50) == pytest.approx(0.5)


def test_after_the_end_there_is_nothing_to_stretch_and_the_other_ways_go_on_from_there() -> None:
    curve = linear(to=0.2).over(10)
    with pytest.raises(HorizonError, match="12 updates are done and the schedule ended after 10"):
        curve.extend(20, at=12, how="stretch")
    for how, last in [("hold", 0.2), ("continue", 0.2)]:
        new = curve.extend(20, at=12, how=how)  # type: ignore[arg-type]
        assert new.chunk(8, 20).tolist() == pytest.approx([curve(8), curve(9), *[last] * 10])
    with pytest.raises(HorizonError, match="fewer than 10"):
        curve.extend(8, at=5, how="hold")


def test_another_schedule_takes_over_at_the_level_of_that_step() -> None:
    curve = WSD.over(100)
    new = curve.replace(cosine("50%", to=0.1) >> linear(to=0), at=30)
    assert new.phases == (
        (0, 10, "warmup(10)"),
        (10, 30, "hold(50)"),
        (30, 65, "cosine(50%, to=0.1)"),
        (65, 100, "linear(to=0)"),
    )
    assert [new(29), new(30), new(65), new(100)] == [1.0, 1.0, 0.1, 0.0]
    assert curve.replace(linear(to=0), at=80)(80) == curve(80) == 0.5
    assert curve.replace(linear(to=0, start=1), at=80)(80) == 1.0  # a jump, because it was asked for
    assert np.array_equal(curve.replace(WSD, at=0).chunk(0, 100), curve.chunk(0, 100))


def test_a_decay_from_here_ends_the_run() -> None:
    trunk = (warmup("1%") >> hold()).over(10_000)
    new = trunk.decay(one_minus_sqrt(to=0), "10%", at=900)
    direct = (warmup(100) >> hold(800) >> one_minus_sqrt(100, to=0)).over(1000)
    assert np.array_equal(new.chunk(0, 1001), direct.chunk(0, 1001))
    assert trunk.decay(linear(to=0), 50, at=900).steps == 950
    with pytest.raises(HorizonError, match="100% of the run for its decay"):
        trunk.decay(linear(to=0), "100%", at=900)


@pytest.mark.parametrize(("old", "new"), [(32, 64), (32, 48), (48, 32), (32, 32), (30, 7)])
def test_another_batch_size_keeps_the_place_in_the_data(old: int, new: int) -> None:
    horizon = Horizon(1000, batch_size=old, steps_per_epoch=100, tokens_per_step=old * 10)
    curve = (warmup(f"{100 * old} samples") >> cosine(to=0)).over(horizon)
    at = 400
    later = rebatched_horizon(horizon, at, new)
    samples = 1000 * old
    assert at * old + (later.steps - at) * new >= samples > at * old + (later.steps - 1 - at) * new
    assert (later.batch_size, later.tokens_per_step) == (new, new * 10)
    changed_curve = changed(curve, Change(at, "rebatch", later))
    for step in range(at, later.steps):
        place = (at * old + (step - at) * new) / old  # in steps of the old size
        low = int(place)
        expected = curve(low) + (place - low) * (curve(low + 1) - curve(low))
        assert changed_curve(step) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_changes_pile_up_and_the_value_knows_them() -> None:
    curve = (
        WSD.over(100)
        .extend(200, at=30, how="hold")
        .replace(linear(to=0), at=100)
        .extend(300, at=150, how="stretch")
    )
    assert [curve(99), curve(100), curve(150), curve(225), curve(300)] == [1.0, 1.0, 0.5, 0.25, 0.0]
    again = pickle.loads(pickle.dumps(curve))  # noqa: S301 - written in this very line
    assert again == copy.deepcopy(curve) == curve
    assert hash(again) == hash(curve)
    assert np.array_equal(again.chunk(0, 300), curve.chunk(0, 300))
    assert curve != linear(to=0).over(300)
    assert repr(curve) == "<Curve linear(to=0) over 300 steps, stretch at 150>"


def test_stairs_become_slopes_between_two_old_steps_only() -> None:
    new = staircase(5, factor=0.5).over(10).extend(30, at=0, how="stretch")
    assert new.chunk(0, 13).tolist() == [1.0] * 13
    assert new.chunk(13, 16).tolist() == pytest.approx([5 / 6, 4 / 6, 0.5])


def test_absolute_levels_need_no_second_base_lr() -> None:
    curve = hold().over(100, base_lr=0.1).replace(parse("cosine(to=absolute(0.01))"), at=50)
    assert curve(100) == pytest.approx(0.1)
    with pytest.raises(SpecError, match="needs a base lr"):
        hold().over(100).replace(parse("cosine(to=absolute(0.01))"), at=50)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda c: c.extend(200, at=30, how="strech"), SpecError, "did you mean 'stretch'"),
        (lambda c: c.extend(200, at=30, how="replace"), SpecError, "'replace' takes one"),
        (lambda c: c.extend(200, at=-1, how="hold"), HorizonError, "at=-1"),
        (lambda c: c.extend(200, at=1.5, how="hold"), HorizonError, "at=1.5"),
        (
            lambda c: c.extend(30, at=30, how="stretch"),
            HorizonError,
            "would end after 30 steps and 30 are done",
        ),
        (lambda c: c.replace(linear(10, to=0), at=30), HorizonError, "10 steps of 70 steps"),
        (lambda c: c.extend(150, at=30, how="again"), HorizonError, "100 steps of 120 steps"),
        (
            lambda c: changed(c, Change(30, "rebatch", Horizon(150))),
            HorizonError,
            "needs it, before and after",
        ),
        (lambda c: rebatched_horizon(c.horizon, 30, 64), HorizonError, r"Horizon\(batch_size=...\)"),
        (lambda c: rebatched_horizon(Horizon(9, batch_size=2), 3, 0), HorizonError, "batch_size=0"),
        (lambda c: c.decay(linear(to=0), Duration.of("1 epoch"), at=30), HorizonError, "steps_per_epoch"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make(WSD.over(100))


@pytest.mark.parametrize("namespace", ["numpy", "torch"])
@pytest.mark.parametrize("rates", [["9/10"], ["3/2", "2/3"], ["7/8", "5/4", "2", "1", "1/2"]])
def test_a_formula_paced_many_times_is_each_pace_made_on_the_one_before(
    rates: list[str], namespace: str
) -> None:
    def twin(
        before: Callable[[int], float], begin: int, offset: int, rate: Fraction
    ) -> Callable[[int], float]:
        @functools.cache
        def level(i: int) -> float:
            position = offset + (begin + i) * rate
            whole = math.floor(position)
            return before(whole) + float(position - whole) * (before(whole + 1) - before(whole))

        return level

    def base(m: Numeric, i: Any) -> Any:
        return m.half_wave(m.real(i) / 20)

    found: Formula = base
    level: Callable[[int], float] = lambda i: (1 + math.cos(i / 20)) / 2  # noqa: E731 - replaced below
    for k in range(40):
        rate, begin, offset = Fraction(rates[k % len(rates)]), k % 3, k % 4
        found, level = _between(found, begin, offset, rate), twin(level, begin, offset, rate)
    steps = [0, 1, 2, 3, 50, 17, 400]
    expected = [level(step) for step in steps]
    if namespace == "numpy":
        np.testing.assert_allclose(found(NUMPY, np.array(steps)), expected, rtol=0, atol=1e-12)
    else:
        on_device = device_namespace(torch.tensor(steps))
        assert on_device is not None
        np.testing.assert_allclose(found(*on_device).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["stretch", "rebatch"])
def test_sixty_changes_of_pace_take_no_second(how: Any) -> None:
    """A curve that asked the one before for two steps, and that one again, would take 2^60 of them."""
    curve = linear(to=0).over(Horizon(400, batch_size=32))
    began = time.perf_counter()
    for at in range(60):
        later = Horizon(curve.steps + 2 + at % 3)
        if how == "rebatch":
            later = rebatched_horizon(curve.horizon, at, 48 - 16 * (at % 2))
        curve = changed(curve, Change(at, how, later))
    found = curve(np.arange(curve.steps))
    each = [curve(step) for step in (59, 60, 67)]
    assert time.perf_counter() - began < 1
    assert each == found[[59, 60, 67]].tolist()
    if how == "stretch":  # a straight line at another pace is one
        assert abs(np.diff(found[59:], 2)).max() < 1e-12
    assert np.all(np.diff(found) <= 0)


@pytest.mark.parametrize("spec", ["cosine(to=0.1)", "warmup(20%) >> staircase(10%, factor=0.5)", "hold()"])
@pytest.mark.parametrize("namespace", ["torch", "jax"])
def test_many_changes_of_pace_are_the_same_on_a_device(namespace: str, spec: str) -> None:
    library: Any = pytest.importorskip(namespace if namespace == "torch" else "jax.numpy")
    curve = parse(spec).over(Horizon(100, batch_size=30))
    for at, batch_size in enumerate([45, 30, 40, 70, 35, 28, 29]):
        curve = changed(
            curve, Change(2 * at, "rebatch", rebatched_horizon(curve.horizon, 2 * at, batch_size))
        )
        longer = replace(curve.horizon, steps=curve.steps + 7)
        curve = curve.extend(longer, at=2 * at + 1, how="stretch" if at % 3 else "hold")
    found = np.asarray(curve(library.arange(curve.steps + 5)))
    atol = 1e-12 if found.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found, curve(np.arange(curve.steps + 5)), rtol=0, atol=atol)
