"""What one call of the command line remembers from its arguments until the end: for the words on failure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Session"]


@dataclass(slots=True)
class Session:
    """Filled in while arguments are read. Not a value: click hands the same one to every option and command."""

    debug: bool = False
    """Whether a failure shows its traceback."""
    folder: Path | None = None
    """The run folder from which the same command continues: as soon as it is named, it may be there from before."""
