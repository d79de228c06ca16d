"""From a Plan to the text of `plan.toml`: a fresh one, or a person's own with only what changed put into
it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item, Table

from lrkit.errors import PlanError
from lrkit.files import atomic_write
from lrkit.plan.checks import FieldError
from lrkit.plan.reading import check_format, parse_plan
from lrkit.plan.syntax import read_text, read_toml
from lrkit.plan.tables import FORMAT

if TYPE_CHECKING:
    from lrkit.plan.values import Evidence, Plan

__all__ = ["plan_text", "save_plan"]

Values = dict[str, Any]  # Any: scalars, lists, and tables again; what TOML can hold
KeyPath = tuple[str, ...]
Assumed = dict[KeyPath, Any]

_NOTES = {
    "interval": "90 %, of the best lr",
    "member_steps": "what the answer cost, in updates",
    "grid_steps": "what the exhaustive grid would have cost",
}


def plan_text(plan: Plan) -> str:
    """The plan as a fresh TOML text."""
    document = tomlkit.document()
    for key, value in _values(plan).items():
        document.add(key, _item(key, value))
    return tomlkit.dumps(document)


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write the plan to `path`, whole or not at all; a plan that is there is edited. Raises PlanError."""
    # Through a link to the file it points to: a rename would replace the link.
    target = Path(os.path.realpath(path))
    old = read_text(target) if target.exists() else ""
    text = _edited(old, plan, str(path)) if old.strip() else plan_text(plan)
    try:
        atomic_write(target, text)
    except OSError as error:
        state = "the plan that is there is untouched" if old else "nothing was written"
        raise PlanError(
            f"cannot write the plan {str(path)!r}: {error.strerror or error}; {state}; "
            "make room or choose another folder"
        ) from error


def _edited(old: str, plan: Plan, where: str) -> str:
    """`old` with the plan's values in it. What stands in `old` and is no plan is never written over."""
    try:
        check_format(read_toml(old, where))
    except FieldError as wrong:
        raise PlanError(f"will not write a plan over {where!r}: {wrong}") from None
    with contextlib.suppress(PlanError):  # a plan that a person broke is mended by the edit below
        if parse_plan(old, where) == plan:
            return old
    # tomlkit ends its new lines with a bare newline; a file of another system gets its own ends back.
    ends = "\r\n" if 0 < old.count("\n") == old.count("\r\n") else "\n"
    try:
        document = tomlkit.parse(old.replace(ends, "\n"))
        _merge(document, _values(plan), _assumed(plan))
        text = tomlkit.dumps(document).replace("\n", ends)
        if parse_plan(text, where) == plan:
            return text
    except (TOMLKitError, PlanError) as error:
        raise PlanError(f"{_cannot_edit(where)} ({error})") from error
    raise PlanError(_cannot_edit(where))


def _cannot_edit(where: str) -> str:
    return (
        f"the plan {where!r} is laid out in a way that cannot be edited safely; move it away, then save again"
    )


def _merge(table: MutableMapping[str, Any], values: Values, assumed: Assumed, path: KeyPath = ()) -> None:
    """Make `table`, which is at `path`, hold `values` and nothing else, touching only what differs."""
    values = _to_write(table, values, assumed, path)
    for key in [key for key in table if key not in values]:
        del table[key]
    for key, value in values.items():
        old, here = table.get(key), (*path, key)
        if old is None:
            _append(table, key, _item(key, value, inline=isinstance(table, InlineTable)))
        elif not isinstance(value, dict) or not isinstance(old, MutableMapping):
            if not _same(_plain(old), value):
                table[key] = value
        elif isinstance(old, OutOfOrderTableProxy) and set(old) != set(_to_write(old, value, assumed, here)):
            # tomlkit loses its way when keys come to, or go from, a table that is written in several places.
            del table[key]
            table[key] = _item(key, value)
        else:
            _merge(old, value, assumed, here)


def _to_write(table: Mapping[str, Any], values: Values, assumed: Assumed, path: KeyPath) -> Values:
    """`values` without those that `table` leaves out and a reader will assume."""
    return {k: value for k, value in values.items() if k in table or assumed.get((*path, k)) != value}


def _append(table: MutableMapping[str, Any], key: str, item: Item) -> None:
    """Add a key below the last one: to tomlkit, a comment above the *next* table is a part of this one."""
    container = table.value if isinstance(table, Table) else table
    body = container.body if isinstance(container, Container) else []
    tail = []
    while not isinstance(item, Table) and body and body[-1][0] is None:
        tail.append(body.pop())
    table[key] = item
    body.extend(reversed(tail))


def _item(key: str, value: Any, *, inline: bool = False) -> Item:
    if isinstance(value, dict):
        table = tomlkit.inline_table() if inline else tomlkit.table(is_super_table=_holds_only_tables(value))
        for name, entry in value.items():
            table.append(name, _item(name, entry, inline=inline))
        return table
    item: Item = tomlkit.item(value)
    if key in _NOTES and not inline:
        item.comment(_NOTES[key])
    return item


def _holds_only_tables(values: Values) -> bool:
    return all(isinstance(entry, dict) for entry in values.values())


def _plain(value: Any) -> Any:
    return value.unwrap() if isinstance(value, Item) else value


def _same(old: Any, new: Any) -> bool:
    """Equal, and not 1 for true."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _values(plan: Plan) -> Values:
    """The plan as tables of plain values, in the order of a fresh file. The one place that knows which key
    holds what."""
    values: Values = {
        "lrkit": FORMAT,
        "optimizer": {"name": plan.optimizer.name, "lr": plan.lr, **_options(plan.optimizer.options)},
        "schedule": {"text": str(plan.schedule), "control": list(plan.control), "floor": plan.floor},
        "training": {
            "accumulate": plan.training.accumulate,
            "clip_norm": plan.training.clip_norm,
            "precision": plan.training.precision,
        },
        "groups": {
            name: {
                "lr": group.lr,
                "schedule": None if group.schedule is None else str(group.schedule),
                **_options(group.options),
            }
            for name, group in plan.groups.items()
        },
        "horizon": {
            "steps": plan.horizon.steps,
            "steps_per_epoch": plan.horizon.steps_per_epoch,
            "batch_size": plan.horizon.batch_size,
            "tokens_per_step": plan.horizon.tokens_per_step,
        },
        "evidence": {} if plan.evidence is None else _evidence(plan.evidence),
    }
    return _without_blanks(values)


def _assumed(plan: Plan) -> Assumed:
    """What the reader takes a key to be that is not there: a person who left it out need not find it in the file."""
    training = {"accumulate": 1, "precision": "float32"}
    return {
        ("schedule", "control"): [],
        ("training",): training,
        **{("training", key): value for key, value in training.items()},
        **{("groups", name, "lr"): plan.lr for name in plan.groups},
        ("evidence", "status"): "could not tell",
    }


def _evidence(evidence: Evidence) -> Values:
    return {
        "objective": evidence.objective,
        "interval": None if evidence.interval is None else list(evidence.interval),
        "status": evidence.status,
        "trials": evidence.trials,
        "seeds": list(evidence.seeds),
        "member_steps": evidence.member_steps,
        "grid_steps": evidence.grid_steps,
        "seconds": evidence.seconds,
        "date": evidence.date,
        "versions": dict(evidence.versions),
    }


def _options(options: Mapping[str, Any]) -> Values:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _without_blanks(values: Values) -> Values:
    """TOML has no null: what is not known has no key, and a table without keys is left out."""
    kept = {
        key: _without_blanks(value) if isinstance(value, dict) else value for key, value in values.items()
    }
    return {key: value for key, value in kept.items() if value is not None and value != {}}
