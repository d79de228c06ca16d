"""Any study as a SQLite file in Optuna's own format, which `optuna-dashboard sqlite:///FILE` opens."""

from __future__ import annotations

import json
import math
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrkit.errors import MissingExtra, SpecError, StudyError, did_you_mean
from lrkit.files import atomic_write, make_folder
from lrkit.search.loss_curves import LossCurves
from lrkit.search.optuna_trials import quiet_optuna, to_trial
from lrkit.search.shared_database import Database, within
from lrkit.search.space import Space, read_space
from lrkit.search.sqlite_study import SqliteStudy
from lrkit.search.trials import Direction, Result

if TYPE_CHECKING:
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection

__all__ = ["export_shared_study", "export_study"]

_LOSS = "validation loss"  # of a task that names no metric: always as low as possible

CURVE_POINTS = 50
"""Losses of a trial that become intermediate values: enough for the eye, and Optuna keeps a row for each."""


def export_study(folder: Path, out: Path, *, direction: Direction | None = None) -> int:
    """Write the study in the run folder `folder` to `out`, and return how many trials it has.

    Each result is a trial, see `optuna_trials`; where the run folder has loss curves, `CURVE_POINTS` of their training
    losses are a trial's intermediate values. A search may be at the study meanwhile. `direction` is needed where the
    objective is a metric and the study does not say which way it goes.

    Raises StudyError for a folder without a study, and for an `out` that is there or cannot be written.
    """
    _require_optuna()
    _require_absent(out)
    settings, results = _read(folder)
    aim = _direction(settings, direction)
    curves = LossCurves(folder / "curves.bin").read()
    steps, space = _length(settings, results), _space(settings)
    trials = [
        to_trial(result, steps=steps, space=space, losses=_thinned(curves.get(result.key), result))
        for result in results
    ]
    _write(out, str(settings.get("task", folder.resolve().name)), aim, settings, trials)
    return len(trials)


def export_shared_study(storage: str, name: str, out: Path) -> int:
    """Write the shared study `name` at `storage` (`postgresql://...`) to `out`, and return how many trials it has.

    Raises SpecError, MissingExtra and StudyError as `SharedStudy` and `export_study` do.
    """
    database = Database(storage)
    try:
        _require_absent(out)
        content, trials = database.transact(lambda connection: _read_shared(database, connection, name))
    finally:
        database.close()
    _write(out, name, *content, trials)
    return len(trials)


def _read(folder: Path) -> tuple[dict[str, Any], tuple[Result, ...]]:
    """Settings and results of a copy: the study itself may be in use."""
    file = folder / "study.db"
    if not file.is_file():
        raise StudyError(f"no study in {folder}: there is no {file.name}; name the run folder of a search")
    with tempfile.TemporaryDirectory(prefix="lrkit-") as spare:
        try:
            # Read-write, though nothing is written: who may only read cannot take its part of the log away again.
            with (
                closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True)) as source,
                closing(sqlite3.connect(Path(spare) / file.name)) as copy,
            ):
                source.backup(copy)
                row = copy.execute("select value from meta where key = 'settings'").fetchone()
        except sqlite3.Error as error:
            raise StudyError(f"cannot read {file} as a study of lrkit: {error}") from error
        if row is None:
            raise StudyError(f"cannot read {file} as a study of lrkit: it has no settings")
        settings: dict[str, Any] = json.loads(row[0])
        try:
            with SqliteStudy(Path(spare), settings) as study:
                return settings, study.results()
        except StudyError as error:
            raise StudyError(str(error).replace(spare, str(folder))) from error


def _read_shared(
    database: Database, connection: Connection, name: str
) -> tuple[tuple[StudyDirection, dict[str, Any]], list[FrozenTrial]]:
    with quiet_optuna():
        optuna = database.optuna_storage(make_tables=False)
    with within(connection, optuna):
        names = [study.study_name for study in optuna.get_all_studies()]
        if name not in names:
            raise StudyError(f"no study {name!r} at {database.address}{did_you_mean(name, names)}")
        study = optuna.get_study_id_from_name(name)
        direction, *_ = optuna.get_study_directions(study)
        return (direction, optuna.get_study_user_attrs(study)), optuna.get_all_trials(study)


def _length(settings: Mapping[str, Any], results: Sequence[Result]) -> int:
    """What a full trial has in updates; a command's search may know no more than how far its trials came."""
    return int(settings.get("steps") or max((result.steps for result in results), default=0))


def _space(settings: Mapping[str, Any]) -> Space:
    """What is searched beside the lr: of a task as plain data, of a command as texts, the lr among them."""
    if "parameters" in settings:
        return read_space(settings["parameters"])[1]
    return Space.from_dict(settings.get("space") or {})


def _direction(settings: Mapping[str, Any], given: Direction | None) -> StudyDirection:
    from optuna.study import StudyDirection

    objective = settings.get("objective", settings.get("metric"))
    known = given or settings.get("direction") or ("min" if objective == _LOSS else None)
    if known is None:
        raise SpecError(
            f"the study does not say whether more of its objective, {objective!r}, is better: "
            "say direction 'max' or 'min'"
        )
    return StudyDirection.MAXIMIZE if known == "max" else StudyDirection.MINIMIZE


def _thinned(losses: NDArray[np.float32] | None, result: Result) -> dict[int, float] | None:
    """The loss after so many updates, evenly over the stretch that the result ends; None without any."""
    if losses is None:
        return None
    end = min(result.steps, len(losses))
    places = (
        np.unique(np.linspace(result.steps - result.cost, end - 1, CURVE_POINTS).round().astype(int))
        if end > result.steps - result.cost
        else ()
    )
    return {int(place) + 1: float(losses[place]) for place in places if not math.isnan(losses[place])} or None


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra("optuna", "search", "an export for Optuna") from error


def _require_absent(out: Path) -> None:
    if out.exists():
        raise StudyError(f"{out} is there already: choose another file, or remove it")


def _write(
    out: Path,
    name: str,
    direction: StudyDirection,
    settings: Mapping[str, Any],
    trials: Iterable[FrozenTrial],
) -> None:
    """Made in memory, so that the file is there whole or not at all."""
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import StaticPool

    make_folder(out.parent)
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection, quiet_optuna():
        pool = {"poolclass": StaticPool, "creator": lambda: connection}
        storage = RDBStorage("sqlite://", engine_kwargs=pool)
        study = storage.create_new_study([direction], name)
        for key, value in settings.items():
            storage.set_study_user_attr(study, key, value)
        for trial in trials:
            storage.create_new_trial(study, trial)
        storage.remove_session()
        content = connection.serialize()
    try:
        atomic_write(out, content)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror or error}") from error
