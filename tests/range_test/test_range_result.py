"""A RangeTest is a value: it comes back from its dict and its file, compares, hashes and draws itself."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import StateError
from lrkit.range_test import RULES, RangeTest

rates = st.floats(1e-9, 10)
finite = st.floats(-1e300, 1e300)


@st.composite
def range_tests(draw: st.DrawFn) -> RangeTest:
    lrs = np.geomspace(draw(st.floats(1e-9, 1e-3)), draw(st.floats(1e-2, 100)), draw(st.integers(20, 40)))
    losses = draw(st.lists(st.lists(st.floats(0.1, 10), max_size=len(lrs)), min_size=1, max_size=3))
    return RangeTest(
        lrs=lrs,
        group_lrs={"group 0": lrs, "head": lrs * draw(st.floats(0.01, 100))},
        losses=tuple(np.array(one) for one in losses),
        suggestion=draw(st.none() | rates),
        bracket=draw(st.none() | st.tuples(rates, rates)),
        spread=draw(st.just(math.nan) | st.floats(0, 3)),
        rule=draw(st.sampled_from(sorted(RULES))),
        suggestions=tuple(draw(st.none() | rates) for _ in losses),
        status=draw(st.sampled_from(["found", "never fell", "diverged at once", "could not tell"])),
        reason=draw(st.text(max_size=20)),
        steps=draw(st.integers(0, 10**6)),
        varied=draw(st.sampled_from(["initial weights and data order", "data order", "nothing"])),
        spacing=draw(st.sampled_from(["log", "linear"])),
        group=draw(st.none() | st.just("head")),
    )


@pytest.fixture
def found() -> RangeTest:
    lrs = np.geomspace(1e-4, 1, 20)
    return RangeTest(
        lrs=lrs,
        group_lrs={"group 0": lrs},
        losses=(np.linspace(2, 1, 20), np.linspace(2, 1, 15)),
        suggestion=1e-2,
        bracket=(1e-3, 4e-2),
        spread=0.1,
        rule="kmin",
        suggestions=(1e-2, 1e-2),
        status="found",
        reason="median of 2 of 2 repeats",
        steps=40,
        varied="data order",
    )


@given(range_tests())
@settings(max_examples=50, deadline=None)
def test_its_dict_goes_through_json_and_comes_back_equal(result):
    again = RangeTest.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
    assert again == result
    assert hash(again) == hash(result)
    np.testing.assert_array_equal(again.lrs, result.lrs)


def test_a_file_holds_it(found, tmp_path):
    found.save(tmp_path / "range.json")
    assert RangeTest.load(tmp_path / "range.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["range.json"]


def test_another_result_is_not_equal(found):
    assert found != replace(found, steps=41)
    assert found != replace(found, losses=found.losses[:1])
    assert found != "a range test"


def test_nothing_of_it_can_be_changed(found):
    with pytest.raises(FrozenInstanceError):
        found.suggestion = 1.0
    with pytest.raises(ValueError, match="read-only"):
        found.lrs[0] = 1.0
    with pytest.raises(TypeError):
        found.group_lrs["group 0"] = found.lrs


def test_it_keeps_its_own_copy_of_the_numbers():
    lrs = np.geomspace(1e-4, 1, 20)
    result = RangeTest(
        lrs=lrs, group_lrs={}, losses=(), suggestion=None, bracket=None, spread=math.nan, rule="kmin",
        suggestions=(), status="never fell", reason="", steps=0, varied="nothing",
    )  # fmt: skip
    lrs[0] = 5.0
    assert result.lrs[0] == 1e-4


def test_its_repr_is_one_short_line(found):
    assert repr(found) == (
        "<RangeTest suggestion=0.01, bracket=(0.001, 0.04), 2 x 20 points, found: median of 2 of 2 repeats>"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.clear(), "not a range test"),
        (lambda d: d.update(version=2), "format 2"),
        (lambda d: d.pop("lrs"), "'lrs'"),
        (lambda d: d.update(colour="red"), "'colour'"),
        (lambda d: d.update(lrs="fast"), "lrs = 'fast'"),
        (lambda d: d.update(rule="guess"), "rule = 'guess'"),
        (lambda d: d.update(status="fine"), "status = 'fine'"),
        (lambda d: d.update(bracket=[1.0]), "bracket"),
        (lambda d: d.update(losses=[[[1.0]]]), "losses"),
        (lambda d: d.update(group_lrs=[1]), "group_lrs"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_key(found, tmp_path, change, told):
    data = found.to_dict()
    change(data)
    path = tmp_path / "range.json"
    path.write_text(json.dumps(data))
    with pytest.raises(StateError, match=told) as raised:
        RangeTest.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_broken_file_is_refused(tmp_path, content):
    path = tmp_path / "range.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"range\.json"):
        RangeTest.load(path)


def test_a_failed_save_leaves_the_old_file(found, tmp_path, monkeypatch):
    path = tmp_path / "range.json"
    found.save(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(found, steps=1).save(path)
    monkeypatch.undo()
    assert RangeTest.load(path) == found
    assert [path.name for path in tmp_path.iterdir()] == ["range.json"]


def test_by_rule_is_the_median_over_the_repeats(found):
    told = found.by_rule()
    assert set(told) == set(RULES)
    each = [RULES["kmin"](found.lrs, losses) for losses in found.losses]
    assert told["kmin"] == pytest.approx(math.sqrt(each[0] * each[1]))
    assert told["slide"] is None


def test_it_draws_itself(found):
    figure = found.plot()
    assert figure.axes


def test_it_draws_into_axes_of_yours(found):
    from matplotlib.figure import Figure

    mine = Figure()
    left, right = mine.subplots(1, 2)
    assert found.plot(left) is mine
    assert left.lines
    assert not right.lines
