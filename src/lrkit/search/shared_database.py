"""The connection to a PostgreSQL server: its address, transactions that outlive a lost connection, errors without
passwords. What is kept there is not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lrkit.errors import MissingExtra, SpecError, StudyError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import URL, Connection

__all__ = ["Database", "parse_address", "within"]

_Value = TypeVar("_Value")

_SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
_CONNECTING = {
    "connect_timeout": 10,
    "application_name": "lrkit",
    # A server that vanished is noticed within half a minute, not after two hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
_PAUSES = (0.1, 5.0)
"""Seconds before the first attempt to connect again, and the most before a later one."""
_FORGOTTEN = "set local idle_in_transaction_session_timeout = '15s'"
"""A driver that is stopped in the midst of a transaction must not keep the others from theirs."""


class Database:
    """The PostgreSQL database at `storage`, `postgresql://user:password@host:port/database`.

    `patience`: for how many seconds a lost connection is sought again. Raises SpecError for another address,
    MissingExtra without the packages, StudyError where nothing answers there.
    """

    def __init__(self, storage: str, *, patience: float = 60.0) -> None:
        self._url = parse_address(storage)
        import sqlalchemy

        self._patience = patience
        self._engine = sqlalchemy.create_engine(self._url, connect_args=_CONNECTING, pool_size=2)
        sqlalchemy.event.listen(self._engine, "handle_error", _tell_lost)
        self.transact(lambda _: None, patience=0.0)

    @property
    def address(self) -> str:
        """Host, port and database: what may be shown."""
        url = self._url
        host = url.host or url.query.get("host") or "localhost"
        return f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"

    def transact(self, work: Callable[[Connection], _Value], *, patience: float | None = None) -> _Value:
        """What `work` returns, done in one transaction; done again from its beginning where the connection is lost.

        The commit itself may be what was lost, so `work` must see for itself what an earlier attempt has done.
        Raises StudyError where the server does not come back in time, or refuses.
        """
        import sqlalchemy
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        given_up = time.monotonic() + (self._patience if patience is None else patience)
        pause = _PAUSES[0]
        while True:
            try:
                with self._engine.begin() as connection:
                    connection.execute(sqlalchemy.text(_FORGOTTEN))
                    return work(connection)
            except _Lost as error:
                if time.monotonic() >= given_up:
                    said = self._said(error)
                    # The error of the driver below may hold what the address does; this one is the same without it.
                    raise StudyError(
                        f"cannot reach the study's server {self.address}: {said}"
                    ) from ConnectionError(said)
            except (SQLAlchemyError, StorageInternalError) as error:
                raise StudyError(
                    f"cannot use the study's database {self.address}: {self._said(error)}"
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    def optuna_storage(self, *, make_tables: bool = True) -> RDBStorage:
        """Optuna's storage there, its tables made if they are not; for use in a transaction, see `within`.

        Raises StudyError for tables of another version of Optuna's.
        """
        from optuna.exceptions import StorageInternalError
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool

        url = self._url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        options = {"poolclass": NullPool, "connect_args": _CONNECTING}
        try:
            return RDBStorage(url, engine_kwargs=options, skip_table_creation=not make_tables)
        except RuntimeError as error:
            raise StudyError(f"cannot use Optuna's tables at {self.address}: {error}") from error
        except (SQLAlchemyError, StorageInternalError) as error:
            _raise_if_lost(error if isinstance(error, SQLAlchemyError) else error.__cause__)
            raise

    def close(self) -> None:
        """Close the connections; later use makes new ones."""
        self._engine.dispose()

    def _said(self, error: BaseException) -> str:
        """The reason, on one line, without statements, and without the password however it came in."""
        reason = getattr(error.__cause__ or error, "orig", None) or error.__cause__ or error
        text = " ".join(str(reason).split())[:300]
        query = self._url.query.get("password")
        for secret in (self._url.password, *([query] if isinstance(query, str) else query or ())):
            text = text.replace(str(secret), "***") if secret else text
        return text


@contextmanager
def within(connection: Connection, storage: RDBStorage) -> Iterator[RDBStorage]:
    """Optuna's storage, whose every commit is a savepoint of the transaction on `connection` for as long as this
    lasts: what is done there and what is done here is there together or not at all.
    """
    storage.scoped_session.remove()
    storage.scoped_session(bind=connection, join_transaction_mode="create_savepoint")
    try:
        yield storage
    finally:
        storage.scoped_session.remove()


def parse_address(storage: str) -> URL:
    """The address of a database from `postgresql://...`; the driver is psycopg.

    Raises SpecError that does not repeat the address, which may hold a password, and MissingExtra.
    """
    try:
        import optuna  # noqa: F401
        import psycopg  # noqa: F401
        import sqlalchemy
    except ImportError as error:
        raise MissingExtra("optuna and psycopg", "postgresql", "a study on a server") from error
    form = "write it as postgresql://user:password@host:port/database"
    if not isinstance(storage, str):
        raise SpecError(f"the address of a storage is a text, not {type(storage).__name__}: {form}")
    try:
        url = sqlalchemy.make_url(storage)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SpecError(f"the storage is no address of a database: {form}") from None
    if url.drivername not in _SCHEMES:
        raise SpecError(
            f"a study can be shared through PostgreSQL, not through {url.drivername!r:.40}: {form}"
        )
    return url.set(drivername="postgresql+psycopg")


class _Lost(Exception):
    """The server ended a connection, has none to give, or had to break a deadlock: the next attempt may go well.

    It takes the place of SQLAlchemy's own error, upon which Optuna would try again by itself, on that connection.
    """


def _tell_lost(context: Any) -> None:
    """What SQLAlchemy asks about each error."""
    _raise_if_lost(context.sqlalchemy_exception)


def _raise_if_lost(error: Any) -> None:
    from sqlalchemy.exc import InterfaceError, OperationalError

    if isinstance(error, OperationalError | InterfaceError):  # neither is a fault of the statement
        raise _Lost(str(error.orig)) from error.orig
