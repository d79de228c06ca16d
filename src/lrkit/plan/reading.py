"""From the tables of a `plan.toml` to a Plan, or to one line: what is wrong, where, and what to do."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from lrkit.duration import Horizon
from lrkit.errors import HorizonError, PlanError, SpecError, did_you_mean
from lrkit.plan.checks import FieldError, dotted, reads_as_number, shown
from lrkit.plan.lines import key_lines, line_of
from lrkit.plan.syntax import read_text, read_toml
from lrkit.plan.tables import (
    FORMAT,
    Document,
    EvidenceTable,
    GroupTable,
    HorizonTable,
    OptimizerTable,
    ScheduleTable,
    TrainingTable,
)
from lrkit.plan.values import Evidence, GroupPlan, OptimizerPlan, Plan, Precision, Status, TrainingPlan
from lrkit.schedule import Schedule
from lrkit.spec import parse_spec

__all__ = ["check_format", "load_plan", "parse_plan"]

Table = Mapping[str, Any]  # Any: whatever TOML can hold; it is what gets checked here
S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>\w+)`, got `\w+`")
_AT_KEY = re.compile(r" - at `\$\.(?P<key>\w+)(?:\[(?P<entry>\d+|\.\.\.)\])?`$")
_NAMES = {"array": "a list", "float": "a number", "int": "a whole number", "object": "a table", "str": "text"}
_REMEDIES = {
    "array": "write it in brackets: [...]",
    "float": "write one, such as 1e-3",
    "int": "write one, without point or exponent",
    "object": "write its keys below a line with its name in brackets",
    "str": "put it in quotes",
}
_EXAMPLES = {
    "lr": "lr = 1e-3",
    "member_steps": "member_steps = 5000",
    "name": 'name = "torch.optim.AdamW"',
    "objective": 'objective = "validation loss"',
    "seeds": "seeds = [0, 1, 2]",
    "steps": "steps = 1000",
    "text": 'text = "warmup(5%) >> cosine(to=0)"',
    "trials": "trials = 20",
}


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """The plan in the file at `path`. Raises PlanError, also when the file cannot be read."""
    path = Path(path)
    return parse_plan(read_text(path), str(path))


def parse_plan(text: str, where: str) -> Plan:
    """The plan that `text` holds; `where` names the text in errors. Raises PlanError."""
    document = read_toml(text, where)
    try:
        check_format(document)
        return _plan(document)
    except FieldError as wrong:
        line = line_of(key_lines(text), wrong.path)
        place = where if line is None else f"{where}, line {line}"
        raise PlanError(f"{place}, {wrong}") from None


def check_format(document: Table) -> None:
    """`document` is a plan in a format that this version reads. Raises FieldError."""
    path = ("lrkit",)
    if "lrkit" not in document:
        raise FieldError(path, f"it is missing, so this is no plan; a plan begins with: lrkit = {FORMAT}")
    version = document["lrkit"]
    if type(version) is not int or version < 1:
        raise FieldError(path, f"{shown(version)} is no version of the format; write: lrkit = {FORMAT}")
    if version > FORMAT:
        raise FieldError(
            path,
            f"the plan has format {shown(version)}, this lrkit reads up to {FORMAT}; "
            "upgrade it: pip install --upgrade lrkit",
        )


def _plan(document: Table) -> Plan:
    _check_keys((), document, Document)
    optimizer = _optimizer(_table(document, "optimizer"))
    schedule = _fields(("schedule",), _table(document, "schedule"), ScheduleTable)
    groups = _table(document, "groups")
    horizon = _horizon(_table(document, "horizon"))
    try:
        return Plan(
            optimizer=optimizer,
            schedule=_schedule(("schedule", "text"), schedule.text),
            horizon=horizon,
            control=tuple(schedule.control),
            training=_training(_table(document, "training")),
            groups={name: _group(name, _table(groups, name, "groups"), optimizer.lr) for name in groups},
            evidence=_evidence(_table(document, "evidence")) if "evidence" in document else None,
            floor=_given(schedule.floor),
        )
    except FieldError as wrong:
        raise FieldError(_place_in_file(wrong.path), wrong.fact) from None


def _optimizer(table: Table) -> OptimizerPlan:
    path = ("optimizer",)
    known, options = _split(path, table, OptimizerTable)
    with _within(path):
        return OptimizerPlan(name=known.name, lr=known.lr, options=options)


def _group(name: str, table: Table, lr: float) -> GroupPlan:
    """A group without an lr of its own has the optimizer's, as in torch."""
    path = ("groups", name)
    known, options = _split(path, table, GroupTable)
    own = _given(known.schedule)
    schedule = None if own is None else _schedule((*path, "schedule"), own)
    with _within(path):
        return GroupPlan(lr=lr if known.lr is UNSET else known.lr, schedule=schedule, options=options)


def _training(table: Table) -> TrainingPlan:
    fields = _fields(("training",), table, TrainingTable)
    with _within(("training",)):
        return TrainingPlan(
            accumulate=fields.accumulate,
            clip_norm=_given(fields.clip_norm),
            precision=cast("Precision", fields.precision),
        )


def _horizon(table: Table) -> Horizon:
    fields = _fields(("horizon",), table, HorizonTable)
    # One at a time first, so that the error has the key's line.
    for key, value in table.items():
        try:
            Horizon(**({"steps": 1} | {key: value}))
        except HorizonError as fact:
            raise FieldError(("horizon", key), str(fact)) from None
    return Horizon(
        fields.steps,
        steps_per_epoch=_given(fields.steps_per_epoch),
        batch_size=_given(fields.batch_size),
        tokens_per_step=_given(fields.tokens_per_step),
    )


def _evidence(table: Table) -> Evidence:
    fields = _fields(("evidence",), table, EvidenceTable)
    interval = _given(fields.interval)
    with _within(("evidence",)):
        return Evidence(
            objective=fields.objective,
            interval=None if interval is None else cast("tuple[float, float]", tuple(interval)),
            trials=fields.trials,
            seeds=tuple(fields.seeds),
            member_steps=fields.member_steps,
            seconds=_given(fields.seconds),
            date=_given(fields.date),
            status=cast("Status", fields.status),
            grid_steps=_given(fields.grid_steps),
            versions=fields.versions,
        )


def _schedule(path: tuple[str, ...], text: str) -> Schedule:
    try:
        spec = parse_spec(text)
    except SpecError as fact:
        raise FieldError(path, str(fact)) from None
    if spec.control:
        texts = ", ".join(f'"{controller}"' for controller in spec.control)
        raise FieldError(path, f"controllers have a key of their own; write: control = [{texts}]")
    return spec.schedule


def _given(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value


def _table(parent: Table, key: str, *above: str) -> Table:
    table = parent.get(key, {})
    if not isinstance(table, dict):
        path = (*above, key)
        raise FieldError(path, f"{shown(table)} is not a table; write its keys below a line [{dotted(path)}]")
    return table


def _split(path: tuple[str, ...], table: Table, form: type[S]) -> tuple[S, Table]:
    """The keys that `form` knows, and the others, which are the optimizer's arguments."""
    known = {key: value for key, value in table.items() if key in form.__struct_fields__}
    options = {key: value for key, value in table.items() if key not in known}
    _check_missing(path, table, form)
    return _typed(path, known, form), options


def _fields(path: tuple[str, ...], table: Table, form: type[S]) -> S:
    _check_keys(path, table, form)
    return _typed(path, table, form)


def _check_keys(path: tuple[str, ...], table: Table, form: type[msgspec.Struct]) -> None:
    for key in table:
        if key not in form.__struct_fields__:
            raise FieldError((*path, key), f"unknown key{did_you_mean(key, form.__struct_fields__)}")
    _check_missing(path, table, form)


def _check_missing(path: tuple[str, ...], table: Table, form: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(form):
        if field.required and field.name not in table:
            others = [key for key in table if key not in form.__struct_fields__]
            near = get_close_matches(field.name, others, n=1, cutoff=0.5)
            example = _EXAMPLES.get(field.name, f"[{field.name}]")
            remedy = f"is {near[0]!r} meant?" if near else f"write: {example}"
            raise FieldError((*path, field.name), f"it is missing; {remedy}")


def _typed(path: tuple[str, ...], table: Table, form: type[S]) -> S:
    try:
        return msgspec.convert(table, form, strict=True)
    except msgspec.ValidationError as error:
        raise _type_error(path, table, str(error)) from None


def _type_error(path: tuple[str, ...], table: Table, message: str) -> FieldError:
    """msgspec's "Expected `float`, got `str` - at `$.lr`", in the words of a person who writes TOML."""
    at = _AT_KEY.search(message)
    if at is None:
        return FieldError(path, message)
    path, value = (*path, at["key"]), table[at["key"]]
    if at["entry"] == "...":
        name = next(name for name, entry in value.items() if not isinstance(entry, str))
        path, value = (*path, name), value[name]
    elif at["entry"]:
        value = value[int(at["entry"])]
    wrong = _WRONG_TYPE.fullmatch(message[: at.start()])
    if wrong is None or wrong["wanted"] not in _NAMES:
        return FieldError(path, f"{shown(value)}: {message[: at.start()]}")
    wanted = wrong["wanted"]
    remedy = _REMEDIES[wanted]
    if isinstance(value, str) and wanted in ("float", "int") and reads_as_number(value):
        remedy = f"write it without quotes: {value.strip()}"
    elif isinstance(value, float) and wanted == "int" and value.is_integer():
        remedy = f"write {int(value)}"
    return FieldError(path, f"{shown(value)} is not {_NAMES[wanted]}; {remedy}")


@contextlib.contextmanager
def _within(table: tuple[str, ...]) -> Iterator[None]:
    """A value's errors name its fields; in the file these are keys of `table`, options too."""
    try:
        yield
    except FieldError as wrong:
        path = wrong.path[1:] if wrong.path[0] == "options" else wrong.path
        raise FieldError((*table, *path), wrong.fact) from None


def _place_in_file(path: tuple[str, ...]) -> tuple[str, ...]:
    """Where the file has what a Plan has in the field `path`."""
    match path:
        case ("schedule",):
            return ("schedule", "text")
        case ("control" | "floor" as field,):
            return ("schedule", field)
        case ("groups", group, "options", option):
            return ("groups", group, option)
        case _:
            return path
