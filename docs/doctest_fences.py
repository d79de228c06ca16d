"""For the reference page: examples in docstrings (`>>> ...` up to the next empty line) become fenced code."""

from __future__ import annotations

import griffe


class DoctestFences(griffe.Extension):
    """Markdown would read `>>>` as three nested quotations, and a list in the answer as a link."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _fenced(obj.docstring.value)


def _fenced(text: str) -> str:
    lines, inside = [], False
    for line in text.splitlines():
        if not inside and line.startswith(">>> "):
            lines += ["", "```pycon"]
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)
