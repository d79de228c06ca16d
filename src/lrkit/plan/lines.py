"""On which line of a TOML text each key stands. tomllib and msgspec do not say; the values are theirs to
read."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Mapping

__all__ = ["key_lines", "line_of"]

KeyPath = tuple[str, ...]

_KEY = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'=\[\]#]|[ \t])+""")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_TO_LINE_END = re.compile(r"[^\n]*")
_TEXT = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL)
_BARE_VALUE = re.compile(r"[^\s,\[\]{}#]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each key and table in `text`, by its path: `("groups", "head", "lr")`.

    Where a table is named several times, the first counts. `text` is TOML that tomllib has read; of other
    text the lines may be wrong, and nothing is raised.
    """
    scan = _Scan(text)
    with contextlib.suppress(RecursionError):  # lists in lists by the hundred: the lines so far will do
        scan.run()
    return scan.lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of the table that it would be in; None when not even that is in the text."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


class _Scan:
    """One pass over the text, from statement to statement."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted_to = 1, 0
        self.lines: dict[KeyPath, int] = {}

    def run(self) -> None:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                self._at += 2 if self._text.startswith("[[", self._at) else 1
                table = self._key(())
            else:
                self._value(self._key(table))
            self._skip(_TO_LINE_END)

    def _value(self, path: KeyPath) -> None:
        """Pass over one value after its `=`, or an entry of a list; keys of inline tables are noted."""
        if self._next_is("="):
            self._at += 1
            self._skip(_BLANK)
        if self._next_is("["):
            self._at += 1
            while self._skip(_BLANK) < len(self._text) and not self._next_is("]"):
                self._entry(path)
            self._at += 1
        elif self._next_is("{"):
            self._at += 1
            while self._skip(_BLANK) < len(self._text) and not self._next_is("}"):
                self._entry(self._key(path))
            self._at += 1
        elif not self._match(_TEXT):
            self._match(_BARE_VALUE)

    def _entry(self, path: KeyPath) -> None:
        before = self._at
        self._value(path)
        self._skip(_BLANK)
        if self._next_is(",") or self._at == before:
            self._at += 1

    def _key(self, table: KeyPath) -> KeyPath:
        """Read a dotted key, note its line, and give its path."""
        found = _KEY.match(self._text, self._at)
        if found is None:
            return table
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self._at = found.end()
        for part in _parts(found[0]):
            table = (*table, part)
            self.lines.setdefault(table, self._line)
        return table

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self._match(pattern)
        return self._at

    def _match(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def _next_is(self, character: str) -> bool:
        return self._text.startswith(character, self._at)


def _parts(key: str) -> KeyPath:
    """`a."b.c"` -> ("a", "b.c"), with the quotes and escapes that tomllib knows and nobody should write
    twice."""
    try:
        table = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts = []
    while isinstance(table, dict):
        ((part, table),) = table.items()
        parts.append(part)
    return tuple(parts)
