"""Each shape against a slow twin, written step by step from its definition, and against torch's own classes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.schedule import (
    Schedule,
    cosine,
    cyclic,
    exponential,
    hold,
    inverse_sqrt,
    linear,
    milestones,
    one_cycle,
    one_cycle_momentum,
    one_minus_sqrt,
    polynomial,
    restarts,
    staircase,
    warmup,
)
from strategies import quiet

STEPS = st.integers(1, 400)
LEVELS = st.floats(0.01, 1.0)
Twin = Callable[[int, int, float, float], float]

# From v at step 0 of n to L at step n: (shape, its factor at step i).
RAMPS: dict[str, tuple[Callable[..., Schedule], Twin]] = {
    "linear": (linear, lambda i, n, v, L: (v * (n - i) + L * i) / n),
    "cosine": (cosine, lambda i, n, v, L: v + (L - v) * math.sin(math.pi * i / n / 2) ** 2),
    "exponential": (exponential, lambda i, n, v, L: math.exp((math.log(v) * (n - i) + math.log(L) * i) / n)),
    "one_minus_sqrt": (one_minus_sqrt, lambda i, n, v, L: v - (v - L) * math.sqrt(i / n)),
    "polynomial": (
        lambda *a, **k: polynomial(*a, power=1.7, **k),
        lambda i, n, v, L: L + (v - L) * ((n - i) / n) ** 1.7,
    ),
}
RISES: dict[str, Callable[[float, float], float]] = {
    "linear": lambda v, q: v * (1 - q) + q,
    "cosine": lambda v, q: v + (1 - v) * math.sin(math.pi * q / 2) ** 2,
    "exponential": lambda v, q: v ** (1 - q),
}


def agrees(schedule: Schedule, expected: list[float]) -> None:
    found = quiet(schedule, len(expected)).chunk(0, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", RAMPS)
@given(steps=STEPS, to=LEVELS, start=LEVELS)
def test_ramps_go_from_start_to_their_to_exclusively(name: str, steps: int, to: float, start: float) -> None:
    shape, twin = RAMPS[name]
    agrees(shape(to=to, start=start), [twin(i, steps, start, to) for i in range(steps)])
    curve = shape(to=to, start=start).over(steps)
    assert curve(0) == pytest.approx(start)
    assert curve(steps) == to


@pytest.mark.parametrize("name", RAMPS)
@given(before=st.integers(1, 50), steps=STEPS, level=LEVELS, to=LEVELS)
def test_ramps_start_at_the_running_level(
    name: str, before: int, steps: int, level: float, to: float
) -> None:
    shape, twin = RAMPS[name]
    expected = [level] * before + [twin(i, steps, level, to) for i in range(steps)]
    agrees(hold(before, level=level) >> shape(to=to), expected)


@pytest.mark.parametrize("shape", [linear, cosine, one_minus_sqrt, lambda to: polynomial(power=2, to=to)])
@given(steps=STEPS)
def test_a_decay_to_0_spends_no_update_on_0(shape: Callable[..., Schedule], steps: int) -> None:
    factors = shape(to=0).over(steps).chunk(0, steps)
    assert factors[0] == 1.0
    assert factors.min() > 0.0


@pytest.mark.parametrize("kind", RISES)
@given(steps=STEPS, start=LEVELS)
def test_a_warmup_spends_no_update_on_its_start_nor_on_the_peak(kind: str, steps: int, start: float) -> None:
    rise = [RISES[kind](start, (i + 1) / (steps + 1)) for i in range(steps)]
    agrees(warmup(steps, kind=kind, start=start) >> linear(to=0), [*rise, 1.0])  # type: ignore[arg-type]


@given(steps=STEPS, level=st.floats(0.01, 0.99))
def test_a_warmup_rises_from_0_first_and_later_from_where_it_stands(steps: int, level: float) -> None:
    first = [(i + 1) / (steps + 1) for i in range(steps)]
    agrees(warmup(steps), first)
    agrees(hold(1, level=level) >> warmup(steps), [level, *(level + (1 - level) * q for q in first)])


@given(steps=STEPS, cycles=st.sampled_from([0.5, 1.0, 1.5, 2.25]), to=LEVELS)
def test_a_cosine_may_have_more_half_waves(steps: int, cycles: float, to: float) -> None:
    wave = [to + (1 - to) * (1 + math.cos(2 * math.pi * cycles * i / steps)) / 2 for i in range(steps + 1)]
    agrees(cosine(to=to, cycles=cycles), wave[:-1])
    assert cosine(to=to, cycles=cycles).over(steps)(steps) == pytest.approx(wave[-1])


@given(steps=STEPS, scale=st.integers(1, 100))
def test_inverse_sqrt(steps: int, scale: int) -> None:
    agrees(inverse_sqrt(scale), [1 / math.sqrt(1 + i / scale) for i in range(steps)])


@given(steps=STEPS, rate=st.floats(0.5, 1.0), every=st.fractions(1, 20, max_denominator=9))
def test_a_rate_is_per_every(steps: int, rate: float, every: Fraction) -> None:
    schedule = exponential(rate=rate, every=f"{every * 100 / steps} percent")
    agrees(schedule, [rate ** (i / float(every)) for i in range(steps)])


@given(steps=STEPS, every=st.integers(1, 50), factor=st.floats(0, 1))
def test_a_staircase_multiplies_after_every_so_many_steps(steps: int, every: int, factor: float) -> None:
    expected = [1.0]
    for i in range(1, steps):
        expected.append(expected[-1] * factor if i % every == 0 else expected[-1])
    agrees(staircase(every, factor=factor), expected)


@given(steps=STEPS, marks=st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1)), min_size=1, max_size=6))
def test_milestones_multiply_at_and_after_their_step(steps: int, marks: list[tuple[int, float]]) -> None:
    expected = []
    for i in range(steps):
        level = 1.0
        for at, factor in marks:
            level *= factor if i >= at else 1.0
        expected.append(level)
    agrees(milestones([at for at, _ in marks], factor=[factor for _, factor in marks]), expected)


@given(
    steps=STEPS,
    up=st.integers(1, 20),
    down=st.integers(1, 20),
    low=st.floats(0, 1),
    per_cycle=st.sampled_from([1.0, 0.5]),
    per_step=st.sampled_from([1.0, 0.99]),
)
def test_cyclic_counts_its_triangles(
    steps: int, up: int, down: int, low: float, per_cycle: float, per_step: float
) -> None:
    expected, height, rising, cycle = [], Fraction(0), True, 0
    for i in range(steps):
        expected.append(low + (1 - low) * float(height) * per_cycle**cycle * per_step**i)
        height += Fraction(1, up) if rising else -Fraction(1, down)
        if rising and height == 1:
            rising = False
        elif not rising and height == 0:
            rising, cycle = True, cycle + 1
    schedule = cyclic(up, down=down, low=low, cycle_decay=per_cycle, step_decay=per_step)
    agrees(schedule, expected)


@given(
    steps=STEPS,
    first=st.integers(1, 40),
    growth=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    decay=st.sampled_from([1.0, 0.5]),
    to=st.floats(0, 1),
)
def test_restarts_count_their_cycles(steps: int, first: int, growth: float, decay: float, to: float) -> None:
    expected, cycle, at = [], 0, 0
    for _ in range(steps):
        length = math.floor(first * Fraction(growth) ** cycle + Fraction(1, 2))
        expected.append(to + (decay**cycle - to) * (1 + math.cos(math.pi * at / length)) / 2)
        at += 1
        if at == length:
            cycle, at = cycle + 1, 0
    agrees(restarts(first, growth=growth, decay=decay, to=to), expected)


@pytest.mark.parametrize("growth", [2, 3, 4])
def test_no_restart_is_missed_however_late(growth: int) -> None:
    """Where peers take a logarithm, some restarts get the floor instead of the peak."""
    for first in (1, 7, 59, 100):
        begins = [first * (growth**k - 1) // (growth - 1) for k in range(20)]
        curve = restarts(first, growth=growth).over(begins[-1] + 1)
        assert curve(np.array(begins)).tolist() == [1.0] * 20
        assert [curve(t) for t in begins] == [1.0] * 20


@given(
    steps=st.integers(2, 400),
    rise=st.floats(0.01, 0.5),
    anneal=st.sampled_from(["cosine", "linear"]),
    phases=st.sampled_from([2, 3]),
    start=st.floats(0, 0.9),
    to=st.floats(0, 0.9),
)
def test_one_cycle_goes_through_its_levels(
    steps: int, rise: float, anneal: str, phases: int, start: float, to: float
) -> None:
    peak = math.floor(Fraction(repr(rise)) * steps + Fraction(1, 2))
    if phases == 3:
        peak = max(1, peak)
    knots = [0, peak, steps] if phases == 2 else [0, peak, min(2 * peak, steps), steps]
    levels = [start, 1.0, to] if phases == 2 else [start, 1.0, start, to]

    def factor(i: int) -> float:
        k = next(k for k in range(len(knots) - 1) if knots[k] <= i < knots[k + 1])
        p = (i - knots[k]) / (knots[k + 1] - knots[k])
        w = p if anneal == "linear" else math.sin(math.pi * p / 2) ** 2
        return levels[k] * (1 - w) + levels[k + 1] * w

    schedule = one_cycle(rise=rise, anneal=anneal, phases=phases, start=start, to=to)  # type: ignore[arg-type]
    agrees(schedule, [factor(i) for i in range(steps)])
    assert schedule.over(steps)(peak) == 1.0


@given(
    steps=st.integers(2, 400),
    rise=st.floats(0.01, 0.5),
    anneal=st.sampled_from(["cosine", "linear"]),
    last=st.sampled_from(["exclusive", "inclusive"]),
    phases=st.sampled_from([2, 3]),
)
def test_the_momentum_mirrors_the_cycle(steps: int, rise: float, anneal: str, last: str, phases: int) -> None:
    """Where the rate has gone the share w of its way up, the momentum has gone w of its way down."""
    form = {"rise": rise, "anneal": anneal, "last": last, "phases": phases}
    up = one_cycle(start=0, to=0, **form).over(steps).chunk(0, steps)  # type: ignore[arg-type]
    down = one_cycle_momentum(low=0.8, **form).over(steps).chunk(0, steps)  # type: ignore[arg-type]
    np.testing.assert_allclose(down, 1 - 0.2 * up, rtol=1e-12, atol=1e-15)


class TestAgainstTorch:
    """torch's classes as oracles, on plain decays where both conventions meet; parity at large is `convert`'s."""

    @staticmethod
    def rates(build: Callable[..., object], steps: int, key: str = "lr") -> list[float]:
        torch = pytest.importorskip("torch")
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no optimizer step is taken
            scheduler = build(torch.optim.lr_scheduler)(optimizer)
            found = []
            for _ in range(steps):
                found.append(float(optimizer.param_groups[0][key]))
                scheduler.step()
        return found

    @pytest.mark.parametrize(
        ("schedule", "build"),
        [
            (cosine(to=0.1), lambda s: lambda o: s.CosineAnnealingLR(o, 100, 0.1)),
            (linear(to=0, start=1), lambda s: lambda o: s.LinearLR(o, 1.0, 0.0, 100)),
            (linear(30, start=1 / 3, to=1) >> hold(), lambda s: lambda o: s.LinearLR(o, 1 / 3, 1.0, 30)),
            (polynomial(power=2), lambda s: lambda o: s.PolynomialLR(o, 100, 2.0)),
            (exponential(rate=0.95), lambda s: lambda o: s.ExponentialLR(o, 0.95)),
            (staircase(7, factor=0.5), lambda s: lambda o: s.StepLR(o, 7, 0.5)),
            (milestones([10, 50, 50], factor=0.5), lambda s: lambda o: s.MultiStepLR(o, [10, 50, 50], 0.5)),
            (hold(5, level=1 / 3) >> hold(level=1), lambda s: lambda o: s.ConstantLR(o, 1 / 3, 5)),
            (restarts(8, growth=2, to=0.1), lambda s: lambda o: s.CosineAnnealingWarmRestarts(o, 8, 2, 0.1)),
            (cyclic(7, down=4, low=0.2), lambda s: lambda o: s.CyclicLR(o, 0.2, 1.0, 7, 4)),
            (
                cyclic(7, low=0.2, cycle_decay=0.5),
                lambda s: lambda o: s.CyclicLR(o, 0.2, 1.0, 7, mode="triangular2"),
            ),
            (
                cyclic(7, low=0.2, step_decay=0.99),
                lambda s: lambda o: s.CyclicLR(o, 0.2, 1.0, 7, mode="exp_range", gamma=0.99),
            ),
            (one_cycle(last="inclusive"), lambda s: lambda o: s.OneCycleLR(o, 1.0, 100)),
            (
                one_cycle(rise=0.37, last="inclusive", anneal="linear"),
                lambda s: lambda o: s.OneCycleLR(o, 1.0, 100, pct_start=0.37, anneal_strategy="linear"),
            ),
            (
                one_cycle(phases=3, last="inclusive", start=0.1, to=0.001),
                lambda s: (
                    lambda o: s.OneCycleLR(o, 1.0, 100, three_phase=True, div_factor=10, final_div_factor=100)
                ),
            ),
        ],
        ids=lambda value: str(value) if isinstance(value, Schedule) else "",
    )
    def test_rates(self, schedule: Schedule, build: Callable[..., object]) -> None:
        found = schedule.over(100).chunk(0, 100)
        np.testing.assert_allclose(found, self.rates(build, 100), rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize("three_phase", [False, True])
    def test_the_momentum_of_one_cycle(self, three_phase: bool) -> None:
        phases = 3 if three_phase else 2
        found = 0.95 * one_cycle_momentum(phases=phases, last="inclusive").over(100).chunk(0, 100)
        expected = self.rates(
            lambda s: lambda o: s.OneCycleLR(o, 1.0, 100, three_phase=three_phase), 100, "momentum"
        )
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warmup(None), "warmup() takes a duration, not None"),
        (lambda: warmup(2.5), "warmup(): 2.5 is no duration"),
        (lambda: warmup("5%", kind="cos"), "did you mean 'cosine'"),
        (lambda: exponential(), "exactly one of to= (the level at its end) and rate= (per every=)"),
        (lambda: exponential(to=0.1, rate=0.5), "exactly one of to="),
        (lambda: exponential(rate=0), "exponential(rate=) takes a finite number above 0, not 0"),
        (lambda: polynomial(power=-1), "polynomial(power=) takes a finite number above 0, not -1"),
        (lambda: inverse_sqrt(0), "inverse_sqrt() takes a duration above 0, not 0"),
        (lambda: staircase("0%", factor=0.1), "staircase() takes a duration above 0, not '0%'"),
        (lambda: staircase(5, factor="x"), "staircase(factor=) takes a finite number from 0, not 'x'"),
        (lambda: milestones([], factor=0.1), "milestones() takes a list of durations"),
        (lambda: milestones("30%", factor=0.1), "milestones() takes a list of durations"),
        (lambda: milestones([None], factor=0.1), "milestones() takes a duration, not None"),
        (lambda: milestones([1, 2], factor=[0.1]), "milestones() has 2 durations and 1 factors"),
        (
            lambda: cyclic(5, cycle_decay=2),
            "cyclic(cycle_decay=) takes a finite number above 0, at most 1, not 2",
        ),
        (lambda: cyclic(5, down=0), "cyclic(down=) takes a duration above 0"),
        (lambda: restarts(5, growth=0.5), "restarts(growth=0.5): cycles cannot shrink, give 1 or more"),
        (lambda: restarts(5, decay=1.5), "restarts(decay=) takes a finite number above 0, at most 1"),
        (lambda: one_cycle(rise=1.5), "one_cycle(rise=) takes a finite number from 0, at most 1"),
        (lambda: one_cycle(rise=0.6, phases=3), "one_cycle(rise=) takes a finite number from 0, at most 0.5"),
        (lambda: one_cycle(phases=4), "one_cycle(phases=4): a cycle has 2 phases or 3"),
        (lambda: one_cycle(anneal="cos"), "one_cycle(anneal=) cannot be 'cos'; did you mean 'cosine'?"),
        (lambda: one_cycle_momentum(last="exclusiv"), "one_cycle_momentum(last=) cannot be 'exclusiv'"),
        (
            lambda: hold(level=10**400),
            "hold(level=) takes a finite number from 0, not an integer beyond 1e30",
        ),
    ],
)
def test_arguments_are_checked_at_the_door(call: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        call()
    assert message in str(caught.value)
