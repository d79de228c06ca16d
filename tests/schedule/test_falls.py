"""Falls, waves, decays and tables against slow twins, written step by step from their papers and peers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import HorizonError, SpecError
from lrkit.schedule import (
    Schedule,
    cosine,
    cosine_restarts,
    exponential,
    hold,
    hyperbolic,
    inverse_sqrt,
    inverse_time,
    linear,
    polynomial,
    power,
    restarts,
    rex,
    shifted_exponential,
    table,
    tanh,
)
from strategies import quiet

STEPS = st.integers(1, 400)
LEVELS = st.floats(0.01, 1.0)


def agrees(schedule: Schedule, expected: list[float]) -> None:
    found = quiet(schedule, len(expected)).chunk(0, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


@given(steps=STEPS, to=LEVELS, start=LEVELS, exponent=st.floats(1.0, 3.0), k=st.floats(0.5, 3.0))
def test_a_cosine_may_be_bent_twice(steps: int, to: float, start: float, exponent: float, k: float) -> None:
    """optax raises the half wave to a power, timm the progress (k-decay)."""
    wave = [math.cos(math.pi * (i**k / steps**k) / 2) ** 2 for i in range(steps)]
    agrees(
        cosine(to=to, start=start, exponent=exponent, k=k), [to + (start - to) * w**exponent for w in wave]
    )


@given(steps=STEPS, to=LEVELS, start=LEVELS, degree=st.floats(0.5, 3.0), k=st.floats(0.5, 3.0))
def test_a_polynomial_may_be_delayed(steps: int, to: float, start: float, degree: float, k: float) -> None:
    expected = [to + (start - to) * (1 - i**k / steps**k) ** degree for i in range(steps)]
    agrees(polynomial(power=degree, to=to, start=start, k=k), expected)


@given(steps=STEPS, to=LEVELS, cycles=st.integers(1, 12) | st.sampled_from([0.5, 1.5, 2.25, 3.1]))
def test_hard_restarts_fall_from_the_start_in_every_cycle(steps: int, to: float, cycles: float) -> None:
    """As in transformers: the place in the cycle is (cycles p) mod 1, here reckoned in fractions."""
    expected = []
    for i in range(steps):
        place = float(Fraction(repr(cycles)) * i / steps % 1)
        expected.append(to + (1 - to) * (1 + math.cos(math.pi * place)) / 2)
    agrees(cosine_restarts(cycles=cycles, to=to), expected)
    assert cosine_restarts(cycles=cycles, to=to).after("continue").over(steps)(steps) == to


@given(cycles=st.integers(1, 60), length=st.integers(1, 60))
def test_hard_restarts_miss_no_peak(cycles: int, length: int) -> None:
    curve = cosine_restarts(cycles=cycles).over(cycles * length)
    assert curve(np.arange(cycles) * length).tolist() == [1.0] * cycles


@given(steps=STEPS, to=LEVELS, start=LEVELS)
def test_rex(steps: int, to: float, start: float) -> None:
    left = [1 - i / steps for i in range(steps)]
    agrees(rex(to=to, start=start), [to + (start - to) * z / (0.5 + 0.5 * z) for z in left])


@given(steps=STEPS, to=LEVELS, lower=st.floats(-9, -1), upper=st.floats(-0.5, 5))
def test_tanh(steps: int, to: float, lower: float, upper: float) -> None:
    """Through the exponential form: (1 - tanh x) / 2 = 1 / (1 + e^(2x))."""
    expected = []
    for i in range(steps + 1):
        x = lower * (1 - i / steps) + upper * i / steps
        expected.append(to + (1 - to) / (1 + math.exp(2 * x)))
    agrees(tanh(steps, lower=lower, upper=upper, to=to) >> hold(), expected)


@given(steps=STEPS, to=LEVELS, ratio=st.floats(0.01, 0.9))
def test_a_shifted_exponential_reaches_its_end(steps: int, to: float, ratio: float) -> None:
    expected = [to + (1 - to) * (ratio ** (i / steps) - ratio) / (1 - ratio) for i in range(steps)]
    agrees(shifted_exponential(ratio=ratio, to=to), expected)
    assert shifted_exponential(ratio=ratio, to=to).over(steps)(steps) == to


def test_megatron_s_exponential_cooldown_is_a_ratio_of_a_half() -> None:
    expected = [2 * 0.5 ** (i / 50) - 1 for i in range(50)]
    agrees(shifted_exponential(ratio=0.5), expected)


@given(steps=STEPS, more=st.integers(0, 400), to=LEVELS, start=LEVELS)
def test_hyperbolas_begin_alike_whatever_the_length(steps: int, more: int, to: float, start: float) -> None:
    """The two schedulers of arXiv:2407.15200, from their definition."""
    n, U = steps, steps + more

    def h(x: int) -> float:
        return math.sqrt(max(0.0, (n - x) / U * (2 - (n + x) / U)))

    bent = [start + (start - to) * (h(x) - h(0)) for x in range(n + 1)]
    agrees(hyperbolic(n, bound=U, to=to, start=start) >> hold(), bent)
    geometric = [start * (start / to) ** (h(x) - h(0)) for x in range(n + 1)]
    agrees(hyperbolic(n, bound=U, to=to, start=start, kind="exponential") >> hold(), geometric)


def test_a_hyperbola_as_long_as_its_bound_is_a_line_to_its_end() -> None:
    np.testing.assert_allclose(
        hyperbolic(bound=100, to=0.2).over(100).chunk(0, 101),
        linear(to=0.2).over(100).chunk(0, 101),
        atol=1e-15,
    )


@pytest.mark.parametrize(
    "schedule", [rex(to=0.1), polynomial(power=2, to=0.1), shifted_exponential(ratio=0.3, to=0.1)]
)
def test_these_falls_stay_at_their_end_when_they_continue(schedule: Schedule) -> None:
    assert schedule.after("continue").over(10).chunk(10, 40).tolist() == [0.1] * 30


def test_what_grows_for_ever_may_be_read_far_ahead() -> None:
    """A scheduler reads a thousand steps at once, and a run may end long before these."""
    ahead = exponential(start=0.01, to=1).after("continue").over(10).chunk(0, 2000)
    assert ahead[10] == pytest.approx(1.0)
    assert ahead[-1] == np.inf


@given(steps=STEPS, scale=st.integers(1, 100), exponent=st.floats(0.1, 3))
def test_a_power_law(steps: int, scale: int, exponent: float) -> None:
    agrees(power(scale, exponent=exponent), [(1 + i / scale) ** -exponent for i in range(steps)])


@given(steps=STEPS, scale=st.integers(1, 100))
def test_an_inverse_square_root_is_a_power_of_a_half(steps: int, scale: int) -> None:
    agrees(inverse_sqrt(scale), power(scale, exponent=0.5).over(steps).chunk(0, steps).tolist())


@given(steps=STEPS, tenth=st.integers(1, 40), to=LEVELS)
def test_an_inverse_square_root_may_be_stretched_to_its_end(steps: int, tenth: int, to: float) -> None:
    """The cooldown of arXiv:2403.08763: 1 + (c - 1) h(p) / h(1), h(x) = 1 / sqrt(1 + a x) - 1."""
    a = steps / tenth
    expected = [
        1 + (to - 1) * (1 / math.sqrt(1 + a * i / steps) - 1) / (1 / math.sqrt(1 + a) - 1)
        for i in range(steps)
    ]
    agrees(inverse_sqrt(tenth, to=to), expected)
    assert inverse_sqrt(tenth, to=to).over(steps)(steps) == to


def test_where_the_scale_is_huge_the_stretched_one_is_a_line() -> None:
    found = inverse_sqrt(10**15, to=0).over(100).chunk(0, 100)
    np.testing.assert_allclose(found, linear(to=0).over(100).chunk(0, 100), rtol=1e-12)


@given(steps=STEPS, rate=st.floats(0.01, 5), every=st.integers(1, 30))
def test_inverse_time_smooth_or_in_stairs(steps: int, rate: float, every: int) -> None:
    agrees(inverse_time(rate, every=every), [1 / (1 + rate * i / every) for i in range(steps)])
    agrees(
        inverse_time(rate, every=every, form="stair"), [1 / (1 + rate * (i // every)) for i in range(steps)]
    )


@given(
    steps=STEPS,
    values=st.lists(st.floats(0, 2), min_size=1, max_size=8),
    every=st.fractions(Fraction(1, 3), 60, max_denominator=7),
)
def test_a_table_holds_each_value_until_the_next(steps: int, values: list[float], every: Fraction) -> None:
    stairs, lines = [], []
    for i in range(steps):
        begun = [k for k in range(len(values)) if math.floor(k * every + Fraction(1, 2)) <= i]
        stairs.append(values[begun[-1]])
        k = min(math.floor(i / every), len(values) - 1)
        ahead = values[min(k + 1, len(values) - 1)]
        lines.append(values[k] + (ahead - values[k]) * float(i / every - k))
    share = f"{every * 100 / steps} percent"
    agrees(table(values, every=share), stairs)
    agrees(table(values, every=share, interpolation="linear"), lines)


def test_a_table_takes_the_arrays_of_any_library() -> None:
    torch = pytest.importorskip("torch")
    listed = table([1, 0.5, 0.25])
    assert table(np.array([1, 0.5, 0.25], dtype=np.float32)) == listed
    assert table(torch.tensor([1, 0.5, 0.25])) == listed
    assert hash(table((1.0, 0.5, 0.25))) == hash(listed)


def test_a_long_table_makes_no_long_message() -> None:
    long = table([k / 7 for k in range(10_000)], duration=50)
    with pytest.raises(
        HorizonError, match=r"the phases take 50 steps of 40 steps \(table\(\[0.* \.\.\. "
    ) as caught:
        long.over(40)
    assert len(str(caught.value)) < 300


@given(steps=STEPS, first=st.integers(1, 40), limit=st.integers(1, 5), k=st.floats(0.5, 3), to=LEVELS)
def test_restarts_may_end_and_be_delayed(steps: int, first: int, limit: int, k: float, to: float) -> None:
    """timm's cycle_limit and k_decay."""
    expected = []
    for t in range(steps):
        i, at = t // first, t % first
        wave = 0.5 * (1 - to) * (1 + math.cos(math.pi * at**k / first**k))
        expected.append(to + wave if i < limit else to)
    agrees(restarts(first, limit=limit, k=k, to=to), expected)


@given(first=st.integers(2, 40), growth=st.sampled_from(["1.2", "1.5", "1.1", "2"]), steps=STEPS)
def test_restarts_may_keep_their_exact_lengths(first: int, growth: str, steps: int) -> None:
    """As in timm and Keras, but with the cycle counted in fractions: a restart on a whole step has its peak."""
    expected, begin, length = [], Fraction(0), Fraction(first)
    for t in range(steps):
        while t >= begin + length:
            begin, length = begin + length, length * Fraction(growth)
        expected.append((1 + math.cos(math.pi * float((t - begin) / length))) / 2)
    agrees(restarts(first, growth=float(growth), lengths="exact"), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_restarts(cycles=0), "cosine_restarts(cycles=) takes a finite number above 0"),
        (lambda: cosine_restarts(cycles=10_001), "at most 10000, not 10001"),
        (lambda: tanh(lower=1, upper=1), "tanh(lower=1, upper=1): lower must lie below upper"),
        (lambda: tanh(lower=float("nan")), "tanh(lower=) takes a finite number, not nan"),
        (lambda: shifted_exponential(ratio=1), "shifted_exponential(ratio=1) does not bend down"),
        (lambda: hyperbolic(bound=0), "hyperbolic(bound=) takes a duration above 0, not 0"),
        (
            lambda: hyperbolic(100, bound=99).over(100),
            "lasts 100 steps, longer than its bound, 99 steps: raise the bound",
        ),
        (
            lambda: hyperbolic(bound=200, kind="exponential").over(100),
            "goes from 1 towards 0: keep both levels above 0",
        ),
        (lambda: inverse_time(0), "inverse_time() takes a finite number above 0, not 0"),
        (
            lambda: inverse_time(1, form="stairs"),
            "inverse_time(form=) cannot be 'stairs'; did you mean 'stair'?",
        ),
        (lambda: table([]), "table() takes a list of factors, such as [1, 0.5, 0.1]"),
        (lambda: table("12"), "table() takes a list of factors"),
        (lambda: table([1, -0.5]), "value 1 of table() takes a finite number from 0, not -0.5"),
        (lambda: table(np.ones((2, 2))), "value 0 of table() takes a finite number from 0, not [1.0, 1.0]"),
        (lambda: restarts(5, limit=0), "restarts(limit=) takes a whole number from 1 on, not 0"),
        (lambda: restarts(5, lengths="real"), "restarts(lengths=) cannot be 'real'"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
