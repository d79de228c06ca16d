"""The language of schedules: the catalog of shapes, and text in and out. Does not import torch."""

from __future__ import annotations

from lrkit.spec._parse_spec import Spec, parse_control, parse_spec
from lrkit.spec.catalog import CATALOG, Entry
from lrkit.spec.controllers import CONTROLLERS, ControllerEntry
from lrkit.spec.text import parse

__all__ = [
    "CATALOG",
    "CONTROLLERS",
    "ControllerEntry",
    "Entry",
    "Spec",
    "parse",
    "parse_control",
    "parse_spec",
]
