"""Where a metric is read from: the same reports however the files grow, and clear words for what is no metric."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.errors import SpecError, TaskError
from lrkit.search.command import CsvColumn, JsonLines, Pattern, Report
from lrkit.search.command.sources import ERRORS, OUTPUT
from lrkit.search.command.tail import LONGEST_LINE, last_lines

SOURCES = {
    JsonLines(): (
        OUTPUT,
        'starting\n{"epoch": 1, "loss": 0.5}\n 10%|#\r 20%|##\r{"epoch": 2, "loss": 0.25, "lr": 1}\n{"not": 1}\n{',
        [Report(0.5, 1.0), Report(0.25, 2.0)],
    ),
    Pattern(r"epoch (?P<epoch>\d+).*val_loss=([0-9.e+-]+|nan)"): (
        ERRORS,
        "epoch 1: loss=3 val_loss=2.5e-1\nnothing\nepoch 2: loss=2 val_loss=1e-1 and more\n",
        [Report(0.25, 1.0), Report(0.1, 2.0)],
    ),
    CsvColumn("log.csv", "val"): (
        "log.csv",
        "step,loss,val\n0,3.0,\n10,2.0,0.5\n20,1.5,\n30,1.0,0.25\n",
        [Report(0.5, None, 10.0), Report(0.25, None, 30.0)],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sources")


@given(st.sampled_from(list(SOURCES)), st.data())
def test_however_a_file_grows_its_reports_are_the_same(folder, source, data):
    name, text, expected = SOURCES[source]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    path = folder / name
    path.unlink(missing_ok=True)
    reader = source.reader(folder)
    seen = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        with path.open("a") as file:
            file.write(text[begin:end])
        reports = list(reader.read(ended=False))
        assert reports[: len(seen)] == seen == expected[: len(seen)]
        seen = reports
    assert list(reader.read(ended=True)) == expected


def read_all(source, folder, text, name=OUTPUT):
    (folder / name).write_text(text)
    return list(source.reader(folder).read(ended=True))


def test_the_last_line_counts_without_a_newline_once_the_command_is_gone(tmp_path):
    assert read_all(JsonLines("objective"), tmp_path, '{"objective": 1}') == [Report(1.0)]


@pytest.mark.parametrize("text", ["NaN", "null", '"nan"', "Infinity", "1e999", "1" + "0" * 400])
def test_what_is_not_finite_is_read_as_such(tmp_path, text):
    (report,) = read_all(JsonLines(), tmp_path, f'{{"loss": {text}}}\n')
    assert not math.isfinite(report.value)


@pytest.mark.parametrize("text", ['"high"', "true", "[1, 2]", '{"a": 1}'])
def test_a_metric_that_is_no_number_is_an_error_with_its_line(tmp_path, text):
    with pytest.raises(TaskError, match="'loss' in the line"):
        read_all(JsonLines(), tmp_path, f'{{"loss": {text}}}\n')


def test_text_that_only_looks_like_json_is_passed_over(tmp_path):
    noise = (
        "{'loss': 1}\n{loss}\n[1]\n" + "{" * 5000 + "\n" + '{"loss": 3, "x": "' + "y" * LONGEST_LINE + '"}\n'
    )
    assert read_all(JsonLines(), tmp_path, noise + '{"loss": 2}\n') == [Report(2.0)]


def test_a_missing_key_is_told_with_the_nearest_one(tmp_path):
    (tmp_path / OUTPUT).write_text('{"val_loss": 1, "epoch": 2}\n')
    reader = JsonLines("vall_loss").reader(tmp_path)
    assert not reader.read(ended=True)
    assert "did you mean 'val_loss'" in reader.hint()


class TestPattern:
    @pytest.mark.parametrize(
        ("expression", "line", "value"),
        [
            (r"loss=\S+", "3", None),
            (r"(?<=loss=)\S+", "loss=3", 3.0),
            (r"loss=(\S+)", "loss=inf", math.inf),
            (r"(\w+) (?P<value>\S+)", "loss 3", 3.0),
        ],
    )
    def test_the_value_is_the_named_group_the_only_one_or_all(self, tmp_path, expression, line, value):
        found = [r.value for r in read_all(Pattern(expression), tmp_path, line + "\n")]
        assert found == ([] if value is None else [value])

    @pytest.mark.parametrize("expression", ["(", r"(\d+) (\d+)"])
    def test_what_cannot_be_read_off_is_refused(self, expression):
        with pytest.raises(SpecError):
            Pattern(expression)

    def test_words_where_a_number_belongs_are_an_error(self, tmp_path):
        with pytest.raises(TaskError, match="no number"):
            read_all(Pattern(r"loss=(\w+)"), tmp_path, "loss=high\n")

    @pytest.mark.parametrize(
        ("expression", "name"),
        [
            (r"epoch (?P<epoch>\d+).*val_loss=([0-9.]+)", "val_loss"),
            (r"acc:\s*(\S+)", "acc"),
            (r"(?<=loss=)\S+", "loss"),
            (r"([0-9.]+)$", "metric"),
        ],
    )
    def test_it_is_called_as_it_is_written(self, expression, name):
        assert Pattern(expression).name == name


class TestCsv:
    def test_a_missing_column_is_told_with_the_nearest_one(self, tmp_path):
        (tmp_path / "log.csv").write_text("epoch,val_loss\n1,0.5\n")
        reader = CsvColumn("log.csv", "vall_loss").reader(tmp_path)
        assert not reader.read(ended=True)
        assert "did you mean 'val_loss'" in reader.hint()
        assert "no table" in CsvColumn("other.csv", "x").reader(tmp_path).hint()

    def test_a_row_that_is_still_written_waits(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("loss\n0.25")
        reader = CsvColumn("log.csv", "loss").reader(tmp_path)
        assert not reader.read(ended=False)
        path.write_text("loss\n0.2578\n")
        assert list(reader.read(ended=False)) == [Report(0.2578)]

    @pytest.mark.parametrize("text", ["log.csv", "log.csv:", ":loss", "/etc/x.csv:a", "../x.csv:a"])
    def test_a_file_outside_the_trials_folder_is_refused(self, text):
        with pytest.raises(SpecError, match="FILE:COLUMN"):
            CsvColumn.parse(text)


def test_last_lines_are_the_last_that_say_something(tmp_path):
    (tmp_path / "x").write_text("a\n" * 5000 + "b\n\n  c  \n\n")
    assert last_lines(tmp_path / "x", 2) == ["b", "c"]
    assert last_lines(tmp_path / "none", 2) == []
