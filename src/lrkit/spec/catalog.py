"""The one list of schedules: parser, command line, docs and parity tests learn of a schedule from here."""

from __future__ import annotations

from typing import Final

from lrkit.spec.entry import Entry
from lrkit.spec.recipes import RECIPES
from lrkit.spec.shapes import SHAPES

__all__ = ["CATALOG", "Entry"]

CATALOG: Final[tuple[Entry, ...]] = (*SHAPES, *RECIPES)
