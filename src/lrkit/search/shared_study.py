"""A study that several drivers share, on any number of machines: in PostgreSQL, through Optuna's storage.

Each result is a finished trial of an Optuna study, so that `optuna-dashboard` shows the search as it goes. Optuna has
no transaction over "is it there?" and "add it"; who trains what stands in tables of our own beside its own, and both
change together or not at all. What a search does with it is not here.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from lrkit.errors import SpecError, StudyError
from lrkit.search.identity import require_format, require_settings
from lrkit.search.optuna_trials import from_trial, quiet_optuna, to_trial
from lrkit.search.shared_claims import Desk, lock_tables, make_tables
from lrkit.search.shared_database import Database, within
from lrkit.search.space import Space
from lrkit.search.study import Study
from lrkit.search.trials import Direction, Proposal, Result, TrialKey

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import Connection

__all__ = ["SharedStudy", "study_name"]

FORMAT = 2

_Value = TypeVar("_Value")

_LONGEST_NAME = 512  # of a study, in Optuna's tables
_BEATS = 4
"""Signs of life in a grace period: three may fail."""
_SLOWEST_BEAT = 15.0
_POLLING = (0.05, 1.0)
"""Seconds between two looks at what others do, at first and at most."""
_LONGEST_WAIT = 10.0
_PATIENCE_AT_THE_END = 5.0


def study_name(task: str, name: str = "") -> str:
    """What a study is called: its task, and the name that tells it from others of the same task.

    >>> study_name("digits"), study_name("digits", "long")
    ('digits', 'digits: long')
    """
    return f"{task}: {name}" if name else task


class SharedStudy(Study):
    """The `Study` called `name` in the database at `storage` (`postgresql://...`); whoever opens it again, or beside
    others, with equal `settings` (plain data) takes part in it.

    `steps`, `direction` and `space` say how a result is shown as a trial of Optuna: the length of a full trial, which
    way the objective goes, and what is searched beside the lr.
    `grace`: seconds without a sign of life after which a driver counts as dead, and what it had claimed is free again;
        a minute by default, which outlasts a machine that swaps or a short loss of network.
    `patience`: seconds for which a lost connection is sought again, before that is an error.

    Each proposal is claimed by one live driver at a time, and has one result: when a driver that was thought dead comes
    with its own all the same, the first one stays. Raises SpecError for what is no such address, MissingExtra without
    Optuna and psycopg, StudyError where the server is not there or the study was made under other settings. No message
    and no row holds the password.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        settings: Mapping[str, Any],
        *,
        steps: int,
        direction: Direction = "min",
        space: Space | None = None,
        grace: float = 60.0,
        patience: float = 60.0,
    ) -> None:
        if not 0 < len(name) <= _LONGEST_NAME:
            raise SpecError(f"the name of a study has 1 to {_LONGEST_NAME} letters, not {len(name)}")
        if not grace > 0:
            raise SpecError(f"grace= is a time above 0 in seconds, not {grace!r}")
        self.name, self._steps, self._direction, self._space = name, steps, direction, space
        self._claimed: dict[TrialKey, int] = {}
        self._results: tuple[Result, ...] = ()
        self._seen = (0, 0)
        self._heart: _Heart | None = None
        self._database: Database | None = Database(storage, patience=patience)
        try:
            with quiet_optuna():
                self._optuna, study = self._database.transact(
                    lambda connection: self._open(connection, settings)
                )
            self._desk = Desk(study, f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}", grace)
            self._check(settings)
            self._transact(self._desk.beat)
            self._heart = _Heart(self._database, self._desk)
        except BaseException:
            self.close()
            raise

    def results(self) -> tuple[Result, ...]:
        """All results, in the order in which they were added by whatever driver."""
        self._transact(self._read)
        return self._results

    def add(self, result: Result) -> None:
        """Keep one result for good. Where another driver was quicker with a trial that this one had claimed, its
        result stays and this one is dropped; a result that was never claimed and is there already is an error.
        """
        stop = self._claimed.get(result.key, result.steps)
        added = self._transact(lambda connection: self._add(connection, result, stop))
        if not added and result.key not in self._claimed:
            raise StudyError(f"the study {self.name!r} has the result at lr {result.lr:g} already")
        self._claimed.pop(result.key, None)

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The plain data under `name`. The first driver to ask makes it, and the others wait for it; if that one dies,
        another takes over.
        """
        pauses = _pauses(math.inf)
        while True:
            content, ours = self._transact(lambda connection: self._desk.begin_document(connection, name))
            if content is None and ours:
                content = self._made(name, make)
            if content is not None:
                known: dict[str, Any] = json.loads(content)
                return known
            next(pauses)

    def claim(self, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
        """Those of `proposals` that this driver is to train now: an equal share of them among the live drivers, of
        what none of them is at. What this one has claimed and not added is given again.
        """
        claimed = self._transact(lambda connection: self._desk.claim(connection, proposals))
        self._claimed |= {proposal.key: proposal.stop for proposal in claimed}
        return claimed

    def wait(self) -> None:
        """Return when results or claims are others than at the last `results()`; after ten seconds in any case."""
        for _ in _pauses(_LONGEST_WAIT):
            if self._transact(self._desk.state) != self._seen:
                return

    def close(self) -> None:
        """Free what this driver has claimed and sign off. What was added stays."""
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
            # A server that is gone frees it all the same, when the grace period is over.
            with suppress(StudyError):
                self._transact(self._desk.leave, patience=_PATIENCE_AT_THE_END)
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self, connection: Connection, settings: Mapping[str, Any]) -> tuple[RDBStorage, int]:
        from optuna.study import StudyDirection

        assert self._database is not None
        lock_tables(connection)  # or two drivers that begin at once would both make the tables
        optuna = self._database.optuna_storage()
        make_tables(connection)
        with within(connection, optuna):
            try:
                return optuna, optuna.get_study_id_from_name(self.name)
            except KeyError:
                direction = StudyDirection.MAXIMIZE if self._direction == "max" else StudyDirection.MINIMIZE
                study = optuna.create_new_study([direction], self.name)
                for key, value in settings.items():
                    optuna.set_study_user_attr(study, key, value)  # for the reader of the dashboard
                return optuna, study

    def _check(self, settings: Mapping[str, Any]) -> None:
        text = json.dumps(dict(settings))
        format, known = self._transact(lambda connection: self._desk.settings(connection, FORMAT, text))
        where = f"the study {self.name!r}"
        require_format(where, format, FORMAT)
        require_settings(where, json.loads(known), json.loads(text), choose="name")

    def _read(self, connection: Connection) -> None:
        self._seen = self._desk.state(connection)
        if self._seen[0] != len(self._results):
            with within(connection, self._optuna) as optuna:
                trials = optuna.get_all_trials(self._desk.study, deepcopy=False)
            found = [from_trial(trial) for trial in sorted(trials, key=lambda trial: trial.number)]
            self._results = tuple(result for result in found if result is not None)

    def _add(self, connection: Connection, result: Result, stop: int) -> bool:
        self._desk.lock(connection)
        if self._desk.finished(connection, result.key, stop):
            return False
        with within(connection, self._optuna) as optuna:
            trial = to_trial(result, steps=self._steps, space=self._space)
            number = optuna.create_new_trial(self._desk.study, trial)
        self._desk.finish(connection, result.key, stop, number)
        return True

    def _made(self, name: str, make: Callable[[], dict[str, Any]]) -> str:
        try:
            text = json.dumps(make())
            return self._transact(lambda connection: self._desk.end_document(connection, name, text))
        except BaseException:
            # What went wrong in the making is to be told, not that it could not be freed at once.
            with suppress(StudyError):
                self._transact(
                    lambda connection: self._desk.leave(connection, document=name),
                    patience=_PATIENCE_AT_THE_END,
                )
            raise

    def _transact(self, work: Callable[[Connection], _Value], *, patience: float | None = None) -> _Value:
        if self._database is None:
            raise StudyError("this study is closed")
        if self._heart is not None:
            self._heart.check()
        return self._database.transact(work, patience=patience)


class _Heart:
    """Gives signs of life from a thread of its own, while trials train. What ends it is raised by `check`."""

    def __init__(self, database: Database, desk: Desk) -> None:
        self._database, self._desk = database, desk
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="lrkit heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=_PATIENCE_AT_THE_END)

    def check(self) -> None:
        """Raise what ended it: without signs of life, others take what this driver is at."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        pause = min(self._desk.grace / _BEATS, _SLOWEST_BEAT)
        try:
            while not self._stopped.wait(pause):
                # The driver itself says when the server stays away; here the next beat is the next attempt.
                with suppress(StudyError):
                    self._database.transact(self._desk.still_here, patience=0.0)
        except Exception as error:
            self._failure = error


def _pauses(longest: float) -> Iterator[None]:
    """Sleep between yields, longer and longer, for `longest` seconds in all."""
    given_up = time.monotonic() + longest
    pause = _POLLING[0]
    while time.monotonic() < given_up:
        time.sleep(pause)
        yield
        pause = min(1.5 * pause, _POLLING[1])
