"""Schedules in the peers' dialects: theirs to lrkit's, with the peer's own numbers, and back. No torch at import."""

from __future__ import annotations

from lrkit.convert._to_keras import to_keras
from lrkit.convert._to_optax import to_optax
from lrkit.convert._to_table import from_table, read_table, to_table, write_table
from lrkit.convert._to_torch import to_torch
from lrkit.convert.dialects import DIALECTS, is_dialect, parse, parse_spec, schedule

__all__ = [
    "DIALECTS",
    "from_table",
    "is_dialect",
    "parse",
    "parse_spec",
    "read_table",
    "schedule",
    "to_keras",
    "to_optax",
    "to_table",
    "to_torch",
    "write_table",
]
