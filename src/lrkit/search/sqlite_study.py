"""A study in one SQLite file: what survives a kill or a power cut.

    study.db      meta: format version and settings; documents; results
    study.lock    held by the one search that writes

What a search does with it is not here.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lrkit.errors import StudyError
from lrkit.files import make_folder
from lrkit.search.identity import require_format, require_settings
from lrkit.search.journal import set_journal
from lrkit.search.locking import WriterLock
from lrkit.search.study import Study
from lrkit.search.trials import Proposal, Result

__all__ = ["FORMAT", "SqliteStudy"]

FORMAT = 3
WITHOUT_PARTS = 2
"""The format before it, whose results have no parts: read, and raised when it is continued."""

_SCHEMA = """
create table meta (key text primary key, value text not null);
create table documents (name text primary key, content text not null);
create table results (
    number integer primary key,
    lr real not null, seed integer not null, steps integer not null,
    objective real, diverged integer not null,
    cost integer not null, seconds real not null, metrics text not null, vals text not null,
    parts text not null,
    unique (lr, seed, vals, steps)
);
"""

_COLUMNS = "lr, seed, steps, objective, diverged, cost, seconds, metrics, vals, parts"


class SqliteStudy(Study):
    """A `Study` in `folder`, or in memory with None; opened again for the same `settings`, it is continued.

    `settings` are plain data; a study made under others is refused with what differs. `journal_note` says
    where it is not on a write-ahead log; `vfs` names another of SQLite's file layers than its own choice.
    Raises StudyError for a folder that cannot be written, is in use, or holds another study.
    """

    journal_note: str | None

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], *, vfs: str | None = None) -> None:
        self._lock: WriterLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._path = None if folder is None else folder / "study.db"
        try:
            if folder is not None:
                make_folder(folder)
                self._lock = WriterLock(folder / "study.lock")
            self._open(folder, settings, vfs)
        except BaseException:
            self.close()
            raise

    def results(self) -> tuple[Result, ...]:
        """All results, in the order in which they were added."""
        with self._database() as connection:
            rows = connection.execute(f"select {_COLUMNS} from results order by number").fetchall()
        return tuple(_result(row) for row in rows)

    def add(self, result: Result) -> None:
        """Keep one result for good, on the disk when this returns."""
        metrics = json.dumps([[name, _text_or_number(value)] for name, value in result.metrics])
        objective = None if math.isnan(result.objective) else result.objective
        row = (
            result.lr,
            result.seed,
            result.steps,
            objective,
            int(result.diverged),
            result.cost,
            result.seconds,
            metrics,
            json.dumps(result.values),
            json.dumps(result.parts),
        )
        with self._database() as connection, connection:
            connection.execute(f"insert into results ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The plain data under `name`, made by `make` and kept for good the first time."""
        with self._database() as connection:
            row = connection.execute("select content from documents where name = ?", (name,)).fetchone()
        if row is None:
            text = json.dumps(make())
            with self._database() as connection, connection:
                connection.execute("insert into documents values (?, ?)", (name, text))
        else:
            text = row[0]
        content: dict[str, Any] = json.loads(text)
        return content

    def claim(self, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """All of them: who holds the lock is the only driver."""
        return tuple(proposals)

    def wait(self) -> None:
        """Never right here: there is no other driver to wait for."""
        raise StudyError("this study has one driver, which has nothing to wait for")

    def clear(self) -> None:
        """Take away all results and documents for good; the settings stay, and nobody else comes in between."""
        with self._database() as connection, connection:
            connection.execute("delete from results")
            connection.execute("delete from documents")

    def close(self) -> None:
        """Let go of files and lock. What was added stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self, folder: Path | None, settings: Mapping[str, Any], vfs: str | None) -> None:
        fresh = self._path is None or not self._path.exists()
        where = (
            ":memory:"
            if self._path is None
            else self._path.resolve().as_uri() + (f"?vfs={vfs}" if vfs else "")
        )
        try:
            with self._told():
                self._connection = sqlite3.connect(
                    where, uri=self._path is not None, isolation_level="IMMEDIATE"
                )
                self.journal_note = set_journal(self._connection, folder)
                if self._connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0:
                    self._create(self._connection, settings)
            self._check(settings)
        except BaseException:
            if fresh:
                self._remove()
            raise

    def _create(self, connection: sqlite3.Connection, settings: Mapping[str, Any]) -> None:
        # One transaction: a kill in its midst leaves an empty file, which the next call fills.
        with connection:
            connection.execute("begin immediate")
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            rows = [("format", json.dumps(FORMAT)), ("settings", json.dumps(dict(settings)))]
            connection.executemany("insert into meta values (?, ?)", rows)

    def _check(self, settings: Mapping[str, Any]) -> None:
        try:
            with self._database() as connection:
                meta = {
                    key: json.loads(value) for key, value in connection.execute("select key, value from meta")
                }
        except StudyError as error:
            raise StudyError(f"{self._path} is no study of lrkit: {error}; choose another folder") from error
        if meta.get("format") != WITHOUT_PARTS:
            require_format(self._path, meta.get("format"), FORMAT)
        require_settings(
            self._path, meta["settings"], json.loads(json.dumps(dict(settings))), choose="folder"
        )
        if meta["format"] == WITHOUT_PARTS:
            with self._database() as connection, connection:
                connection.execute("begin immediate")
                connection.execute("alter table results add column parts text not null default '[]'")
                connection.execute("update meta set value = ? where key = 'format'", (json.dumps(FORMAT),))

    def _remove(self) -> None:
        """Take away a file that was begun and came to nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._path is not None:
            for ending in ("", "-wal", "-shm", "-journal"):
                Path(f"{self._path}{ending}").unlink(missing_ok=True)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise StudyError("this study is closed")
        with self._told():
            yield self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StudyError(f"cannot use the study {self._path or 'in memory'}: {error}") from error


def _result(row: tuple[Any, ...]) -> Result:
    lr, seed, steps, objective, diverged, cost, seconds, metrics, values, parts = row
    return Result(
        lr=lr,
        seed=seed,
        steps=steps,
        objective=math.nan if objective is None else objective,
        diverged=bool(diverged),
        cost=cost,
        seconds=seconds,
        metrics=tuple((name, float(value)) for name, value in json.loads(metrics)),
        values=tuple((name, value) for name, value in json.loads(values)),
        parts=tuple((share, added) for share, added in json.loads(parts)),
    )


def _text_or_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
