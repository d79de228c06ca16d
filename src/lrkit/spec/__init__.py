"""The language of schedules: the catalog of shapes, and text in and out. Does not import torch."""

from __future__ import annotations

from lrkit.spec.catalog import CATALOG, Entry
from lrkit.spec.text import parse

__all__ = ["CATALOG", "Entry", "parse"]
