"""What is written comes back: every row, every bit, in columns."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.records import RecordWriter, read_record

# Names that are arguments of write() cannot be metrics; Python says so at the call.
RESERVED = {"self", "step", "loss", "lr", "grad_norm", "seconds"}
metric_names = st.text(max_size=8).filter(lambda name: name not in RESERVED)
numbers = st.floats()


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, object]]:
    steps = sorted(draw(st.sets(st.integers(0, 2**63 - 1), max_size=12)))
    return [
        {
            "step": step,
            "loss": draw(numbers),
            "lr": draw(st.lists(numbers, max_size=3)),
            "grad_norm": draw(st.none() | numbers),
            "seconds": draw(numbers),
            "metrics": draw(st.dictionaries(metric_names, numbers, max_size=2)),
        }
        for step in steps
    ]


def write(path: Path, rows: list[dict[str, object]], *, keep: int | None = None) -> None:
    with RecordWriter(path, keep=keep) as writer:
        for row in rows:
            fixed = {key: value for key, value in row.items() if key != "metrics"}
            writer.write(**fixed, **row["metrics"])


def same(column: np.ndarray, values: list[float]) -> bool:
    """Equal to the last bit, nan and the sign of 0 included."""
    expected = np.array(values, column.dtype)
    nan = np.isnan(expected) if column.dtype.kind == "f" else np.zeros(len(expected), bool)
    return bool(np.array_equal(np.isnan(column) if nan.any() else nan, nan)) and (
        column[~nan].tobytes() == expected[~nan].tobytes()
    )


@given(rows())
def test_every_row_comes_back_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    path = tmp_path_factory.mktemp("record") / "record.jsonl"
    write(path, rows)
    record = read_record(path)

    assert len(record) == len(rows)
    assert record.steps.dtype == np.int64
    assert record.steps.tolist() == [row["step"] for row in rows]
    assert same(record.losses, [row["loss"] for row in rows])
    assert same(record.seconds, [row["seconds"] for row in rows])
    assert same(
        record.grad_norms, [math.nan if row["grad_norm"] is None else row["grad_norm"] for row in rows]
    )
    widest = max((len(row["lr"]) for row in rows), default=0)
    assert record.lrs.shape == (len(rows), widest)
    for line, row in zip(record.lrs, rows, strict=True):
        assert same(line[: len(row["lr"])], row["lr"])
        assert np.isnan(line[len(row["lr"]) :]).all()
    assert set(record.metrics) == {name for row in rows for name in row["metrics"]}
    for name, (steps, values) in record.metrics.items():
        measured = [row for row in rows if name in row["metrics"]]
        assert steps.tolist() == [row["step"] for row in measured]
        assert same(values, [row["metrics"][name] for row in measured])


@given(rows())
def test_every_line_is_plain_json_of_the_documented_form(
    tmp_path_factory: pytest.TempPathFactory, rows
) -> None:
    path = tmp_path_factory.mktemp("record") / "record.jsonl"
    write(path, rows)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    for line, row in zip(path.read_text().split("\n")[:-1], rows, strict=True):
        fields = json.loads(line, parse_constant=refuse)
        assert list(fields)[:5] == ["step", "loss", "lr", "grad_norm", "seconds"]
        assert set(fields) == {*list(fields)[:5], *row["metrics"]}
        assert fields["loss"] == (row["loss"] if math.isfinite(row["loss"]) else str(row["loss"]))


@given(rows(), st.integers(0, 12), st.booleans())
def test_resuming_keeps_exactly_the_rows_before_k(
    tmp_path_factory: pytest.TempPathFactory, rows, cut, torn
) -> None:
    path = tmp_path_factory.mktemp("record") / "record.jsonl"
    write(path, rows)
    whole = path.read_bytes()
    if torn:
        path.write_bytes(whole + b'{"step": 123456789012345678901234567890, "lo')
    keep = rows[cut]["step"] if cut < len(rows) else 2**63
    RecordWriter(path, keep=keep).close()
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:cut])


@given(rows(), st.integers(0, 12))
def test_a_run_cut_in_two_leaves_the_record_of_one_run(
    tmp_path_factory: pytest.TempPathFactory, rows, cut
) -> None:
    folder = tmp_path_factory.mktemp("record")
    write(folder / "whole.jsonl", rows)
    write(folder / "halves.jsonl", rows[: cut + 2])
    if cut < len(rows):
        write(folder / "halves.jsonl", rows[cut:], keep=rows[cut]["step"])
    assert (folder / "halves.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_without_keep_new_rows_follow_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    row = {"loss": 1.0, "lr": [0.1], "grad_norm": None, "seconds": 0.5, "metrics": {}}
    write(path, [{"step": 0, **row}, {"step": 1, **row}])
    write(path, [{"step": 2, **row}])
    assert read_record(path).steps.tolist() == [0, 1, 2]


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "record.jsonl"
    with RecordWriter(path) as writer:
        writer.write(
            np.int64(3),
            torch.tensor(0.5),
            np.array([0.25, 0.125]),
            grad_norm=np.float32(2),
            seconds=1,
            accuracy=np.float64(0.75),
        )
    record = read_record(path)
    assert (record.steps[0], record.losses[0], record.grad_norms[0]) == (3, 0.5, 2.0)
    assert record.lrs.tolist() == [[0.25, 0.125]]
    assert record.metrics["accuracy"][1].tolist() == [0.75]


def test_a_record_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    write(
        path, [{"step": 0, "loss": 1.0, "lr": [0.1], "grad_norm": 1.0, "seconds": 0.5, "metrics": {"a": 1.0}}]
    )
    record = read_record(path)
    for column in (
        record.steps,
        record.losses,
        record.lrs,
        record.grad_norms,
        record.seconds,
        *record.metrics["a"],
    ):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_an_empty_record_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordWriter(path).close()
    record = read_record(path)
    assert len(record) == 0
    assert record.lrs.shape == (0, 0)
    assert record.metrics == {}


def test_records_need_no_torch() -> None:
    code = "import lrkit.records, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
