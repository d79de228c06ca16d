"""The command line of a trial: a list of arguments with placeholders, `--lr {lr}`. No shell ever reads it.

A placeholder is a name in braces; `{{name}}` stands for the text `{name}`. All other braces are left as they are,
so that an argument may hold JSON.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrkit.errors import SpecError, did_you_mean
from lrkit.search.trials import Value

__all__ = ["PREFIX", "Template", "environment"]

PREFIX = "LRKIT_"
"""What the names of environment variables begin with."""
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_-]*)\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A command and its arguments, at least one; each may hold placeholders. Raises SpecError for what is none."""

    arguments: tuple[str, ...]

    def __init__(self, arguments: Sequence[str]) -> None:
        if isinstance(arguments, str):
            raise SpecError(
                f"a command is a list of arguments, not the text {arguments!r:.80}: no shell reads it"
            )
        if not arguments or not arguments[0]:
            raise SpecError("there is no command: write it after `--`, as in `-- python train.py --lr {lr}`")
        wrong = next((a for a in arguments if not isinstance(a, str) or "\0" in a), None)
        if wrong is not None:
            raise SpecError(f"an argument of a command is a text without NUL characters, not {wrong!r:.80}")
        object.__setattr__(self, "arguments", tuple(arguments))

    def __str__(self) -> str:
        return shlex.join(self.arguments)

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders in the order of their first use."""
        found = (match[2] for argument in self.arguments for match in _PLACEHOLDER.finditer(argument))
        return tuple(dict.fromkeys(name for name in found if name))

    def check(self, known: Iterable[str], *, needed: Iterable[str]) -> None:
        """Raises SpecError where a placeholder is none of the `known` names, or one of the `needed` is not used."""
        known = list(known)
        unknown = next((name for name in self.names if name not in known), None)
        if unknown is not None:
            raise SpecError(
                f"unknown placeholder {{{unknown}}} in the command{did_you_mean(unknown, known)} "
                f"(the text itself is written {{{{{unknown}}}}})"
            )
        unused = [f"{{{name}}}" for name in needed if name not in self.names]
        if unused:
            raise SpecError(
                f"the command makes no use of {' and '.join(unused)}: write it where the value belongs, as in "
                f"`-- python train.py --lr {{lr}}`, or pass --env and let it read {PREFIX}LR and the like"
            )

    def fill(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The arguments of one trial: every placeholder replaced by its value, numbers as Python prints them."""

        def value(match: re.Match[str]) -> str:
            return f"{{{match[1]}}}" if match[1] else _text(values[match[2]])

        return tuple(_PLACEHOLDER.sub(value, argument) for argument in self.arguments)


def environment(values: Mapping[str, Value]) -> dict[str, str]:
    """The same values as environment variables: `LRKIT_LR`, `LRKIT_WEIGHT_DECAY` ..."""
    return {PREFIX + name.upper().replace("-", "_"): _text(value) for name, value in values.items()}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else repr(value)
