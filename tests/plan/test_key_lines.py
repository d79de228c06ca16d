"""Where a key stands: the scanner against tomllib, which is asked how many lines it takes until a key exists."""

from __future__ import annotations

import tomllib

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from lrkit.plan.lines import key_lines, line_of
from plan_strategies import DESIGN_PAGE

keys = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=6)
texts = st.text(st.sampled_from("ab'\"\\#=[]{},. \né"), max_size=12)
leaves = (
    texts
    | st.integers(-9, 9)
    | st.booleans()
    | st.lists(texts | st.lists(st.integers(0, 9), max_size=2), max_size=3)
)
tables = st.recursive(
    st.dictionaries(keys, leaves, max_size=3),
    lambda inner: st.dictionaries(keys, leaves | inner, min_size=1, max_size=3),
    max_leaves=8,
)


def paths_in(table: dict[str, object], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = set()
    for key, value in table.items():
        found.add((*above, key))
        if isinstance(value, dict):
            found |= paths_in(value, (*above, key))
    return found


def first_lines(text: str) -> dict[tuple[str, ...], int]:
    """The oracle, slow and sure: read ever more lines and see which keys are new. No value may span lines."""
    lines = text.replace("\r\n", "\n").split("\n")
    first: dict[tuple[str, ...], int] = {}
    for count in range(1, len(lines) + 1):
        for path in paths_in(tomllib.loads("\n".join(lines[:count]))):
            first.setdefault(path, count)
    return first


@given(tables, st.lists(st.sampled_from(["", "# c = 1", "  # [x]"]), max_size=3))
def test_each_key_stands_where_reading_up_to_its_line_finds_it(
    table: dict[str, object], noise: list[str]
) -> None:
    text = "\n".join([*noise, tomlkit.dumps(table), *noise])
    assert key_lines(text) == first_lines(text)


HAND_WRITTEN = {
    "dotted keys": 'a.b.c = 1\na."b".d = 2\n\n[x.y]\nz = 3\n',
    "quoted names": '[groups."layer.1".\'odd "one"\']\n"l\\u0072" = 1 # lr\n[ groups . b ]\nlr=2\n',
    "inline tables": 'a = { b = { c = "}" }, "d,e" = [1, {f = 2}] } # {g = 1}\nh = 1\n',
    "texts that look like keys": 'a = \'[b]\'\nc = "d = 1 # e"\nf = \'\'\'g = 1\'\'\'\nh = """i""""\nj = "\\""\n',
    "tabs and other line ends": "\ta\t=\t1\r\n[b]\r\n  c = 2\r\n",
    "no newline at the end": "a = 1\nb = 2",
    "dates": "a = 1979-05-27 07:32:00\nb = [1979-05-27, 07:32:00]\nc = 1\n",
    "the design page": DESIGN_PAGE,
}


@pytest.mark.parametrize("text", HAND_WRITTEN.values(), ids=HAND_WRITTEN)
def test_hand_written_forms(text: str) -> None:
    found = key_lines(text)
    expected = first_lines(text)
    assert {path: found[path] for path in expected} == expected


def test_values_over_several_lines_are_passed_over() -> None:
    text = (
        'a = [\n  1, # b = 2\n  "]", [3],\n]\n'
        'c = """\nd = 1\n[e]\n\\""" f"""\n'
        "g = '''\nh = 1'''\n"
        "[i]\nj = {k = [\n1\n], l = 2}\n"
    )
    assert tomllib.loads(text)["i"]["j"]["l"] == 2
    assert key_lines(text) == {
        ("a",): 1,
        ("c",): 5,
        ("g",): 9,
        ("i",): 11,
        ("i", "j"): 12,
        ("i", "j", "k"): 12,
        ("i", "j", "l"): 14,
    }


def test_an_array_of_tables_has_the_line_of_its_first() -> None:
    assert key_lines("[[a]]\nb = 1\n[[a]]\nb = 2\n") == {("a",): 1, ("a", "b"): 2}


def test_a_missing_key_has_the_line_of_its_table() -> None:
    lines = {("a",): 3, ("a", "b"): 5}
    assert line_of(lines, ("a", "b")) == 5
    assert line_of(lines, ("a", "c", "d")) == 3
    assert line_of(lines, ("x", "b")) is None


@given(st.text(st.sampled_from("ab=.[]{}'\"#, \n\\1"), max_size=60))
def test_any_text_is_survived(text: str) -> None:
    key_lines(text)


def test_lists_in_lists_by_the_hundred_are_survived() -> None:
    assert key_lines("a = 1\nb = " + "[" * 10_000)[("b",)] == 2
