"""The spec language: what is printed parses back, what is wrong is refused in one line that says where."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import lrkit.schedule
from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule import Schedule, absolute, cosine, from_function, hold, linear, milestones, table, warmup
from lrkit.schedule.core import MAX_PHASES
from lrkit.spec import parse
from lrkit.spec.text import MAX_DEPTH, MAX_LENGTH, parse_call
from strategies import schedules

_NAMES = {name: getattr(lrkit.schedule, name) for name in lrkit.schedule.__all__}


@given(schedules())
def test_printed_form_parses_back(schedule: Schedule) -> None:
    assert parse(str(schedule)) == schedule


@given(schedules())
def test_printed_form_is_canonical(schedule: Schedule) -> None:
    assert str(parse(str(schedule))) == str(schedule)


@given(schedules())
def test_repr_is_python_that_makes_an_equal_schedule(schedule: Schedule) -> None:
    again = eval(repr(schedule), {"__builtins__": {}}, dict(_NAMES))  # noqa: S307 - our own text, in a test
    assert again == schedule
    assert hash(again) == hash(schedule)


@given(schedules())
def test_python_is_a_spec_as_well(schedule: Schedule) -> None:
    """What someone copies out of a script may be pasted into a plan."""
    assert parse(repr(schedule)) == schedule


@given(schedules(), st.data())
def test_white_space_between_tokens_means_nothing(schedule: Schedule, data: st.DataObject) -> None:
    tokens = re.findall(r"[A-Za-z_]\w*|[\d.]+(?:e[+-]?\d+)?(?:/\d+)?|>>|\S", str(schedule))
    gaps = data.draw(
        st.lists(st.sampled_from([" ", "\n", "\t  "]), min_size=len(tokens), max_size=len(tokens))
    )
    assert parse("".join(gap + token for gap, token in zip(gaps, tokens, strict=True))) == schedule


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("cosine()", cosine(to=0)),
        ("cosine(to=0,)", cosine(to=0)),
        ("warmup(5%)", warmup("5%")),
        ("warmup(duration = 5 %)", warmup("5%")),
        ("warmup('5%', kind='cosine')", warmup("5%", kind="cosine")),
        ("warmup(1/3 epochs)", warmup("1/3 epochs")),
        ("hold(1e3)", hold(1000)),
        ("hold(1e6 samples)", hold("1000000 samples")),
        ("hold(1 step)", hold(1)),
        ("linear(to=.5)", linear(to=0.5)),
        ("linear(to=absolute(1e-6))", linear(to=absolute(1e-6))),
        ("linear(to=absolute(value=1e-6))", linear(to=absolute(1e-6))),
        ("milestones([30%, 60%], factor=0.1)", milestones(["30%", "60%"], factor=0.1)),
        ("milestones(at=[1, 2,], factor=[0.1, 0.2])", milestones([1, 2], factor=[0.1, 0.2])),
        ("hold(1) >> (hold(2) >> hold())", hold(1) >> hold(2) >> hold()),
        ("hold(1) >> hold() * linear()", hold(1) >> (hold() * linear())),
        ("(hold(1) >> hold()) * linear()", (hold(1) >> hold()) * linear()),
        ("((hold()))", hold()),
        ("hold", hold()),
        ("((hold))", hold()),
        ("warmup(5%) >> cosine", warmup("5%") >> cosine()),
        ("hold * linear.clip(low=0.1)", hold() * linear().clip(low=0.1)),
        ("hold().clip(low=0.1).repeat(2)", hold().clip(low=0.1).repeat(2)),
        ("hold(1) >> hold().after(continue)", (hold(1) >> hold()).after("continue")),
        ("hold().after(hold)", hold()),
    ],
)
def test_equivalent_specs(text: str, schedule: Schedule) -> None:
    assert parse(text) == schedule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a schedule, found the end at column 1 of {}"),
        ("cosin(to=0)", "unknown schedule 'cosin' at column 1 of {}; did you mean 'cosine'?"),
        ("warmup(5%) >> liner()", "unknown schedule 'liner' at column 15 of {}; did you mean 'linear'?"),
        ("warmup(5%) >> sgdr(9)", "unknown schedule 'sgdr' at column 15 of {}; here it is 'restarts'"),
        ("StepLR(5)", "unknown schedule 'StepLR' at column 1 of {}; here it is 'staircase'"),
        ("hold().repet(2)", "unknown method 'repet' at column 8 of {}; did you mean 'repeat'?"),
        ("linear(too=0)", "linear() has no argument 'too' at column 8 of {}; did you mean 'to'?"),
        ("hold(3 epocs)", "unknown unit 'epocs' at column 8 of {}; did you mean 'epochs'?"),
        ("hold 5%", "expected '>>', '*', '.' or the end, found '5' at column 6 of {}"),
        ("warmup >> hold", "warmup() lacks its argument 'duration' at column 1 of {}"),
        ("hold >> cosin", "unknown schedule 'cosin' at column 9 of {}; did you mean 'cosine'?"),
        ("hold.repeat", "expected '(', found the end at column 12 of {}"),
        ("warmup()", "warmup() lacks its argument 'duration' at column 1 of {}"),
        ("linear(5%, 0)", "linear() takes 'duration' by place and all else by name at column 12 of {}"),
        ("linear(to=0, 5%)", "linear() takes 'duration' by place and all else by name at column 14 of {}"),
        ("linear(to=0, to=1)", "linear() gets 'to' twice at column 14 of {}"),
        ("linear(5%", "expected ',' or ')' for the '(' at column 7, found the end at column 10 of {}"),
        ("(hold()", "expected ',' or ')' for the '(' at column 1, found the end at column 8 of {}"),
        ("hold())", "expected '>>', '*', '.' or the end, found ')' at column 7 of {}"),
        ("hold() > linear()", "unexpected '>' at column 8 of {}"),
        ("hold() >> ", "expected a schedule, found the end at column 11 of {}"),
        ("hold(,)", "expected a value, found ',' at column 6 of {}"),
        ("0.5 * hold()", "expected a schedule, found '0.5' at column 1 of {}"),
        ("hold(1/3)", "1/3 needs a unit: only durations can be ratios at column 6 of {}"),
        ("linear(to=1e400)", "1e400 is too large a number at column 11 of {}"),
        ("linear(to=hold())", "'hold' cannot be called here: only absolute(...) can at column 11 of {}"),
        ("linear(to=-1)", "linear(to=) takes a finite number from 0, not -1 (column 1 of {})"),
        (
            "warmup(5%, kind=cosin)",
            "warmup(kind=) cannot be 'cosin'; did you mean 'cosine'? (column 1 of {})",
        ),
        (
            "hold().after(never)",
            "after() cannot be 'never'; choose from continue, error, hold (column 8 of {})",
        ),
        ("hold().repeat(0)", "repeat() takes a whole number from 1 on, not 0 (column 8 of {})"),
    ],
)
def test_errors_point_at_the_place_and_say_what_to_do(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value) == message.format(repr(text))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        " " * 10**6 + "hold()",
        "hold() >> " * 10**5,
        "hold(0) >> " * MAX_PHASES + "hold(0)",
        "hold() * " * (MAX_PHASES + 1) + "hold()",
        "(" * 1000,
        "(" * 1000 + "hold()" + ")" * 1000,
        "milestones(" + "[" * 1000,
        "hold()" + ".clip(low=0)" * 500,
        "hold()" + ".repeat(9)" * 50,
        "hold().repeat(999999999999)",
        f"hold({'9' * 5000})",
        f"linear(to=0.{'0' * 5000}1)",
        f"{'x' * 5000}()",
        f"linear({'x' * 5000}=1)",
        f"hold(5 {'x' * 5000})",
        f"hold('{'9' * 5000}')",
        "linear(to=1e400)",
        "hold(1e999999999)",
        "hold(1e999999999 epochs)",
        "hold(1e-999999999 epochs)",
        "hold(1/0 epochs)",
        f"hold({'9' * 30}/{'7' * 30} epochs)",
        "__import__('os').system('true')",
        "lambda: hold()",
        "hold(\\x00)",
        "hold(\u0661)",
        "hold()\x00",
        "hold('a\nb')",
    ],
    ids=lambda text: f"{text[:24]!r}+{len(text)}",
)
def test_hostile_text_is_refused_with_one_short_line(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert len(str(caught.value)) <= 400
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60) | st.text("()[]>*.,=% holdinear0123e/'\"", max_size=60))
@example("hold()>>\x00")
def test_any_text_is_a_schedule_or_a_spec_error(text: str) -> None:
    assert "\n" not in _refusal(text)


@given(schedules(), st.data())
def test_a_spec_with_one_character_changed_parses_or_says_where(
    schedule: Schedule, data: st.DataObject
) -> None:
    text = str(schedule)
    at = data.draw(st.integers(0, len(text) - 1))
    wrong = text[:at] + data.draw(st.sampled_from("()[],.=%>*'x9 \u00e9")) + text[at + 1 :]
    refusal = _refusal(wrong)
    assert not refusal or re.search(r"column \d+ of ", refusal)


def test_the_limits_leave_room_for_what_people_write() -> None:
    deep = MAX_DEPTH - 1
    assert parse("(" * deep + "hold()" + ")" * deep) == hold()
    long = " >> ".join(["hold(1)"] * MAX_PHASES)
    assert str(parse(long)) == long
    values = table([k / 7 for k in range(40_000)])
    assert parse(str(values)) == values


def test_one_character_more_than_the_limit_is_too_long() -> None:
    assert parse("hold()".rjust(MAX_LENGTH)) == hold()
    with pytest.raises(
        SpecError, match=f"a spec of {MAX_LENGTH + 1} characters is too long: at most {MAX_LENGTH}"
    ):
        parse("hold()".rjust(MAX_LENGTH + 1))


@pytest.mark.parametrize("text", [None, 5, b"hold()", ["hold()"], Duration.of(5)])
def test_only_text_is_parsed(text: object) -> None:
    with pytest.raises(SpecError, match="a spec is text"):
        parse(text)  # type: ignore[arg-type]


def test_what_stands_for_a_python_function_does_not_parse() -> None:
    with pytest.raises(SpecError):
        parse(str(from_function(lambda step: 1.0)))


def _pair(first: object, second: object = 2, *, option: object = None) -> tuple[object, ...]:
    return first, second, option


class TestOneCall:
    """`parse_call`: the arguments of a spec, for the names of any table."""

    TABLE: ClassVar = {"pair": _pair, "nothing": lambda: "nothing"}

    @pytest.mark.parametrize(
        ("text", "made"),
        [
            ("nothing", "nothing"),
            (" nothing ( ) ", "nothing"),
            ("pair(1)", (1, 2, None)),
            ("pair(1, -2.5, option='x y')", (1, -2.5, "x y")),
            ("pair(word, [1, 5%, none])", ("word", [1, Duration.of("5%"), None], None)),
            ("pair(True, False, option=None)", (True, False, None)),
            ("pair(true, FALSE, option=none)", (True, False, None)),
            ("pair('True')", ("True", 2, None)),
            ("pair(absolute(0.1))", (absolute(0.1), 2, None)),
        ],
    )
    def test_calls(self, text: str, made: object) -> None:
        assert parse_call(text, self.TABLE) == made

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "expected a name, found the end at column 1 of {}"),
            ("5", "expected a name, found '5' at column 1 of {}"),
            ("pear(1)", "unknown name 'pear' at column 1 of {}; did you mean 'pair'?"),
            ("pair", "pair() lacks its argument 'first' at column 1 of {}"),
            ("pair(1, opton=2)", "pair() has no argument 'opton' at column 9 of {}; did you mean 'option'?"),
            (
                "pair(1, 2, 3)",
                "pair() takes 'first' and 'second' by place and all else by name at column 12 of {}",
            ),
            ("pair({1: 2})", "unexpected '{{' at column 6 of {}"),
            ("pair(1).clip(low=0)", "expected the end, found '.' at column 8 of {}"),
            ("nothing >> nothing", "expected the end, found '>>' at column 9 of {}"),
            ("(nothing)", "expected a name, found '(' at column 1 of {}"),
        ],
    )
    def test_errors(self, text: str, message: str) -> None:
        with pytest.raises(SpecError) as caught:
            parse_call(text, self.TABLE)
        assert str(caught.value) == message.format(repr(text))

    def test_the_noun_of_the_table(self) -> None:
        with pytest.raises(SpecError, match="unknown controller 'pear' at column 1"):
            parse_call("pear", self.TABLE, noun="controller")

    @given(st.text(max_size=60) | st.text("()[]>*.,=% pairTrueNone123e/'\"", max_size=60))
    def test_any_text_is_a_call_or_a_spec_error(self, text: str) -> None:
        with suppress(SpecError):
            parse_call(text, self.TABLE)

    def test_a_schedule_keeps_its_words(self) -> None:
        """Python's constants are read as such in calls alone; a shape is told that it got a word."""
        with pytest.raises(SpecError, match="'None'"):
            parse("warmup(None)")


def _refusal(text: str) -> str:
    """What the parser has against `text`; nothing if it parses. Any other exception is a failure of the test."""
    try:
        parse(text)
    except SpecError as error:
        return str(error)
    return ""
