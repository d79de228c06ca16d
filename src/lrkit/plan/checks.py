"""What a plan's fields may hold. Every check gives back the value as it is kept, or raises a FieldError."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Integral, Real

from lrkit.errors import PlanError, did_you_mean
from lrkit.plan.frozen import FrozenMap

__all__ = ["TORCH_OPTIONS", "FieldError", "OptionScalar", "OptionValue"]

OptionScalar = bool | int | float | str
OptionValue = OptionScalar | tuple[OptionScalar, ...]

# fmt: off
TORCH_OPTIONS = frozenset((
    "adjust_lr_fn", "alpha", "amsgrad", "beta2_decay", "betas", "capturable", "centered", "d", "dampening",
    "decoupled_weight_decay", "differentiable", "eps", "etas", "foreach", "fused", "history_size",
    "initial_accumulator_value", "lambd", "line_search_fn", "lr_decay", "max_eval", "max_iter", "maximize",
    "momentum", "momentum_decay", "nesterov", "ns_coefficients", "ns_steps", "rho", "step_sizes", "t0",
    "tolerance_change", "tolerance_grad", "weight_decay",
))
# fmt: on
"""The arguments of torch's own optimizers beside `params` and `lr`, to tell a slip of the pen from a newer
option."""

_LARGEST = 2**63 - 1  # TOML's integers have 64 bits


class FieldError(PlanError):
    """One field of a plan is wrong. `path` leads to it, `fact` says how and what to do; a reader adds file
    and line."""

    def __init__(self, path: tuple[str, ...], fact: str) -> None:
        super().__init__(f"{dotted(path)}: {fact}")
        self.path = path
        self.fact = fact


def dotted(path: Sequence[str]) -> str:
    """A path as TOML writes it: `groups."layer.1".lr`; long keys cut, and what cannot be printed as escapes."""
    return ".".join(_brief(part) if _is_bare(part) else _quoted(part) for part in path)


def shown(value: object) -> str:
    """The value for a message, never long: it may come from anywhere."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "an integer beyond 64 bits"
    return _brief(repr(value))


def settle(value: object, **fields: object) -> None:
    """Give a frozen value its fields in the form in which they are kept; for its `__post_init__` alone."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


def instance(field: str, value: object, kind: type) -> None:
    """`value` is a `kind`."""
    if not isinstance(value, kind):
        raise FieldError((field,), f"{shown(value)} is no {kind.__name__}; make one: {kind.__name__}(...)")


def number(field: str, value: object, wanted: str) -> float:
    """A finite number as a float; `wanted` says which numbers are right."""
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if math.isfinite(result):
            return result
    quoted = isinstance(value, str) and reads_as_number(value)
    remedy = f"write {value} without quotes" if quoted else f"give {wanted}"
    raise FieldError((field,), f"{shown(value)} is not {wanted}; {remedy}")


def positive(field: str, value: object) -> float:
    """A finite number above 0."""
    wanted = "a finite number above 0"
    result = number(field, value, wanted)
    if not result > 0:
        raise FieldError((field,), f"{shown(value)} is not {wanted}; give {wanted}, such as 1e-3")
    return result


def not_negative(field: str, value: object) -> float:
    """A finite number, 0 or above."""
    wanted = "a finite number, 0 or above"
    result = number(field, value, wanted)
    if result < 0:
        raise FieldError((field,), f"{shown(value)} is not {wanted}; give {wanted}")
    return result


def count(field: str, value: object, *, least: int = 0) -> int:
    """A whole number from `least` on."""
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= _LARGEST:
        return int(value)
    raise FieldError((field,), f"{shown(value)} is not a whole number from {least} on; give one")


def seeds(field: str, value: object) -> tuple[int, ...]:
    """Whole numbers of at most 64 bits, as a tuple."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise FieldError(
            (field,), f"{shown(value)} is not a list of seeds; give whole numbers, as in [0, 1, 2]"
        )
    for seed in value:
        if (
            not isinstance(seed, Integral)
            or isinstance(seed, bool)
            or not -_LARGEST - 1 <= int(seed) <= _LARGEST
        ):
            raise FieldError((field,), f"{shown(seed)} is not a seed; give whole numbers of at most 64 bits")
    return tuple(int(seed) for seed in value)


def interval(field: str, value: object) -> tuple[float, float]:
    """(low, high), both finite and above 0, low <= high."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise FieldError((field,), f"{shown(value)} is not an interval; give two numbers, as in [1e-3, 3e-3]")
    low, high = positive(field, value[0]), positive(field, value[1])
    if low > high:
        raise FieldError(
            (field,), f"its low end {low!r} is above its high end {high!r}; swap them: [{high!r}, {low!r}]"
        )
    return low, high


def text(field: str, value: object) -> str:
    """A text of one line that a person can read."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise FieldError(
            (field,), f"{shown(value)} is not a text of one line; give one, without control characters"
        )
    return value


def texts(field: str, value: object) -> FrozenMap[str]:
    """A mapping from text to text."""
    if not isinstance(value, Mapping):
        raise FieldError((field,), f"{shown(value)} is not a mapping from text to text")
    for key, entry in value.items():
        text(field, key)
        if not isinstance(entry, str) or not entry.isprintable():
            raise FieldError((field, key), f"{shown(entry)} is not a text; put it in quotes")
    return FrozenMap(value)


def choice(field: str, value: object, choices: Sequence[str]) -> None:
    """`value` is one of `choices`."""
    if value not in choices:
        raise FieldError((field,), f"{shown(value)} is not known{did_you_mean(str(value), choices)}")


def iso_date(field: str, value: object) -> None:
    """A date, or a date with a time, in ISO 8601."""
    try:
        if isinstance(value, str):
            datetime.fromisoformat(value)
            return
    except ValueError:
        pass
    raise FieldError((field,), f"{shown(value)} is not a date; give one as text, as in '2025-01-31'")


def group_name(name: object) -> None:
    """The name of a parameter group: a text of one line."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise FieldError(("groups",), f"{shown(name)} is no name for a group; give a text of one line")


def options(value: object, *, taken: Sequence[str]) -> FrozenMap[OptionValue]:
    """Arguments of an optimizer by name, lists as tuples. `taken` are the keys that have a meaning of their
    own.

    A key that looks like one of those misspelt is refused: as an option nobody would miss it until the
    training.
    """
    if not isinstance(value, Mapping):
        raise FieldError(("options",), f"{shown(value)} is no mapping from name to value")
    kept: dict[str, OptionValue] = {}
    for name, entry in value.items():
        path = ("options", str(name))
        if not isinstance(name, str) or not name.isidentifier():
            raise FieldError(
                path, f"{shown(name)} cannot be an optimizer's argument; give a name as in Python"
            )
        if name in (*taken, "params"):
            raise FieldError(path, f"{name!r} is no option; it has a place of its own")
        near = difflib.get_close_matches(name.lower(), taken, n=1, cutoff=0.75)
        if near:
            raise FieldError(path, f"unknown key; did you mean {near[0]!r}?")
        kept[name] = _option(path, entry)
    return FrozenMap(kept)


def torch_spelling(given: Mapping[str, OptionValue], *, within: tuple[str, ...] = ("options",)) -> None:
    """No name in `given` is a near miss of one that torch's optimizers have."""
    for name in given:
        near = difflib.get_close_matches(name.lower(), TORCH_OPTIONS, n=1, cutoff=0.8)
        if near and name not in TORCH_OPTIONS:
            raise FieldError((*within, name), f"unknown key; did you mean {near[0]!r}?")


def _option(path: tuple[str, ...], value: object) -> OptionValue:
    if isinstance(value, list | tuple):
        return tuple(_scalar(path, entry) for entry in value)
    return _scalar(path, value)


def _scalar(path: tuple[str, ...], value: object) -> OptionScalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral) and abs(int(value)) <= _LARGEST:
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Integral) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and value.isprintable():
        return value
    raise FieldError(
        path,
        f"{shown(value)} cannot stand in a plan; give a finite number, a text, true or false, or a list",
    )


def _brief(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _quoted(part: str) -> str:
    return '"' + _brief(repr(part)[1:-1].replace('"', '\\"')) + '"'


def _is_bare(part: str) -> bool:
    return bool(part) and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in part)


def reads_as_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
