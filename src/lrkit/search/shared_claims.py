"""Who is at a shared study and at which of its trials: three tables beside Optuna's, and what is done in them.

Each function is a part of one transaction, on a connection to PostgreSQL. All times are the server's. A driver is live
while its last sign of life is younger than the grace period; what a driver that is not live had claimed is free.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrkit.errors import StudyError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lrkit.search.trials import Proposal, TrialKey

__all__ = ["Desk", "lock_tables", "make_tables"]

_LOCK = 0x6C726B74  # the first half of the advisory lock's name; the second is the study, or 0 for the tables

_TABLES = """
create table if not exists lrkit_studies (
    study_id integer primary key references studies on delete cascade,
    format integer not null, settings text not null
);
create table if not exists lrkit_drivers (
    study_id integer references studies on delete cascade, driver text,
    seen timestamptz not null default clock_timestamp(),
    primary key (study_id, driver)
);
create table if not exists lrkit_trials (
    study_id integer references studies on delete cascade, trial text, stop bigint,
    driver text not null, attempts integer not null default 1, result integer,
    primary key (study_id, trial, stop)
);
create table if not exists lrkit_documents (
    study_id integer references studies on delete cascade, name text,
    driver text not null, content text,
    primary key (study_id, name)
);
"""

_LIVE = "select driver from lrkit_drivers where study_id = :study and seen > clock_timestamp() - :grace"


def make_tables(connection: Connection) -> None:
    """The tables, where they are not there yet. Optuna's must be."""
    for statement in _TABLES.strip().split(";\n"):
        _execute(connection, statement)


def lock_tables(connection: Connection) -> None:
    """Keep others from making tables and studies until the transaction ends."""
    _execute(connection, "select pg_advisory_xact_lock(:lock, 0)", lock=_LOCK)


@dataclass(frozen=True, slots=True)
class Desk:
    """What one `driver` does at one study. `grace` is in seconds."""

    study: int
    driver: str
    grace: float

    def lock(self, connection: Connection) -> None:
        """Keep the study's other drivers waiting until the transaction ends. Raises StudyError where it is gone."""
        _execute(connection, "select pg_advisory_xact_lock(:lock, :study)", lock=_LOCK, study=self.study)
        self._require(connection)

    def settings(self, connection: Connection, format: int, settings: str) -> tuple[int, str]:
        """The study's format and settings: those given, where it has none yet."""
        self._do(
            connection,
            "insert into lrkit_studies values (:study, :format, :settings) on conflict do nothing",
            format=format,
            settings=settings,
        )
        row = self._do(connection, "select format, settings from lrkit_studies where study_id = :study").one()
        return row.format, row.settings

    def still_here(self, connection: Connection) -> None:
        """A sign of life of who is signed on. Whoever has left stays away, even where this comes late."""
        self._do(
            connection,
            "update lrkit_drivers set seen = clock_timestamp() where study_id = :study and driver = :driver",
        )

    def beat(self, connection: Connection) -> None:
        """A sign of life, which signs on whoever is not yet."""
        self._do(
            connection,
            "insert into lrkit_drivers values (:study, :driver) "
            "on conflict (study_id, driver) do update set seen = clock_timestamp()",
        )

    def claim(self, connection: Connection, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """This driver's part of `proposals`: what it has claimed and not finished, and what is free of the rest, up to
        an equal share among the live drivers; first the trials that this driver has brought to where they stopped.
        """
        self.lock(connection)
        self.beat(connection)
        drivers = {row.driver for row in self._do(connection, _LIVE)}
        rows = self._do(
            connection,
            "select trial, stop, driver, result from lrkit_trials "
            "where study_id = :study and trial = any(:trials) order by stop",
            trials=[_name(proposal.key) for proposal in proposals],
        ).all()
        known = {(row.trial, row.stop): row for row in rows}
        trainers = {row.trial: row.driver for row in rows if row.result is not None}
        mine, free = [], []
        for proposal in proposals:
            row = known.get((_name(proposal.key), proposal.stop))
            if row is None or (row.result is None and row.driver not in drivers):
                free.append(proposal)
            elif row.result is None and row.driver == self.driver:
                mine.append(proposal)
        # Where a trial stopped, its state is: others would train it anew.
        place = {self.driver: 0, None: 1}
        free.sort(key=lambda proposal: place.get(trainers.get(_name(proposal.key)), 2))
        share = math.ceil(len(proposals) / len(drivers))
        taken = free[: max(0, share - len(mine))]
        for proposal in taken:
            self._do(
                connection,
                "insert into lrkit_trials values (:study, :trial, :stop, :driver) on conflict "
                "(study_id, trial, stop) do update set driver = :driver, attempts = lrkit_trials.attempts + 1",
                trial=_name(proposal.key),
                stop=proposal.stop,
            )
        return tuple(proposal for proposal in proposals if proposal in {*mine, *taken})

    def finished(self, connection: Connection, key: TrialKey, stop: int) -> bool:
        """Whether this stretch of a trial has its result."""
        rows = self._do(
            connection,
            "select result from lrkit_trials where study_id = :study and trial = :trial and stop = :stop",
            trial=_name(key),
            stop=stop,
        )
        return rows.scalar() is not None

    def finish(self, connection: Connection, key: TrialKey, stop: int, result: int) -> None:
        """Note where the result of a stretch is: the id of Optuna's trial."""
        self._do(
            connection,
            "insert into lrkit_trials values (:study, :trial, :stop, :driver, 1, :result) on conflict "
            "(study_id, trial, stop) do update set driver = :driver, result = :result",
            trial=_name(key),
            stop=stop,
            result=result,
        )

    def state(self, connection: Connection) -> tuple[int, int]:
        """How many results there are, and how many live claims without one: when these change, others did something.

        Raises StudyError where the study is gone.
        """
        self._require(connection)
        row = self._do(
            connection,
            "select count(result) as done, "
            f"count(*) filter (where result is null and driver in ({_LIVE})) as held "
            "from lrkit_trials where study_id = :study",
        ).one()
        return row.done, row.held

    def begin_document(self, connection: Connection, name: str) -> tuple[str | None, bool]:
        """The document's content, None where there is none yet; and whether this driver is the one to make it."""
        self.lock(connection)
        self.beat(connection)
        self._do(
            connection,
            "insert into lrkit_documents values (:study, :name, :driver) on conflict (study_id, name) do update "
            f"set driver = :driver where lrkit_documents.content is null and lrkit_documents.driver not in ({_LIVE})",
            name=name,
        )
        row = self._document(connection, name)
        return row.content, row.driver == self.driver

    def end_document(self, connection: Connection, name: str, content: str) -> str:
        """Keep a document's content, unless another driver has meanwhile; the one that is kept."""
        self.lock(connection)
        self._do(
            connection,
            "insert into lrkit_documents values (:study, :name, :driver, :content) on conflict (study_id, name) "
            "do update set content = :content where lrkit_documents.content is null",
            name=name,
            content=content,
        )
        kept: str = self._document(connection, name).content
        return kept

    def leave(self, connection: Connection, *, document: str | None = None) -> None:
        """Free what this driver had begun and sign off; or free one `document`, and stay."""
        self.lock(connection)
        which = "" if document is None else "and name = :name"
        free = "set driver = '' where study_id = :study and driver = :driver"
        self._do(
            connection, f"update lrkit_documents {free} and content is null {which}", name=document or ""
        )
        if document is None:
            self._do(connection, f"update lrkit_trials {free} and result is null")
            self._do(connection, "delete from lrkit_drivers where study_id = :study and driver = :driver")

    def _require(self, connection: Connection) -> None:
        if self._do(connection, "select from lrkit_studies where study_id = :study").first() is None:
            raise StudyError("the study was deleted from its database: begin it again under another name")

    def _document(self, connection: Connection, name: str) -> Any:
        return self._do(
            connection,
            "select content, driver from lrkit_documents where study_id = :study and name = :name",
            name=name,
        ).one()

    def _do(self, connection: Connection, statement: str, **values: Any) -> Any:
        known = {
            "study": self.study,
            "driver": self.driver,
            "grace": datetime.timedelta(seconds=self.grace),
        }
        return _execute(connection, statement, **known, **values)


def _name(key: TrialKey) -> str:
    """A trial's name, of one length however long its values are."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _execute(connection: Connection, statement: str, **values: Any) -> Any:
    from sqlalchemy import text

    return connection.execute(text(statement), values)
