"""The arguments of a command: what is replaced, and what is left alone."""

from __future__ import annotations

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError
from lrkit.search.command import Template
from lrkit.search.command.template import environment

names = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_characters="{}\0", exclude_categories=["Cs"]), max_size=12)
values = st.floats(1e-12, 1e3) | st.integers() | texts


@given(st.lists(st.tuples(texts, names, texts), min_size=1), st.data())
def test_each_placeholder_is_its_value_and_all_else_stays(parts, data):
    given_values = {name: data.draw(values) for _, name, _ in parts}
    template = Template(["run", *(f"{left}{{{name}}}{right}" for left, name, right in parts)])
    shown = {name: v if isinstance(v, str) else repr(v) for name, v in given_values.items()}
    expected = ["run", *(left + shown[name] + right for left, name, right in parts)]
    assert list(template.fill(given_values)) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_rate_comes_back_to_the_last_bit(rate):
    assert float(Template(["{lr}"]).fill({"lr": rate})[0]) == rate


@given(texts)
def test_a_value_with_braces_or_quotes_is_not_read_again(text):
    value = "{lr} {{lr}} $(date) '\"" + text
    assert Template(["x", "{name}"]).fill({"name": value, "lr": 1.0})[1] == value


def test_json_and_escaped_names_are_left_alone():
    argument = '{"optimizer": {"lr": {lr}}, "text": "{{lr}}", "more": {}}'
    filled = Template(["x", argument]).fill({"lr": 1e-3})[1]
    assert filled == '{"optimizer": {"lr": 0.001}, "text": "{lr}", "more": {}}'


def test_a_typo_is_told_with_the_nearest_name():
    with pytest.raises(SpecError, match=r"unknown placeholder \{weight_decy\}.*did you mean 'weight_decay'"):
        Template(["x", "{lr}", "{weight_decy}"]).check(["lr", "weight_decay"], needed=["lr"])


def test_a_value_that_goes_nowhere_is_told():
    with pytest.raises(SpecError, match=r"no use of \{lr\}.*--env"):
        Template(["python", "train.py"]).check(["lr"], needed=["lr"])


@pytest.mark.parametrize("arguments", [[], [""], "python train.py", ["x", 3], ["x", "a\0b"]])
def test_what_is_no_list_of_arguments_is_refused(arguments):
    with pytest.raises(SpecError):
        Template(arguments)


def test_it_prints_as_a_shell_would_read_it():
    assert shlex.split(str(Template(["python", "my train.py", "{lr}"]))) == ["python", "my train.py", "{lr}"]


def test_variables_are_capitals_with_a_prefix():
    assert environment({"lr": 1e-5, "batch-size": 16, "act": "relu"}) == {
        "LRKIT_LR": "1e-05",
        "LRKIT_BATCH_SIZE": "16",
        "LRKIT_ACT": "relu",
    }
