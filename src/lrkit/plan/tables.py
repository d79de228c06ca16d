"""The form of `plan.toml`: which keys each table has, and of which type. What the values may be is
`checks.py`."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lrkit.plan.checks import OptionScalar
from lrkit.plan.values import Precision, Status

__all__ = [
    "FORMAT",
    "Document",
    "EvidenceTable",
    "GroupTable",
    "HorizonTable",
    "OptimizerTable",
    "ScheduleTable",
    "TrainingTable",
    "plan_schema",
]

FORMAT = 1
"""The version of the format, the `lrkit` key at the head of a file. An older lrkit refuses a newer file."""

# Bounds and choices stand here for editors alone; the values check them, whoever makes a plan.
Positive = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0})]
NotNegative = Annotated[float, Meta(extra_json_schema={"minimum": 0})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
CountFromOne = Annotated[int, Meta(extra_json_schema={"minimum": 1})]
Interval = Annotated[list[Positive], Meta(extra_json_schema={"minItems": 2, "maxItems": 2})]
Line = Annotated[str, Meta(extra_json_schema={"minLength": 1})]
OptimizerName = Annotated[
    str, Meta(extra_json_schema={"pattern": r"^(task|torch\.optim\.[A-Z][A-Za-z0-9_]*)$"})
]
PrecisionName = Annotated[str, Meta(extra_json_schema={"enum": list(get_args(Precision))})]
StatusName = Annotated[str, Meta(extra_json_schema={"enum": list(get_args(Status))})]


class OptimizerTable(msgspec.Struct, kw_only=True):
    """The optimizer and its base lr; every other key is an argument of the optimizer."""

    name: OptimizerName
    lr: Positive


class ScheduleTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The schedule as text, the controllers that multiply it, and the lr below which it never falls."""

    text: Line
    control: list[Line] = []
    floor: NotNegative | UnsetType = UNSET


class TrainingTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How the training uses the lr."""

    accumulate: CountFromOne = 1
    clip_norm: Positive | UnsetType = UNSET
    precision: PrecisionName = "float32"


class GroupTable(msgspec.Struct, kw_only=True):
    """What a parameter group has of its own; keys beside these are arguments of the optimizer."""

    lr: Positive | UnsetType = UNSET
    schedule: Line | UnsetType = UNSET


class HorizonTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The length of the run in updates, and what turns other units into updates."""

    steps: CountFromOne
    steps_per_epoch: CountFromOne | UnsetType = UNSET
    batch_size: CountFromOne | UnsetType = UNSET
    tokens_per_step: CountFromOne | UnsetType = UNSET


class EvidenceTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the answer rests on, and what it cost."""

    objective: Line
    interval: Interval | UnsetType = UNSET
    status: StatusName = "could not tell"
    trials: Count
    seeds: list[int]
    member_steps: Count
    grid_steps: Count | UnsetType = UNSET
    seconds: NotNegative | UnsetType = UNSET
    date: str | UnsetType = UNSET
    versions: dict[str, str] = {}


class Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole plan: which optimizer, lr, schedule and horizon, and on what evidence."""

    lrkit: Annotated[int, Meta(extra_json_schema={"const": FORMAT})]
    optimizer: OptimizerTable
    schedule: ScheduleTable
    training: TrainingTable | UnsetType = UNSET
    groups: dict[str, GroupTable] = {}
    horizon: HorizonTable
    evidence: EvidenceTable | UnsetType = UNSET


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a plan, by which an editor completes and checks `plan.toml`.

    It knows tables, keys, types, bounds and choices. What it cannot know, `Plan.load` checks: whether the
    schedule's text is one and fits the horizon, whether an interval is the right way round.
    """
    schema = msgspec.json.schema(Document)
    option = msgspec.json.schema(OptionScalar | list[OptionScalar])
    for table in ("OptimizerTable", "GroupTable"):
        schema["$defs"][table]["additionalProperties"] = option
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
