"""The command line learns of every schedule from the catalog: `lrkit plot` draws it, `lrkit schedules` explains it."""

from __future__ import annotations

import json
import re

import pytest

from lrkit.spec import CATALOG, parse


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_it_is_drawn_in_the_terminal(lrkit, entry):
    outcome = lrkit("plot", entry.example, "--steps", "100")
    assert outcome.code == 0, outcome
    assert str(parse(entry.example)) in outcome.out
    assert "\u2524" in outcome.out  # the axis


@pytest.mark.slow
def test_all_are_drawn_in_one_figure(lrkit, tmp_path):
    outcome = lrkit("plot", *[entry.example for entry in CATALOG], "--steps", "200", "-o", "all.png")
    assert outcome.code == 0, outcome
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_a_bare_name_is_drawn_or_told_what_it_lacks(lrkit, entry):
    outcome = lrkit("plot", entry.name, "--json")
    lacking = [p.name for p in entry.parameters if p.required]
    if lacking:
        assert outcome.code == 2
        assert f"{entry.name}() lacks its argument {lacking[0]!r} at column 1" in outcome.err
    elif entry.name == "exponential":
        assert outcome.code == 2
        assert "exponential() takes exactly one of to=" in outcome.err
    else:
        (drawn,) = json.loads(outcome.out)["schedules"]
        assert parse(drawn["schedule"]) == entry.build()


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_its_arguments_are_told_with_their_ranges(lrkit, entry):
    outcome = lrkit("schedules", entry.name)
    for parameter in entry.parameters:
        first_words = " ".join(parameter.range.split()[:4])
        assert re.search(rf"^ +{parameter.name} +{re.escape(first_words)}", outcome.out, re.MULTILINE)
    (told,) = json.loads(lrkit("schedules", entry.name, "--json").out)["schedules"]
    assert told["ranges"] == {parameter.name: parameter.range for parameter in entry.parameters}
    assert told["also"] == list(entry.also)


def test_a_name_from_elsewhere_leads_to_the_one_here(lrkit):
    outcome = lrkit("schedules", "StepLR")
    assert outcome.code == 2
    assert "unknown schedule 'StepLR'; here it is 'staircase'" in outcome.err
