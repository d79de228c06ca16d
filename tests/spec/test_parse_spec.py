"""Schedule & controllers as one text: it comes back equal, and errors know their column."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.control import plateau
from lrkit.errors import SpecError
from lrkit.schedule import hold, warmup
from lrkit.spec import CONTROLLERS, Spec, parse, parse_control, parse_spec
from strategies import durations, schedules

names = st.text(st.characters(codec="ascii", exclude_characters="\\\n\"'"), min_size=1, max_size=12)


@st.composite
def plateaus(draw: st.DrawFn) -> Any:
    rates = st.floats(0, 1)
    options = {
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "patience": st.integers(0, 10**6),
        "threshold": st.floats(0, 1, exclude_max=True),
        "threshold_mode": st.sampled_from(["rel", "abs", "signed"]),
        "cooldown": st.integers(0, 9),
        "min_lr": rates | st.lists(rates, min_size=1, max_size=3),
        "eps": rates,
        "every": st.none() | durations(least=1),
        "smoothing": st.floats(0, 1, exclude_max=True),
        "after": durations(),
        "metric": st.none() | names | st.sampled_from(["None", "true", "it's", "val_loss"]),
        "nan": st.sampled_from(["error", "bad", "skip"]),
    }
    return plateau(**draw(st.fixed_dictionaries({}, optional=options)))


@given(schedules(), st.lists(plateaus(), max_size=3))
def test_a_spec_is_a_value_that_its_text_makes_again(schedule: Any, control: list[Any]) -> None:
    spec = Spec(schedule, tuple(control))
    again = parse_spec(str(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert [parse_control(str(c)) for c in control] == control


def test_a_schedule_alone_is_a_spec_without_control() -> None:
    text = "warmup(5%) >> cosine(to=0)"
    assert parse_spec(text) == Spec(parse(text))
    assert str(parse_spec(text)) == text


def test_the_ampersand_binds_loosest_and_a_bare_name_is_a_call() -> None:
    spec = parse_spec(" warmup( 5% )>>hold & plateau & plateau(patience=5, min_lr=[1e-6, 0,], metric=None)")
    assert spec.schedule == warmup("5%") >> hold()
    assert spec.control == (plateau(), plateau(patience=5, min_lr=[1e-6, 0]))
    assert str(spec) == "warmup(5%) >> hold() & plateau() & plateau(patience=5, min_lr=[1e-06, 0])"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "hold() & platau(patience=5)",
            r"^unknown controller 'platau' at column 10 of .*did you mean 'plateau'",
        ),
        ("hold() & plateau(patiense=5)", r"no argument 'patiense' at column 18 .*did you mean 'patience'"),
        ("hold() & plateau(5)", r"takes nothing by place and all else by name at column 18"),
        (
            "hold() & plateau(factor=2)",
            r"^factor takes a finite number above 0 and below 1, not 2 .*column 10 of",
        ),
        ("hold() & ", "expected a controller, found the end at column 10"),
        ("hold() & 3", "expected a controller, found '3' at column 10"),
        ("hold() & plateau() plateau()", "expected '&' or the end, found 'plateau' at column 20"),
        ("hold() & plateau() >> hold()", "expected '&' or the end, found '>>' at column 20"),
        ("hold() & cosine(to=0)", "unknown controller 'cosine' at column 10"),
        ("hold() plateau()", "expected '>>', '\\*', '.', '&' or the end, found 'plateau' at column 8"),
        ("(hold() & plateau())", "column 9"),
        ("& plateau()", "expected a schedule, found '&' at column 1"),
        ("plateau(patience=5)", r"is a controller, no schedule at column 1 of .*: write hold\(\) & plateau"),
    ],
)
def test_an_error_says_where(text: str, match: str) -> None:
    with pytest.raises(SpecError, match=match) as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


def test_where_a_schedule_alone_belongs_control_is_refused() -> None:
    with pytest.raises(SpecError, match="found '&' at column 8"):
        parse("hold() & plateau()")
    with pytest.raises(SpecError, match="expected the end, found '&'"):
        parse_control("plateau() & plateau()")
    with pytest.raises(SpecError, match="takes a Schedule, not a str"):
        Spec("hold()")  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", CONTROLLERS, ids=lambda entry: entry.name)
def test_every_controller_in_the_catalog_explains_itself(entry: Any) -> None:
    spec = parse_spec(entry.example)
    assert str(spec) == entry.example
    assert str(spec.control[0]).startswith(f"{entry.name}(")
    assert str(entry.build()) == f"{entry.name}()"
    assert all(getattr(entry, field.name) for field in dataclasses.fields(entry))
