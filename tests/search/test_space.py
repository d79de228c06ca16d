"""Spaces: their text and plain data come back equal, their numbers stay within bounds, mistakes are told."""

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.search.space import Choice, Range, Space, parse_parameter, parse_range, read_space

NUMBERS = st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12)
WORDS = st.text("abcxyz()=., 0123456789>", min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    integer = draw(st.booleans())
    log = draw(st.booleans())
    least = 1 if integer else 1e-12
    bounds = (
        st.integers(least if log else -(10**9), 10**9)
        if integer
        else st.floats(least if log else -1e12, 1e12)
    )
    low, high = sorted(draw(st.lists(bounds, min_size=2, max_size=2, unique=True)))
    return Range(low, high, log=log, integer=integer)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    options = draw(
        st.lists(NUMBERS, min_size=2, unique=True)
        | st.lists(WORDS, min_size=1, unique=True).map(["a-word", *[]].__add__)
    )
    try:
        return Choice(tuple(options))
    except SpecError:
        return Choice(("a", "b"))


PARAMETERS = ranges() | choices()


@given(PARAMETERS)
def test_the_text_of_a_parameter_reads_back_equal_in_value_and_kind(parameter):
    again = parse_range(str(parameter))
    assert again == parameter
    assert repr(again) == repr(parameter)
    assert parse_parameter(f"x = {parameter}") == ("x", parameter)


@given(st.dictionaries(st.sampled_from(["wd", "batch_size", "momentum", "a-b"]), PARAMETERS))
def test_the_plain_data_of_a_space_reads_back_equal_through_json(parameters):
    space = Space(parameters)
    again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert hash(again) == hash(space)
    assert repr(again) == repr(space)
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301  # our own bytes: workers get spaces so
    assert list(space) == sorted(parameters)


@given(ranges(), st.floats(-0.5, 1.5), st.integers(1, 30))
def test_numbers_of_a_range_lie_in_it_and_keep_their_order(parameter, place, count):
    number = parameter.at(place)
    assert parameter.holds(number)
    assert isinstance(number, int) == parameter.integer
    assert parameter.at(0) == parameter.low
    assert parameter.at(1) == parameter.high
    grid = parameter.grid(count)
    assert all(parameter.holds(value) for value in grid)
    assert list(grid) == sorted(set(grid))
    assert 1 <= len(grid) <= count


@given(st.floats(0, 1))
def test_place_turns_at_back_to_the_rounding(place):
    for parameter in (Range(1e-5, 1e-1, log=True), Range(-2, 3)):
        assert parameter.place(parameter.at(place)) == pytest.approx(place, abs=1e-2)


def test_a_logarithmic_grid_goes_by_equal_factors():
    assert Range(1e-4, 1e-1, log=True).grid(4) == (1e-4, 1e-3, 1e-2, 1e-1)
    assert Range(16, 256, log=True, integer=True).grid(5) == (16, 32, 64, 128, 256)
    assert Range(0, 0.2).grid(3) == (0.0, 0.1, 0.2)
    assert Range(1, 3, integer=True).grid(9) == (1, 2, 3)
    assert Choice((8, 2, 4)).grid(2) == (8, 2, 4)


def test_the_rate_is_told_apart_and_goes_along_its_logarithm():
    rates, rest = read_space({"lr": "1e-5..1e-1", "weight_decay": "1e-4..1e-1:log", "batch_size": [16, 32]})
    assert rates == Range(1e-5, 1e-1, log=True)
    assert dict(rest) == {"batch_size": Choice((16, 32)), "weight_decay": Range(1e-4, 1e-1, log=True)}
    assert read_space({}) == (None, Space({}))
    for wrong in ("0..1", "1e-3|1e-2", "1..8:int"):
        with pytest.raises(SpecError, match="lr is a range of numbers above 0"):
            read_space({"lr": wrong})
    with pytest.raises(SpecError, match="bracket"):
        Space({"lr": "1e-3..1"})


def test_values_are_held_to_their_space():
    space = Space({"b": "1..4:int", "a": "x|y"})
    space.check((("a", "x"), ("b", 4)))
    for values, told in [
        ((("b", 4), ("a", "x")), "in this order"),
        ((("a", "x"),), "name a, and the space a, b"),
        ((("a", "z"), ("b", 1)), "a = 'z' does not lie in x|y"),
        ((("a", "x"), ("b", 1.5)), "b = 1.5 does not lie in 1..4:int"),
        ((("a", "x"), ("b", math.nan)), "does not lie"),
    ]:
        with pytest.raises(SpecError, match=told.replace("|", r"\|")):
            space.check(values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr", "no NAME=RANGE"),
        ("lr=0.1", "leaves nothing to search"),
        ("=0..1", "no name of a parameter"),
        ("9x=0..1", "no name of a parameter"),
        ("x=2..1", "goes upwards"),
        ("x=1..1", "goes upwards"),
        ("x=0..1:log", "lies above 0.*leave out `log`"),
        ("x=1..2:lgo", "did you mean 'log'"),
        ("x=1..2:log:log", "repeated suffix"),
        ("x=0.5..3:int", "whole numbers"),
        ("x=nan..1", "'nan'.*no finite number"),
        ("x=0..inf", "no finite number"),
        ("x=one..2", "'one'.*no finite number"),
        ("x=a||b", "is empty"),
        ("x=a|b|a", "'a' is there twice"),
        ("x=1|1.0", "twice"),
    ],
)
def test_a_wrong_text_is_told_what_and_where(text, told):
    with pytest.raises(SpecError, match=told) as raised:
        parse_parameter(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given_space", "told"),
    [
        ([1], "a space is a mapping"),
        ({"x": 3}, "parameter 'x': 3 is no range"),
        ({"x": [True, False]}, "write 'true'"),
        ({"x": [0.1]}, "two options"),
        ({"x": [1, "a"]}, "numbers and texts"),
        ({"x": ["1", "2"]}, "numbers and texts"),
        ({"x": [0.1, math.nan]}, "finite number or a text"),
        ({"x": ["a", "b "]}, "blanks at its ends"),
        ({1: "0..1"}, "no name"),
    ],
)
def test_a_wrong_space_is_told_what_and_where(given_space, told):
    with pytest.raises(SpecError, match=told):
        Space(given_space)


@pytest.mark.parametrize(
    "data",
    [
        {"x": {"low": 1}},
        {"x": "0..1"},
        {"x": {"options": [None, 1]}},
        [],
        {"x": {"low": "a", "high": 1, "log": False, "integer": False}},
    ],
)
def test_damaged_plain_data_is_refused(data):
    with pytest.raises(SpecError):
        Space.from_dict(data)


def test_ranges_as_narrow_and_as_wide_as_floats_can_be():
    for low, high in [(1 - 2**-53, 1.0), (1e-300, 1e300), (0.999, 0.9999)]:
        for log in (False, True):
            parameter = Range(low, high, log=log)
            assert parameter.holds(parameter.at(0.5))
    assert Range(0.99, 0.9999).at(0.5) == pytest.approx(0.99495, rel=1e-4)
    assert Range(-1e300, 1e300).at(0.5) == 0.0


def test_a_range_with_wrong_bounds_is_refused():
    for low, high in [("0", 1), (0, math.inf), (True, 2), (math.nan, 1), (0, 1e301)]:
        with pytest.raises(SpecError, match="finite number"):
            Range(low, high)
