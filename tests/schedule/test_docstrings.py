"""The examples in the docstrings are tests, and the page on schedules names every shape and option."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import lrkit.schedule
import lrkit.spec
from lrkit.spec import CATALOG, Entry

_MODULES = ["lrkit.duration"] + [
    f"{room.__name__}.{info.name}"
    for room in (lrkit.schedule, lrkit.spec)
    for info in pkgutil.iter_modules(room.__path__)
]
_PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"


@pytest.mark.parametrize("name", _MODULES)
def test_docstring_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_the_page_shows_each_shape_with_its_defaults(entry: Entry) -> None:
    row = re.search(rf"^\| `{entry.name}\((.*?)\)` \|", _PAGE.read_text(), re.MULTILINE)
    assert row is not None
    shown = row[1]
    for name, parameter in inspect.signature(entry.build).parameters.items():
        if "..." in shown.split(", ") and name not in shown:
            continue  # "and so on, as in the row above"
        if parameter.kind is parameter.KEYWORD_ONLY:
            given = re.search(rf"\b{name}=(\S+?)(,| or |$)", shown)
            assert given is not None, name
            if parameter.default not in (None, parameter.empty):
                assert eval(given[1], {"__builtins__": {}}) == parameter.default  # noqa: S307 - our own page
