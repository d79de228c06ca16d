"""The space of a search: what may be varied, between which bounds; and its text, `weight_decay=1e-4..1e-1:log`.

    text:   NAME "=" range
    range:  NUMBER ".." NUMBER [":log"] [":int"]  |  OPTION "|" OPTION ("|" OPTION)*

Options are numbers where all of them are, else texts. Nothing here knows what a name means: that is `setting`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from lrkit.errors import SpecError, did_you_mean
from lrkit.search.trials import Value, Values

__all__ = [
    "Choice",
    "Parameter",
    "Range",
    "Space",
    "parse_parameter",
    "parse_range",
    "read_space",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_FORMS = "write a range, `1e-4..1e-1:log` or `16..256:int`, or options, `0|0.9|0.99`"
_SUFFIXES = ("int", "log")
_MOST_OPTIONS = 1000
_LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; `log`: each factor counts as much as the next, which rates and
    most penalties ask for; `integer`: whole numbers alone.

    Raises SpecError for bounds that are not finite numbers in ascending order, not above 0 with `log`, or not whole
    with `integer`.

    >>> str(Range(1e-4, 1e-1, log=True)), Range(1e-4, 1e-1, log=True).at(0.5)
    ('0.0001..0.1:log', 0.00316)
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        low, high = _finite(self.low, "low"), _finite(self.high, "high")
        if not low < high:
            raise SpecError(f"a range goes upwards, and {low:g}..{high:g} does not: swap or part its ends")
        if self.log and low <= 0:
            raise SpecError(
                f"a logarithmic range lies above 0, and {low:g}..{high:g} does not: leave out `log`"
            )
        if self.integer:
            if low != int(low) or high != int(high):
                raise SpecError(f"a range of whole numbers ends at whole numbers, not {low:g}..{high:g}")
            low, high = int(low), int(high)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def __str__(self) -> str:
        return f"{self.low!r}..{self.high!r}{':log' if self.log else ''}{':int' if self.integer else ''}"

    def at(self, place: float) -> float | int:
        """The number at a part of the way from low (0) to high (1), rounded as `nearest` does; the ends are exact."""
        if place <= 0 or place >= 1:
            return self.low if place <= 0 else self.high
        if self.log:
            return self.nearest(10.0 ** ((1 - place) * math.log10(self.low) + place * math.log10(self.high)))
        return self.nearest((1 - place) * self.low + place * self.high)

    def nearest(self, number: float) -> float | int:
        """`number` within the bounds, a whole one where the range is of these, else rounded to a thousandth of the
        range, to three significant digits if it is logarithmic: further ones would be invented, and could differ
        between machines.
        """
        if self.integer:
            rounded: float = round(number)
        elif self.log:
            decades = max(math.log10(self.high) - math.log10(self.low), 1e-15)
            finer = max(0, -math.floor(math.log10(decades)))
            rounded = float(f"{number:.{3 + finer}g}")
        else:
            rounded = round(number, 3 - math.floor(math.log10(self.high - self.low)))
        return min(max(rounded, self.low), self.high)

    def place(self, value: Value) -> float:
        """Where a number lies, as a part of the way from low to high: what `at` turns back."""
        if isinstance(value, str) or not self.holds(value):
            raise SpecError(f"{value!r} does not lie in {self}")
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def grid(self, count: int) -> tuple[float | int, ...]:
        """At most `count` numbers from end to end, evenly spaced; the middle where `count` is 1. Distinct."""
        if count == 1:
            return (self.at(0.5),)
        return tuple(dict.fromkeys(self.at(i / (count - 1)) for i in range(count)))

    def holds(self, value: Value) -> bool:
        """Whether it is such a number, within the bounds."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and not (self.integer and value != int(value))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, of which `Space.from_dict` makes an equal one."""
        return {"low": self.low, "high": self.high, "log": self.log, "integer": self.integer}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some options, two at least, in no order: all numbers or all texts that are not numbers, so that its own
    text reads back equal. Raises SpecError for others, and for one that is there twice.

    >>> str(Choice(("cosine(to=0)", "linear(to=0)")))
    'cosine(to=0)|linear(to=0)'
    """

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if isinstance(self.options, str) or not isinstance(self.options, Iterable):
            raise SpecError(f"the options of a choice are a list, not {self.options!r:.80}")
        options = tuple(_option(value) for value in self.options)
        if len(options) < 2:
            raise SpecError(f"a choice needs two options at least, not {list(options)!r:.80}")
        if len(options) > _MOST_OPTIONS:
            raise SpecError(
                f"{len(options)} options are more than the {_MOST_OPTIONS} that a choice may have"
            )
        twice = next((v for i, v in enumerate(options) if v in options[:i]), None)
        if twice is not None:
            raise SpecError(f"the option {twice!r} is there twice: leave one out")
        texts = [value for value in options if isinstance(value, str)]
        if texts and (len(texts) < len(options) or None not in map(_number, texts)):
            raise SpecError(
                f"the options {list(options)!r:.80} are numbers and texts: write all as numbers, or none"
            )
        object.__setattr__(self, "options", options)

    def __str__(self) -> str:
        return "|".join(value if isinstance(value, str) else repr(value) for value in self.options)

    def grid(self, count: int) -> tuple[Value, ...]:
        """All options: none stands for another, so `count` does not matter."""
        del count
        return self.options

    def holds(self, value: Value) -> bool:
        """Whether it is one of the options."""
        return value in self.options

    def to_dict(self) -> dict[str, Any]:
        """Plain data, of which `Space.from_dict` makes an equal one."""
        return {"options": list(self.options)}


Parameter = Range | Choice


@dataclass(frozen=True, slots=True, repr=False)
class Space(Mapping[str, Parameter]):
    """What is searched beside the learning rate, by name, in the names' order; may be empty. Immutable, hashable.

    Takes a mapping whose values are Parameters, or what stands for one: a text (`"1e-4..1e-1:log"`, `"16|32|64"`) or
    a list of options. Raises SpecError, naming the parameter, where it cannot be one, and for "lr": that is every
    search's own, and bounded by `bracket=`.
    """

    parameters: tuple[tuple[str, Parameter], ...]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        # At the door: texts and lists stand for parameters, hence Any.
        if not isinstance(parameters, Mapping):
            raise SpecError(f"a space is a mapping from names to ranges, not {parameters!r:.80}")
        items = sorted((_name(name), _parameter(name, given)) for name, given in parameters.items())
        if "lr" in parameters:
            raise SpecError(
                "the space names lr, which every search varies anyway: bound it by bracket=(low, high)"
            )
        object.__setattr__(self, "parameters", tuple(items))

    def __getitem__(self, name: str) -> Parameter:
        return dict(self.parameters)[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __repr__(self) -> str:
        return f"Space({ {name: str(parameter) for name, parameter in self.parameters}!r})"

    def check(self, values: Values) -> None:
        """Raises SpecError unless `values` has one value for each parameter, in the names' order, from its range."""
        names = tuple(name for name, _ in values)
        if names != tuple(self):
            raise SpecError(f"the values name {_listed(names)}, and the space {_listed(self)}, in this order")
        for name, value in values:
            if not self[name].holds(value):
                raise SpecError(f"{name} = {value!r} does not lie in {self[name]}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data: `Space.from_dict(space.to_dict()) == space`."""
        return {name: parameter.to_dict() for name, parameter in self.parameters}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Space:
        """The space that plain data holds. Raises SpecError where it holds none."""
        if not isinstance(data, Mapping):
            raise SpecError(f"a space is a mapping from names to ranges, not {data!r:.80}")
        return cls({name: _from_dict(name, entry) for name, entry in data.items()})


def read_space(parameters: Mapping[str, Any]) -> tuple[Range | None, Space]:
    """The range of "lr", if it is named, and the space of all else; texts and lists stand for parameters.

    Raises SpecError where "lr" is a choice, of whole numbers, or not above 0: a search goes along its logarithm.
    """
    if not isinstance(parameters, Mapping):
        raise SpecError(f"a space is a mapping from names to ranges, not {parameters!r:.80}")
    rest = Space({name: given for name, given in parameters.items() if name != "lr"})
    if "lr" not in parameters:
        return None, rest
    rates = _parameter("lr", parameters["lr"])
    if isinstance(rates, Choice) or rates.integer or rates.low <= 0:
        raise SpecError(f"lr is a range of numbers above 0, such as 1e-5..1e-1:log, not {rates}")
    return Range(rates.low, rates.high, log=True), rest


def parse_parameter(text: str) -> tuple[str, Parameter]:
    """Name and range from `NAME=RANGE`. Raises SpecError that says what is wrong with which part.

    >>> parse_parameter("lr=1e-5..1e-1:log")
    ('lr', Range(low=1e-05, high=0.1, log=True, integer=False))
    """
    name, equals, given = text.partition("=")
    if not equals:
        raise SpecError(f"{text!r:.80} is no NAME=RANGE: write it as in `lr=1e-5..1e-1:log`")
    name = _name(name.strip())
    return name, _parameter(name, given)


def parse_range(text: str) -> Parameter:
    """A Range or a Choice from text. Raises SpecError.

    >>> parse_range("16|32|64"), parse_range("0..0.2")
    (Choice(options=(16, 32, 64)), Range(low=0.0, high=0.2, log=False, integer=False))
    """
    if "|" in text:
        return _parse_choice(text)
    bounds, *suffixes = (part.strip() for part in text.split(":"))
    low, dots, high = bounds.partition("..")
    if not dots:
        raise SpecError(f"{text!r:.80} leaves nothing to search: {_FORMS}")
    for i, suffix in enumerate(suffixes):
        if suffix not in _SUFFIXES or suffix in suffixes[:i]:
            raise SpecError(
                f"unknown or repeated suffix {suffix!r:.40} of {text!r:.80}{did_you_mean(suffix, _SUFFIXES)}"
            )
    return Range(
        _parse_bound(low, text), _parse_bound(high, text), log="log" in suffixes, integer="int" in suffixes
    )


def _parse_choice(text: str) -> Choice:
    parts = [part.strip() for part in text.split("|")]
    if not all(parts):
        raise SpecError(f"an option of {text!r:.80} is empty: {_FORMS}")
    numbers = [_number(part) for part in parts]
    return Choice(tuple(parts if None in numbers else [n for n in numbers if n is not None]))


def _parse_bound(text: str, whole: str) -> float:
    number = _number(text.strip())
    if number is None:
        raise SpecError(f"{text.strip()!r:.40} in {whole!r:.80} is no finite number: {_FORMS}")
    return number


def _number(text: str) -> float | int | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(
            f"{name!r:.80} is no name of a parameter: letters, digits, - and _, at most 64, no digit first"
        )
    return name


def _parameter(name: str, given: object) -> Parameter:
    try:
        if isinstance(given, Range | Choice):
            return given
        if isinstance(given, str):
            return parse_range(given)
        if isinstance(given, list | tuple):
            return Choice(tuple(given))
        raise SpecError(f"{given!r:.80} is no range: {_FORMS}")
    except SpecError as error:
        raise SpecError(f"parameter {name!r:.80}: {error}") from error


def _from_dict(name: str, entry: object) -> Parameter:
    keys = entry.keys() if isinstance(entry, Mapping) else frozenset()
    if isinstance(entry, Mapping) and keys == {"options"}:
        return _parameter(name, list(entry["options"]))
    if isinstance(entry, Mapping) and keys == {"low", "high", "log", "integer"}:
        return Range(entry["low"], entry["high"], log=bool(entry["log"]), integer=bool(entry["integer"]))
    raise SpecError(
        f"parameter {name!r:.80}: {entry!r:.80} is no range: low, high, log and integer, or options"
    )


def _finite(value: object, which: str) -> float:
    if isinstance(value, Real) and not isinstance(value, bool) and abs(number := float(value)) <= _LARGEST:
        return number
    raise SpecError(f"{which}= of a range is a finite number (up to {_LARGEST:g}), not {value!r:.80}")


def _option(value: object) -> Value:
    if isinstance(value, bool):
        raise SpecError(f"an option is a number or a text, not {value}: write {str(value).lower()!r}")
    if isinstance(value, str):
        if not value.strip() or value != value.strip() or "|" in value:
            raise SpecError(f"the option {value!r:.80} is empty, has blanks at its ends or holds a |")
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    raise SpecError(f"an option is a finite number or a text, not {value!r:.80}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
