"""Where trials go on from: the state of each one that may, in a file of its own."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lrkit.files import make_folder
from lrkit.search.trials import TrialKey

__all__ = ["FileStates", "States"]


class States(Protocol):
    """The states of trials: tensors and plain data. One that is lost costs its training anew, and nothing else."""

    def load(self, key: TrialKey) -> dict[str, Any] | None:
        """The state of a trial; None where there is none."""

    def save(self, key: TrialKey, state: dict[str, Any]) -> None:
        """Keep the state from which a trial goes on. Replaces an older one of the same trial."""

    def keep_only(self, keys: frozenset[TrialKey]) -> None:
        """Forget the states of all other trials."""


class FileStates:
    """A file for each trial in `folder`, written whole or not at all; the folder goes when it is empty.

    Raises StudyError where a state cannot be written, or is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: TrialKey) -> dict[str, Any] | None:
        """The state of a trial; None where there is none."""
        from lrkit.training import load_checkpoint

        file = self._file(key)
        return load_checkpoint(file) if file.exists() else None

    def save(self, key: TrialKey, state: dict[str, Any]) -> None:
        """Keep a state, on the disk when this returns."""
        from lrkit.training import save_checkpoint

        make_folder(self.folder)
        save_checkpoint(self._file(key), state)

    def keep_only(self, keys: frozenset[TrialKey]) -> None:
        """Delete the states of all other trials."""
        if not self.folder.is_dir():
            return
        kept = {self._file(key).name for key in keys}
        with suppress(OSError):
            for file in self.folder.iterdir():
                if file.name not in kept:
                    file.unlink()
            if not kept:
                self.folder.rmdir()

    def _file(self, key: TrialKey) -> Path:
        lr, seed, values = key
        more = f"-{hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]}" if values else ""
        return self.folder / f"{lr!r}-{seed}{more}.pt"
