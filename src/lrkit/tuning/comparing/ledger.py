"""comparison.json: what of a comparison is done, written anew, whole or not at all, after each job."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lrkit.errors import StudyError
from lrkit.files import atomic_write, json_text
from lrkit.search.identity import require_format, require_settings, same_measurement
from lrkit.tuning.comparing.jobs import Job, SearchJob

__all__ = ["FILE", "VERSION", "Final", "Ledger", "Progress"]

VERSION = 1
FILE = "comparison.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """One final training: its figures by name, without "test" before them. None is a value that is not finite."""

    seed: int
    metrics: dict[str, float | None]
    diverged: bool
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One schedule so far. `search` is as `Search.to_dict()` gives it, `failure` why there is none."""

    spec: str
    bracket: tuple[float, float] | None = None
    search: dict[str, Any] | None = None
    failure: str | None = None
    finals: tuple[Final, ...] = ()
    rates: dict[str, list[float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    version: int
    settings: dict[str, Any]
    range_test: dict[str, Any] | None
    untrained: float | None
    schedules: dict[str, Progress]


class Ledger:
    """The finished part of one comparison, by the name of each schedule, in the order in which they were given.

    Raises StudyError for a file of other settings, saying what differs, and for one that cannot be read or written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], specs: Mapping[str, str]) -> None:
        self._path = folder / FILE
        # As JSON gives it back: tuples are lists there.
        self._settings: dict[str, Any] = msgspec.json.decode(json_text(settings))
        self.range_test: dict[str, Any] | None = None
        self.untrained: float | None = None
        self.schedules = {name: Progress(spec=spec) for name, spec in specs.items()}
        if self._path.exists():
            document = self._read()
            self.range_test, self.untrained = document.range_test, document.untrained
            self.schedules = document.schedules

    def begin(self, range_test: dict[str, Any], untrained: float) -> None:
        """Keep the range test that all schedules share, and the untrained model's objective: of this task, no other."""
        self.range_test, self.untrained = range_test, untrained if math.isfinite(untrained) else None
        self.write()

    def refuse_another_task(self, untrained: float) -> None:
        """Raise StudyError where the untrained model's objective shows other data or another model than at first."""
        before = math.nan if self.untrained is None else self.untrained
        if same_measurement(before, untrained):
            return
        raise StudyError(
            f"the task has changed since {self._path} was begun: its untrained model's objective was {before:.6g} "
            f"and is {untrained:.6g}; choose another folder"
        )

    def keep(self, job: Job, answer: dict[str, Any]) -> None:
        """Keep what a job gave."""
        old, answer = self.schedules[job.name], msgspec.json.decode(json_text(answer))
        if isinstance(job, SearchJob):
            self.schedules[job.name] = dataclasses.replace(old, bracket=job.bracket, **answer)
        else:
            finals = sorted((*old.finals, Final(**answer["final"])), key=lambda final: final.seed)
            rates = answer.get("rates", old.rates)
            self.schedules[job.name] = dataclasses.replace(old, finals=tuple(finals), rates=rates)
        self.write()

    def write(self, result: Mapping[str, Any] | None = None) -> None:
        """Write everything, with the `result` once there is one (which is for readers; it is not read again)."""
        document = {
            "version": VERSION,
            "settings": self._settings,
            "range_test": self.range_test,
            "untrained": self.untrained,
            "schedules": {name: dataclasses.asdict(one) for name, one in self.schedules.items()},
        }
        try:
            atomic_write(
                self._path,
                json_text(document | ({} if result is None else {"result": result}), indent=1) + "\n",
            )
        except OSError as error:
            raise StudyError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _read(self) -> _Document:
        try:
            raw = msgspec.json.decode(self._path.read_bytes())
            require_format(self._path, raw.get("version") if isinstance(raw, dict) else None, VERSION)
            document = msgspec.convert(raw, _Document)
        except OSError as error:
            raise StudyError(f"cannot read {self._path}: {error.strerror or error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StudyError(
                f"{self._path} is no comparison of lrkit: {error}; choose another folder"
            ) from error
        document.settings.pop("seeds", None)  # once a setting, while a comparison could not grow
        require_settings(self._path, document.settings, self._settings, of="comparison", choose="folder")
        return document
