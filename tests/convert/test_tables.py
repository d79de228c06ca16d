"""Rates as arrays and CSV files: what goes out comes back in, and what is no table is told so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies  # noqa: F401  # the profile: the same examples on each run
from lrkit import cosine, parse, warmup
from lrkit.convert import from_table, read_table, to_table, write_table
from lrkit.errors import SpecError
from lrkit.spec.catalog import CATALOG

RATES = st.floats(0.0, 10.0, allow_subnormal=False)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_a_table_holds_every_rate(entry):
    rates = to_table(entry.example, 200, base_lr=0.3)
    assert rates.dtype == np.float64
    assert np.array_equal(rates, 0.3 * parse(entry.example).over(200).chunk(0, 200))


@given(st.lists(RATES, min_size=1, max_size=20), st.integers(1, 7))
def test_what_is_read_holds_each_rate_until_the_next(rates, every):
    curve = from_table(np.array(rates), every=every).over(every * len(rates) + 5)
    assert curve.chunk(0, every * len(rates)).tolist() == np.repeat(rates, every).tolist()
    assert curve(every * len(rates) + 4) == rates[-1]


@given(st.lists(st.tuples(st.integers(1, 9), RATES), min_size=1, max_size=12), RATES)
def test_uneven_steps_are_reached_on_the_step(pairs, first):
    steps = [0, *np.cumsum([gap for gap, _ in pairs]).tolist()]
    rates = [first, *(rate for _, rate in pairs)]
    rows = list(zip(steps, rates, strict=True))
    last = steps[-1] + 3
    stairs, lines = (from_table(rows, interpolation=kind).over(last) for kind in ("stair", "linear"))
    held = [rates[np.searchsorted(steps, t, side="right") - 1] for t in range(last)]
    assert stairs.chunk(0, last).tolist() == held
    np.testing.assert_allclose(lines.chunk(0, last), np.interp(range(last), steps, rates), atol=1e-14)


def test_a_file_that_was_written_reads_back_to_the_last_digit(tmp_path):
    path = tmp_path / "rates.csv"
    write_table(path, "warmup(5%) >> cosine(to=0)", 200, base_lr=0.3)
    assert path.read_text().startswith("step,lr\n0,0.02727")
    read = read_table(path)
    assert np.array_equal(
        read.over(200).chunk(0, 200), to_table("warmup(5%) >> cosine(to=0)", 200, base_lr=0.3)
    )


def test_a_schedule_or_its_text_will_do():
    assert np.array_equal(to_table(warmup(2) >> cosine(to=0), 8), to_table("warmup(2) >> cosine(to=0)", 8))


@pytest.mark.parametrize(
    ("text", "column", "spec"),
    [
        ("1\n0.5\n", None, "table([1, 0.5])"),
        ("0,1\n4,0.5\n", None, "table([1, 0.5], every=4)"),
        ("0,1\n4,0.5\n6,0.1\n", None, "hold(4, level=1) >> hold(2, level=0.5) >> hold(level=0.1)"),
        ("lr\n1\n0.5\n", None, "table([1, 0.5])"),
        ("step,loss,lr\n0,2.5,1\n1,2.4,0.5\n", "lr", "table([1, 0.5])"),
        ("\ufeffstep, lr\n0, 1\n3, 0.5\n", None, "table([1, 0.5], every=3)"),
    ],
)
def test_files_as_they_come(text, column, spec, tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text(text, encoding="utf-8")
    assert str(read_table(path, column=column)) == spec


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", None, "it is empty"),
        ("step,loss,lr\n0,1,1\n", None, "step, loss, lr: say column="),
        ("step,loss,lr\n0,1,1\n", "rl", "no column 'rl'; did you mean 'lr'"),
        ("0,1\n1,2\n", "lr", "have no names"),
        ("0,1,2\n", None, "3 columns without names"),
        ("lr\n1\nhigh\n", None, r"line 3: 'high' in the column lr is no number"),
        ("step,lr\n0,1\n5\n", None, "line 3 has 1 columns, not 2"),
        ("step,lr\n0,1\n0.5,1\n", None, "row 1 of the table: a step is a whole number"),
        ("step,lr\n0,1\n0,1\n", None, "row 1 of the table goes back to step 0"),
        ("step,lr\n5,1\n", None, "begins at step 5"),
        ("lr\n-1\n", None, "row 0 of the table takes a finite number from 0"),
        ("lr\nnan\n", None, "row 0 of the table takes a finite number from 0"),
    ],
)
def test_what_is_no_table_is_told_with_its_file(text, column, says, tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(SpecError, match=f"rates.csv: .*{says}"):
        read_table(path, column=column)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"cannot read the table .*none\.csv"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("values", [[], "1, 2", 5, None])
def test_what_is_no_list_is_refused(values):
    with pytest.raises(SpecError, match="a table is a list of rates"):
        from_table(values)


def test_a_row_that_is_no_pair_is_refused():
    with pytest.raises(SpecError, match="row 1 of the table is no pair"):
        from_table([[0, 1.0], [1, 2, 3]])
