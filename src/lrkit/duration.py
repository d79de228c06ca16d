"""Durations ("5%", "3 epochs", 500), and the horizon that turns them into steps. Knows no schedules."""

from __future__ import annotations

import operator
import re
from collections.abc import Sized
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from typing import Any, Final, Literal, SupportsIndex, cast

from lrkit.errors import HorizonError, SpecError, did_you_mean

__all__ = ["UNITS", "Duration", "Horizon", "Unit", "brief", "half_up", "whole_number"]

Unit = Literal["steps", "epochs", "samples", "tokens", "percent"]

UNITS: Final[dict[str, Unit]] = {
    "": "steps",
    "%": "percent",
    "epoch": "epochs",
    "epochs": "epochs",
    "percent": "percent",
    "sample": "samples",
    "samples": "samples",
    "step": "steps",
    "steps": "steps",
    "token": "tokens",
    "tokens": "tokens",
}
"""Every way to write a unit, and the unit that it means."""

_WHOLE: Final = ("steps", "samples", "tokens")
_LARGEST: Final = 10**15
_SMALLEST: Final = Fraction(1, 10**15)
_LONGEST: Final = (
    64  # characters; Python's own int() takes quadratic time, and Fraction("1e999999999") for ever
)

_DURATION = re.compile(
    r"\s*(?P<amount>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|\d+/\d+)\s*(?P<unit>%|[A-Za-z]*)\s*", re.ASCII
)


def half_up(x: Fraction) -> int:
    """The whole number nearest to `x`; halves go up, so that boundaries move one way as a run grows.

    >>> half_up(Fraction(5, 2)), half_up(Fraction(7, 2))
    (3, 4)
    """
    return (2 * x.numerator + x.denominator) // (2 * x.denominator)


def brief(value: object) -> str:
    """`repr` for a message, never long and never slow: the value may be hostile."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "an integer beyond 1e30"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def whole_number(value: object) -> int | None:
    """`value` as an int if it is a whole number (an int, numpy's, 500.0) and no bool; else None."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


@dataclass(frozen=True, slots=True)
class Duration:
    """How long something takes: an exact amount of one unit.

    `amount` lies between 0 and 1e15; steps, samples and tokens come whole. `percent` is a share of the run,
    or inside `.repeat(n)` of one copy. Raises SpecError otherwise. Its `str` is what `Duration.of` reads.

    >>> str(Duration(Fraction(5), "percent")), str(Duration(Fraction(3, 2), "epochs"))
    ('5%', '1.5 epochs')
    """

    amount: Fraction
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in UNITS.values():
            raise SpecError(f"unknown unit {self.unit!r}{did_you_mean(str(self.unit), set(UNITS.values()))}")
        given: object = self.amount
        if isinstance(given, bool) or not isinstance(given, (int, Fraction)):
            raise SpecError(
                f"a duration's amount is a Fraction, not {brief(given)}: read it with Duration.of()"
            )
        amount = Fraction(given)
        object.__setattr__(self, "amount", amount)
        if not 0 <= amount <= _LARGEST or 0 < amount < _SMALLEST or amount.denominator > _LARGEST:
            raise SpecError(
                f"a duration of {float(amount):.6g} {self.unit} is out of range: 0, or 1e-15 to 1e15"
            )
        if self.unit in _WHOLE and amount.denominator != 1:
            raise SpecError(f"{float(amount):.6g} {self.unit} is no whole number of {self.unit}")

    @classmethod
    def of(cls, value: int | float | str | Duration) -> Duration:
        """Read a duration: `500`, `"500 steps"`, `"5%"`, `"1/3 epoch"`, `"1e6 samples"`, `"2e9 tokens"`.

        A number without a unit counts steps. Raises SpecError for anything else: a bool, a float that is no
        whole number, NaN, a negative or an endless number, an unknown unit.

        >>> Duration.of("1e6 samples") == Duration.of("1000000 samples")
        True
        """
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            return _read(value)
        steps = whole_number(value)
        if steps is not None:
            return cls(Fraction(steps), "steps")
        raise SpecError(
            f"{brief(value)} is no duration: write whole steps (500) or text with a unit"
            " ('5%', '3 epochs', '1e6 samples', '2e9 tokens')"
        )

    def __str__(self) -> str:
        amount = _decimal(self.amount)
        if self.unit == "steps":
            return amount
        if self.unit == "percent":
            return f"{amount}%"
        return f"{amount} {self.unit[:-1] if self.amount == 1 else self.unit}"


@dataclass(frozen=True, slots=True)
class Horizon:
    """The length of a run in updates, and what turns other units into updates.

    `steps` >= 1 counts optimizer updates; `steps_per_epoch` likewise. `batch_size` is the number of samples
    in one *update* (all micro-batches, all processes), `tokens_per_step` the number of tokens in one. What is
    left out cannot be converted: asking for it is a HorizonError.

    >>> Horizon(1000, steps_per_epoch=100).steps_of(Duration.of("3 epochs"))
    Fraction(300, 1)
    """

    steps: int
    _: KW_ONLY
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    tokens_per_step: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "steps_per_epoch", "batch_size", "tokens_per_step"):
            value = getattr(self, name)
            if value is None and name != "steps":
                continue
            whole = whole_number(value)
            if whole is None or not 1 <= whole <= _LARGEST:
                raise HorizonError(f"Horizon({name}={brief(value)}): it takes a whole number from 1 to 1e15")
            object.__setattr__(self, name, whole)

    @classmethod
    def of(
        cls,
        loader: object,
        *,
        epochs: int | float | None = None,
        steps: int | None = None,
        accumulate: int = 1,
        world_size: int = 1,
        limit: int | None = None,
        tokens_per_step: int | None = None,
    ) -> Horizon:
        """The horizon of a run over `loader` for `epochs` or for `steps` (exactly one of them).

        `len(loader)` is the number of micro-batches that one process sees in an epoch; `limit` caps it. One
        update takes `accumulate` of them, and a last incomplete window still is an update, so that an epoch
        has `ceil(len / accumulate)` updates. `world_size` processes share an update, which multiplies the
        samples in it. A loader without a length serves only with `steps=`; else it is a HorizonError, as is
        an empty loader.
        """
        if (epochs is None) == (steps is None):
            raise HorizonError("Horizon.of() takes exactly one of epochs= and steps=")
        for name, value in (("accumulate", accumulate), ("world_size", world_size), ("limit", limit)):
            if name == "limit" and value is None:
                continue
            whole = whole_number(value)
            if whole is None or whole < 1:
                raise HorizonError(f"Horizon.of({name}={brief(value)}): it takes a whole number from 1 on")
        batches = _length(loader)
        if batches is not None and limit is not None:
            batches = min(batches, limit)
        per_epoch = None if batches is None else -(-batches // accumulate)
        if steps is None:
            if per_epoch is None:
                raise HorizonError(
                    f"a {type(loader).__name__} has no length, so epochs={epochs!r} is no number of steps:"
                    " give steps= instead"
                )
            steps = _steps_in(epochs, per_epoch)
        samples = _batch_size(loader)
        return cls(
            steps,
            steps_per_epoch=per_epoch,
            batch_size=None if samples is None else samples * accumulate * world_size,
            tokens_per_step=tokens_per_step,
        )

    def steps_of(self, duration: Duration) -> Fraction:
        """How many steps `duration` takes, exactly (rounding belongs to whoever lays phases side by side)."""
        match duration.unit:
            case "steps":
                return duration.amount
            case "percent":
                return duration.amount * self.steps / 100
            case "epochs":
                return duration.amount * self._per("steps_per_epoch", duration)
            case "samples":
                return duration.amount / self._per("batch_size", duration)
            case "tokens":
                return duration.amount / self._per("tokens_per_step", duration)

    def _per(self, name: str, duration: Duration) -> int:
        value: int | None = getattr(self, name)
        if value is None:
            raise HorizonError(
                f"{str(duration)!r} needs Horizon({name}=...), which this horizon of {self.steps} steps lacks"
                f" (on the command line --{name.replace('_', '-')})"
            )
        return value


def _read(text: str) -> Duration:
    if len(text) > _LONGEST:
        raise SpecError(f"a duration of {len(text)} characters is too long: {brief(text)}")
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SpecError(
            f"{text!r} is no duration: write 500, '5%', '3 epochs', '1e6 samples' or '2e9 tokens'"
        )
    unit = UNITS.get(match["unit"])
    if unit is None:
        raise SpecError(
            f"unknown unit {match['unit']!r} in {text!r}{did_you_mean(match['unit'], [unit for unit in UNITS if unit])}"
        )
    return Duration(_exact(match["amount"], text), unit)


def _exact(amount: str, text: str) -> Fraction:
    """The exact value of a decimal or a ratio. Size comes first: a huge exponent is cheap to write."""
    if "/" in amount:
        top, bottom = amount.split("/")
        if not int(bottom):
            raise SpecError(f"{text!r} divides by 0")
        return Fraction(int(top), int(bottom))
    size = float(amount)
    if size > _LARGEST or (size < _SMALLEST and re.match(r"[0.]*[1-9]", amount)):
        raise SpecError(f"a duration of {text!r} is out of range: 0, or 1e-15 to 1e15")
    return Fraction(amount) if size else Fraction(0)


def _decimal(x: Fraction) -> str:
    """`x` as the shortest exact decimal, or as a ratio where there is none."""
    rest, places = x.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1 or places > 30:
        return f"{x.numerator}/{x.denominator}"
    digits = f"{x.numerator * 10**places // x.denominator:0{places + 1}d}"
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _length(loader: object) -> int | None:
    try:
        length = len(cast("Sized", loader))
    except (TypeError, NotImplementedError, AttributeError):
        # Three ways in which iterable data sets and their wrappers say that they have no length.
        return None
    if length < 1:
        raise HorizonError(f"the {type(loader).__name__} is empty: there is nothing to train on")
    return length


def _batch_size(loader: Any) -> int | None:
    """The loader's own samples per batch; `Any` because loaders share attributes by custom, not by type."""
    for owner in (loader, getattr(loader, "batch_sampler", None)):
        size = getattr(owner, "batch_size", None)
        if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
            return size
    return None


def _steps_in(epochs: object, per_epoch: int) -> int:
    number = epochs if isinstance(epochs, float) else whole_number(epochs)
    if number is None or not 0 < number <= _LARGEST:
        raise HorizonError(f"Horizon.of(epochs={brief(epochs)}): it takes a number above 0")
    # repr, because 0.1 epochs means a tenth, not the float next to it.
    return max(1, half_up(Fraction(repr(number)) * per_epoch))
