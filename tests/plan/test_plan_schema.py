"""The JSON Schema for editors says what the reader says, as far as a schema can."""

from __future__ import annotations

import copy
import json
import re
import tomllib

import pytest
from hypothesis import given, settings

from lrkit.errors import PlanError
from lrkit.plan import Plan, plan_schema
from plan_strategies import DESIGN_PAGE, plans

SCHEMA = plan_schema()
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}
KEYWORDS = {
    "type": lambda schema, v: TYPES[schema["type"]](v),
    "const": lambda schema, v: v == schema["const"] and type(v) is type(schema["const"]),
    "enum": lambda schema, v: v in schema["enum"],
    "anyOf": lambda schema, v: any(fits(option, v) for option in schema["anyOf"]),
    "$ref": lambda schema, v: fits(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], v),
    "exclusiveMinimum": lambda schema, v: v > schema["exclusiveMinimum"],
    "minimum": lambda schema, v: v >= schema["minimum"],
    "minLength": lambda schema, v: len(v) >= schema["minLength"],
    "minItems": lambda schema, v: len(v) >= schema["minItems"],
    "maxItems": lambda schema, v: len(v) <= schema["maxItems"],
    "pattern": lambda schema, v: re.search(schema["pattern"], v) is not None,
    "items": lambda schema, v: all(fits(schema["items"], entry) for entry in v),
    "required": lambda schema, v: all(key in v for key in schema["required"]),
    "properties": lambda schema, v: all(fits(s, v[k]) for k, s in schema["properties"].items() if k in v),
    "additionalProperties": lambda schema, v: all(
        schema["additionalProperties"] is not False and fits(schema["additionalProperties"], v[key])
        for key in v
        if key not in schema.get("properties", {})
    ),
}
NOTES = {"title", "description", "default", "$schema", "$defs"}


def fits(schema: dict[str, object], value: object) -> bool:
    """As much of JSON Schema as the plan's uses, written from its specification; an unknown keyword is an error."""
    assert set(schema) <= set(KEYWORDS) | NOTES, set(schema) - set(KEYWORDS) - NOTES
    # "type" first: the bounds of a number mean nothing on a text.
    keywords = sorted((key for key in schema if key in KEYWORDS), key=lambda key: (key != "type", key))
    return all(KEYWORDS[key](schema, value) for key in keywords)


@settings(max_examples=40)
@given(plans())
def test_every_plan_that_lrkit_writes_fits_the_schema(plan: Plan) -> None:
    assert fits(SCHEMA, tomllib.loads(plan.to_toml()))


GOOD = {
    "the design page": {},
    "integers as numbers": {("optimizer", "lr"): 1},
    "options": {("optimizer", "betas"): [0.9, 0.99], ("optimizer", "amsgrad"): True},
    "a group's options": {("groups", "head", "momentum"): 0.5, ("groups", "a b"): {}},
    "a group's schedule": {("groups", "head", "schedule"): "hold()"},
    "task": {("optimizer", "name"): "task"},
    "floor": {("schedule", "floor"): 0},
    "versions": {("evidence", "versions"): {"torch": "2.4"}},
    "no training": {("training",): None},
    "no evidence": {("evidence",): None},
    "no groups": {("groups",): None},
}
BAD = {
    "newer": {("lrkit",): 2},
    "no format": {("lrkit",): None},
    "no horizon": {("horizon",): None},
    "no lr": {("optimizer", "lr"): None},
    "unknown table": {("trainning",): {}},
    "unknown key": {("training", "clip"): 1.0},
    "lr text": {("optimizer", "lr"): "1e-3"},
    "lr true": {("optimizer", "lr"): True},
    "lr 0": {("optimizer", "lr"): 0},
    "group lr": {("groups", "head", "lr"): -1},
    "group no table": {("groups", "head"): 1},
    "name": {("optimizer", "name"): "os.system"},
    "name with more": {("optimizer", "name"): "torch.optim.AdamW()"},
    "option table": {("optimizer", "betas"): {"a": 1}},
    "option nested": {("optimizer", "betas"): [[1]]},
    "schedule empty": {("schedule", "text"): ""},
    "controllers": {("schedule", "control"): [""]},
    "controller as text": {("schedule", "control"): "plateau()"},
    "precision": {("training", "precision"): "fp16"},
    "accumulate": {("training", "accumulate"): 0},
    "steps": {("horizon", "steps"): 0},
    "steps fraction": {("horizon", "steps"): 1.5},
    "interval": {("evidence", "interval"): [1.0]},
    "interval of three": {("evidence", "interval"): [1.0, 2.0, 3.0]},
    "seeds": {("evidence", "seeds"): [0.5]},
    "trials": {("evidence", "trials"): -1},
    "status": {("evidence", "status"): "sure"},
    "versions": {("evidence", "versions"): {"torch": 2}},
}


def changed(changes: dict[tuple[str, ...], object]) -> dict[str, object]:
    document = copy.deepcopy(tomllib.loads(DESIGN_PAGE))
    for path, value in changes.items():
        table = document
        for key in path[:-1]:
            table = table[key]
        if value is None:
            del table[path[-1]]
        else:
            table[path[-1]] = value
    return document


@pytest.mark.parametrize("case", GOOD)
def test_schema_and_reader_take_good_documents(case: str) -> None:
    import tomlkit

    document = changed(GOOD[case])
    assert fits(SCHEMA, document)
    Plan.parse(tomlkit.dumps(document))


@pytest.mark.parametrize("case", BAD)
def test_schema_and_reader_refuse_bad_documents(case: str) -> None:
    import tomlkit

    document = changed(BAD[case])
    assert not fits(SCHEMA, document)
    with pytest.raises(PlanError):
        Plan.parse(tomlkit.dumps(document))


def test_the_schema_is_json_and_a_fresh_one_each_time() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    plan_schema()["$defs"].clear()
    assert plan_schema() == SCHEMA
