"""From a file to TOML's plain values. Nothing here knows what a plan holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from lrkit.errors import PlanError
from lrkit.plan.checks import shown

__all__ = ["read_text", "read_toml"]

_LONGEST = 1 << 20
_SYNTAX = re.compile(r"(?P<fact>.*) \(at (?P<place>line \d+, column \d+|end of document)\)", re.DOTALL)


def read_text(path: Path) -> str:
    """The text of a plan's file, line ends as they are. Raises PlanError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise PlanError(f"no plan at {str(path)!r}; `lrkit tune` writes one, named plan.toml") from None
    except OSError as error:
        raise PlanError(f"cannot read the plan {str(path)!r}: {error.strerror or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}, byte {error.start}: the file is not UTF-8 text; save it as UTF-8") from None


def read_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text as plain values. Raises PlanError with line and column."""
    if len(text) > _LONGEST:
        raise PlanError(f"{where}: it is longer than {_LONGEST} characters; no plan is")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX.fullmatch(str(error))
        fact, place = (found["fact"], found["place"]) if found else (str(error), "end of document")
        raise PlanError(
            f"{where}, {place}: not TOML: {shown(fact)[1:-1]}; "
            "texts stand in quotes, numbers do not, and no key stands twice"
        ) from None
    except RecursionError:
        raise PlanError(f"{where}: lists or tables are nested too deeply; a plan nests two of them") from None
    except ValueError:  # Python reads no integer of thousands of digits, no day 31 in February
        raise PlanError(
            f"{where}: it holds a number or a date that is out of range; mend or remove it"
        ) from None
