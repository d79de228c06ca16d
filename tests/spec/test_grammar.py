"""The hand-written parser against an independent one: a lark grammar, and Python's own calls."""

from __future__ import annotations

from typing import Any

import lark
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

import lrkit.schedule
from lrkit.duration import Duration
from lrkit.errors import SpecError
from lrkit.schedule import Schedule
from lrkit.spec import CATALOG, parse
from strategies import schedules

_RULES = r"""
    start: sequence
    sequence: product (">>" product)*
    product: part ("*" part)*
    part: (call | "(" sequence ")") method*
    call: NAME ["(" [arguments] ")"]
    method: "." NAME "(" [arguments] ")"
    arguments: argument ("," argument)* [","]
    argument: [NAME "="] value
    value: NUMBER [UNIT] -> quantity
         | NAME -> word
         | STRING -> string
         | "[" [value ("," value)* [","]] "]" -> list
         | NAME "(" [arguments] ")" -> level
    UNIT.2: "%" | /(step|epoch|sample|token)s?\b/ | /percent\b/
    NUMBER: /-?(\d+\/\d+|(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?)/
    NAME: /[a-zA-Z_][a-zA-Z_0-9]*/
    STRING: /'[^'\\\n]*'/ | /"[^"\\\n]*"/
    %import common.WS
    %ignore WS
"""
_READER = lark.Lark(_RULES)
_NAMES = [entry.name for entry in CATALOG]

# What people write: from the rules above nearly all that is drawn would be refused for its meaning.
_WRITER = lark.Lark(
    r"""
    start: sequence | "(" sequence ")" "." "after" "(" ENDING ")"
    sequence: (closed ">>")* product
    product: part ("*" part)*
    part: (open | "(" sequence ")") method?
    closed: ("warmup" | "hold" | "one_cycle") "(" LENGTH [","] ")"
          | ("linear" | "cosine") "(" LENGTH "," "to" "=" LEVEL [","] ")"
          | "milestones" "(" "[" LENGTH ("," LENGTH)* [","] "]" "," "factor" "=" LEVEL "," "duration" "=" LENGTH ")"
    open: ("hold" | "linear" | "cosine" | "one_cycle") ["(" ")"]
        | "hold" "(" "level" "=" LEVEL ")"
        | "exponential" "(" "start" "=" LEVEL "," "to" "=" LEVEL [","] ")"
    method: "." "clip" "(" ["low" "="] LEVEL ")" | "." ("repeat" | "skip") "(" COUNT ")"
    LENGTH: /x/
    LEVEL: /x/
    COUNT: /x/
    ENDING: /x/
    WS: / +/
    %ignore WS
    """,
)
_LENGTHS = ["0", "5", "30%", "1/3 epochs", "'2 epochs'", "1e3 samples", "5 \n%", "1 step", "7.", "2.5"]
_LEVELS = ["0", "0.1", "1e-3", ".5", "1.", "absolute(0.1)", "absolute( value=1 )", "2", "5%"]
_SPECS = from_lark(
    _WRITER,
    explicit={
        "LENGTH": st.sampled_from(_LENGTHS),
        "LEVEL": st.sampled_from(_LEVELS),
        "COUNT": st.sampled_from(["1", "2", "3.0", "0"]),
        "ENDING": st.sampled_from(["hold", "'continue'", "error", "stop"]),
        "WS": st.just(" "),
    },
)


class _Builder(lark.Transformer[lark.Token, Any]):
    """A lark tree by way of Python's own calls, without any of the parser's code."""

    def start(self, items: list[Any]) -> Schedule:
        return items[0]

    def sequence(self, items: list[Schedule]) -> Schedule:
        first, *others = items
        for other in others:
            first = first >> other
        return first

    def product(self, items: list[Schedule]) -> Schedule:
        first, *others = items
        for other in others:
            first = first * other
        return first

    def part(self, items: list[Any]) -> Schedule:
        schedule, *methods = items
        for name, places, names in methods:
            schedule = getattr(schedule, name)(*places, **names)
        return schedule

    def call(self, items: list[Any]) -> Schedule:
        if items[0] not in _NAMES:
            raise SpecError("no shape")
        places, names = items[1] or ((), {})
        return getattr(lrkit.schedule, items[0])(*places, **names)

    def method(self, items: list[Any]) -> tuple[str, Any, Any]:
        if items[0] not in ("clip", "repeat", "skip", "after"):
            raise SpecError("no method")
        places, names = items[1] or ((), {})
        return str(items[0]), places, names

    def arguments(self, items: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        given = [item for item in items if item is not None]
        places = [value for name, value in given if name is None]
        if any(name is None for name, _ in given[len(places) :]) or len({n for n, _ in given if n}) + len(
            places
        ) != len(given):
            raise SpecError("order")
        return places, {str(name): value for name, value in given if name is not None}

    def argument(self, items: list[Any]) -> tuple[Any, Any]:
        return items[0], items[1]

    def quantity(self, items: list[Any]) -> Any:
        number, unit = items
        if unit is not None:
            return Duration.of(f"{number}{'' if unit == '%' else ' '}{unit}")
        return float(number) if any(c in number for c in ".eE") else int(number)

    def word(self, items: list[Any]) -> str:
        return str(items[0])

    def string(self, items: list[Any]) -> str:
        return str(items[0])[1:-1]

    def list(self, items: list[Any]) -> list[Any]:
        return [item for item in items if item is not None]

    def level(self, items: list[Any]) -> Any:
        if items[0] != "absolute":
            raise SpecError("no level")
        places, names = items[1] or ((), {})
        return lrkit.schedule.absolute(*places, **names)


def by_grammar(text: str) -> Schedule | None:
    """The schedule, or None where the text is refused."""
    try:
        return _Builder().transform(_READER.parse(text))
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, (SpecError, TypeError, ValueError)):
            return None
        raise
    except lark.exceptions.LarkError:
        return None


def by_hand(text: str) -> Schedule | None:
    try:
        return parse(text)
    except SpecError as error:
        assume("nested more than" not in str(error) and "too long" not in str(error))
        return None


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(_SPECS)
def test_specs_out_of_the_grammar_read_the_same_both_ways(text: str) -> None:
    assert by_hand(text) == by_grammar(text)


@settings(max_examples=60, deadline=None)
@given(schedules(depth=2))
def test_printed_schedules_read_the_same_both_ways(schedule: Schedule) -> None:
    assert by_grammar(str(schedule)) == schedule


@settings(max_examples=120, deadline=None)
@given(schedules(depth=1), st.data())
def test_damaged_specs_are_refused_by_both_or_by_neither(schedule: Schedule, data: st.DataObject) -> None:
    text = str(schedule)
    at, length = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 4))
    wrong = (
        text[:at]
        + data.draw(st.sampled_from(["", "(", ")", ",", "=", ">>", " ", "*", "%", "]"]))
        + text[at + length :]
    )
    assert by_hand(wrong) == by_grammar(wrong)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_examples_read_the_same_both_ways(entry: Any) -> None:
    assert by_grammar(entry.example) == parse(entry.example)
