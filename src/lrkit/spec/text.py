"""The spec language: text -> Schedule, by one token pattern and recursive descent. `str` is the way back.

    sequence: product (">>" product)*
    product:  part ("*" part)*
    part:     ("(" sequence ")" | NAME [arguments]) ("." METHOD arguments)*
    arguments: "(" [argument ("," argument)* [","]] ")"
    argument: [NAME "="] value
    value:    NUMBER [UNIT] | WORD | STRING | "absolute" arguments | "[" value ("," value)* [","] "]"

A name without brackets is a call without arguments. The names, their parameters and their meanings come from
the catalog alone. Nothing is evaluated, and length, depth and size are bounded, so that text may come from
anywhere. `parse_call` reads one such call against another table of names.
"""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn, TypeVar

from lrkit.duration import UNITS, Duration
from lrkit.errors import SpecError, did_you_mean
from lrkit.schedule import Schedule, absolute
from lrkit.schedule.core import MAX_PHASES
from lrkit.spec.catalog import CATALOG

__all__ = ["parse", "parse_call"]

MAX_LENGTH: Final = 1_000_000
MAX_DEPTH: Final = 32
MAX_METHODS: Final = 100
MAX_NUMBER: Final = 64

_BUILDERS: Final = {entry.name: entry.build for entry in CATALOG}
_ELSEWHERE: Final = {name.lower(): entry.name for entry in CATALOG for name in entry.also}
_METHODS: Final[dict[str, Callable[..., Schedule]]] = {
    "after": Schedule.after,
    "clip": Schedule.clip,
    "repeat": Schedule.repeat,
    "skip": Schedule.skip,
}

_CONSTANTS: Final = {"true": True, "false": False, "none": None}

_TOKEN = re.compile(
    r"""
      (?P<number> -?(?:\d+/\d+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) )
    | (?P<word>   [A-Za-z_]\w* )
    | (?P<string> '[^'\\\n]*' | "[^"\\\n]*" )
    | (?P<sign>   >> | [*().,=%&\[\]] )
    """,
    re.VERBOSE | re.ASCII,
)
_SPACE = re.compile(r"\s*")

T = TypeVar("T")


@cache
def _parameters(build: Callable[..., object]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(build).parameters.values())


def parse(text: str) -> Schedule:
    """The schedule that a spec describes; `parse(str(s)) == s` for every schedule without a Python function.

    Raises SpecError, in one line, with the column (from 1) and the nearest valid name.

    >>> parse("warmup(5%) >> cosine(to=0)").over(100)(5)
    1.0
    """
    return _Parser(text).spec()


def parse_call(text: str, builders: Mapping[str, Callable[..., T]], *, noun: str = "name") -> T:
    """What `name` or `name(arguments)` makes, with `name` one of `builders`: one call, nothing joined to it.

    Arguments are written as in a spec, and True, False and None (in any case) mean what they mean in Python.
    Raises SpecError as `parse` does; `noun` says in it what the names of this table are.

    >>> parse_call("round(2.5)", {"round": lambda x: round(x)})
    2
    """
    return _Parser(text, constants=True).call(builders, noun)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at == len(text):
            yield _Token("end", "", at)
            return
        match = _TOKEN.match(text, at)
        if match is None:
            _fail(text, at, f"unexpected {text[at]!r}")
        kind = match.lastgroup or ""
        if kind == "number" and len(match[0]) > MAX_NUMBER:
            _fail(text, at, f"too long a number, {len(match[0])} characters,")
        yield _Token(kind, match[0], at)
        at = match.end()


class _Parser:
    """One pass over the tokens of one text. With `constants`, the words of Python's are read as such."""

    def __init__(self, text: str, *, constants: bool = False) -> None:
        if not isinstance(text, str):
            raise SpecError(f"a spec is text, not a {type(text).__name__}")
        if len(text) > MAX_LENGTH:
            raise SpecError(f"a spec of {len(text)} characters is too long: at most {MAX_LENGTH}")
        self._text = text
        self._constants = constants
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._methods = 0
        self._calls = 0

    def spec(self) -> Schedule:
        schedule = self._sequence()
        if self._seen.kind != "end":
            self._unexpected("'>>', '*', '.' or the end")
        return schedule

    def spec_with(self, builders: Mapping[str, Callable[..., T]], noun: str) -> tuple[Schedule, list[T]]:
        """A schedule and the calls that follow it, each after a `&`."""
        first = self._seen
        if first.text in builders:
            self._fail(first, f"{first.text} is a {noun}, no schedule", f": write hold() & {first.text}(...)")
        schedule, calls = self._sequence(), []
        self._constants = True
        while self._take("&"):
            if self._seen.kind != "word":
                self._unexpected(f"a {noun}")
            calls.append(self._named(builders, noun))
        if self._seen.kind != "end":
            self._unexpected("'&' or the end" if calls else "'>>', '*', '.', '&' or the end")
        return schedule, calls

    def call(self, builders: Mapping[str, Callable[..., T]], noun: str) -> T:
        if self._seen.kind != "word":
            self._unexpected(f"a {noun}")
        made = self._named(builders, noun)
        if self._seen.kind != "end":
            self._unexpected("the end")
        return made

    def _sequence(self) -> Schedule:
        return self._joined(">>", self._product, operator.rshift)

    def _product(self) -> Schedule:
        return self._joined("*", self._part, operator.mul)

    def _joined(
        self, sign: str, part: Callable[[], Schedule], join: Callable[[Schedule, Schedule], Schedule]
    ) -> Schedule:
        at, parts = self._seen.at, [part()]
        while self._take(sign):
            parts.append(part())
        with self._located(at):
            while len(parts) > 1:  # in pairs: one after the other, thousands of phases would take minutes
                pairs = [join(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
                parts = [*pairs, *parts[2 * len(pairs) :]]
        return parts[0]

    def _part(self) -> Schedule:
        token = self._seen
        if self._take("("):
            self._enter(token)
            schedule = self._sequence()
            self._close(")", token)
        elif token.kind == "word":
            schedule = self._named(_BUILDERS, "schedule")
        else:
            self._unexpected("a schedule")
        while self._take("."):
            schedule = self._method(schedule)
        return schedule

    def _named(self, builders: Mapping[str, Callable[..., T]], noun: str) -> T:
        name = self._seen
        build = builders.get(name.text)
        if build is None:
            here = _ELSEWHERE.get(name.text.lower()) if builders is _BUILDERS else None
            remedy = f"; here it is {here!r}" if here else did_you_mean(name.text, builders)
            self._fail(name, f"unknown {noun} {_short(name.text)}", remedy)
        self._calls += 1
        if self._calls > MAX_PHASES:
            self._fail(name, f"more than {MAX_PHASES} schedules")
        self._next += 1
        return self._call(name, build, bare=self._seen.text != "(")

    def _method(self, schedule: Schedule) -> Schedule:
        name = self._seen
        method = _METHODS.get(name.text)
        if method is None:
            self._fail(name, f"unknown method {_short(name.text)}", did_you_mean(name.text, _METHODS))
        self._methods += 1
        if self._methods > MAX_METHODS:
            self._fail(name, f"more than {MAX_METHODS} methods")
        self._next += 1
        return self._call(name, method, schedule)

    def _call(self, name: _Token, build: Callable[..., T], *given: Schedule, bare: bool = False) -> T:
        """Read the arguments of `build`, less the first ones, which are `given`, and build."""
        parameters = _parameters(build)[len(given) :]
        arguments = {} if bare else self._arguments(name, parameters)
        for p in parameters:
            if p.default is p.empty and p.name not in arguments:
                self._fail(name, f"{name.text}() lacks its argument {p.name!r}")
        with self._located(name.at):
            return build(*given, **arguments)

    def _arguments(self, name: _Token, parameters: Sequence[inspect.Parameter]) -> dict[str, Any]:
        places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        names = [p.name for p in parameters]
        arguments: dict[str, Any] = {}
        opening = self._seen
        self._expect("(")
        self._enter(opening)
        while self._seen.text != ")":
            token = self._seen
            key = self._keyword()
            if key is None:
                if len(arguments) >= len(places) or any(k not in places for k in arguments):
                    self._fail(token, f"{name.text}() takes {_listed(places)} by place and all else by name")
                key = places[len(arguments)]
            elif key not in names:
                self._fail(token, f"{name.text}() has no argument {_short(key)}", did_you_mean(key, names))
            if key in arguments:
                self._fail(token, f"{name.text}() gets {key!r} twice")
            arguments[key] = self._value()
            if not self._take(","):
                break
        self._close(")", opening)
        return arguments

    def _keyword(self) -> str | None:
        token, after = (
            self._tokens[self._next : self._next + 2] if self._seen.kind == "word" else (None, None)
        )
        if token is None or after is None or after.text != "=":
            return None
        self._next += 2
        return token.text

    def _value(self) -> Any:
        """A number, Duration, Absolute, text, list or constant; whether it will do is for the builder to say."""
        token = self._seen
        self._next += 1
        if token.kind == "number":
            return self._quantity(token)
        if token.kind == "string":
            return token.text[1:-1]
        if token.kind == "word":
            if self._seen.text != "(":
                constant = self._constants and token.text.lower() in _CONSTANTS
                return _CONSTANTS[token.text.lower()] if constant else token.text
            if token.text == "absolute":
                return self._call(token, absolute)
            self._fail(token, f"{_short(token.text)} cannot be called here: only absolute(...) can")
        if token.text != "[":
            self._next -= 1
            self._unexpected("a value")
        return self._list(token)

    def _list(self, opening: _Token) -> list[Any]:
        self._enter(opening)
        values = []
        while self._seen.text != "]":
            values.append(self._value())
            if not self._take(","):
                break
        self._close("]", opening)
        return values

    def _quantity(self, number: _Token) -> int | float | Duration:
        unit = self._seen
        if unit.text == "%" or (unit.kind == "word" and unit.text in UNITS):
            self._next += 1
            with self._located(number.at):
                return Duration.of(f"{number.text} {unit.text}")
        if unit.kind == "word":
            self._fail(unit, f"unknown unit {_short(unit.text)}", did_you_mean(unit.text, UNITS))
        if "/" in number.text:
            self._fail(number, f"{number.text} needs a unit: only durations can be ratios")
        if number.text.lstrip("-").isdigit():
            return int(number.text)
        value = float(number.text)
        if not math.isfinite(value):
            self._fail(number, f"{number.text} is too large a number")
        return value

    @property
    def _seen(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, sign: str) -> bool:
        found = self._seen.kind == "sign" and self._seen.text == sign
        self._next += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            self._unexpected(repr(sign))

    def _enter(self, opening: _Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(opening, f"brackets nested more than {MAX_DEPTH} deep")

    def _close(self, sign: str, opening: _Token) -> None:
        self._depth -= 1
        if not self._take(sign):
            self._unexpected(f"',' or {sign!r} for the {opening.text!r} at column {opening.at + 1}")

    @contextmanager
    def _located(self, at: int) -> Iterator[None]:
        """Add to an error what its raiser could not know: where in the text it was."""
        try:
            yield
        except SpecError as error:
            raise SpecError(f"{error} ({_place(self._text, at)})") from None

    def _unexpected(self, wanted: str) -> NoReturn:
        found = "the end" if self._seen.kind == "end" else _short(self._seen.text)
        self._fail(self._seen, f"expected {wanted}, found {found}")

    def _fail(self, token: _Token, what: str, remedy: str = "") -> NoReturn:
        _fail(self._text, token.at, what, remedy)


def _fail(text: str, at: int, what: str, remedy: str = "") -> NoReturn:
    raise SpecError(f"{what} at {_place(text, at)}{remedy}")


def _place(text: str, at: int) -> str:
    """The column, and the spec or what is near that column."""
    if len(text) > 120:
        head, tail = max(0, at - 40), at + 40
        text = f"{'...' if head else ''}{text[head:tail]}{'...' if tail < len(text) else ''}"
    return f"column {at + 1} of {text!r}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names) or "nothing"
