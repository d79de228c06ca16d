"""The figure of a comparison: its marks are where the numbers are, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest

from lrkit.plot import comparison_figure, save_figure

RATES = np.logspace(-3, -1, 30)


def search(lr):
    mean = 0.3 + 0.5 * (np.log10(RATES) - np.log10(lr)) ** 2
    return {
        "lr": lr,
        "interval": [lr / 2, lr * 2],
        "objective": "validation loss",
        "fitted": 0.3,
        "trials": [
            {"lr": lr, "seed": 0, "steps": 50, "objective": 0.31, "status": "finished"},
            {"lr": 2 * lr, "seed": 0, "steps": 50, "objective": None, "status": "diverged"},
        ],
        "curve": {"lrs": RATES.tolist(), "mean": mean.tolist()},
    }


def row(name, rank, values, **changes):
    lr = 0.01 * (1 + len(name) / 10)
    return {
        "name": name,
        "rank": rank,
        "lr": lr,
        "values": values,
        "mean": float(np.mean(values)),
        "difference": None if rank == 1 else 0.1,
        "interval_of_difference": None if rank == 1 else [0.05, 0.15],
        "p": None if rank == 1 else 0.03,
        "told_apart": rank != 1,
        "diverged": 0,
        "data": "all",
        "search": search(lr),
        "rates": {"steps": [0, 20, 40, 49], "lrs": [lr, lr / 2, lr / 10, 0.0]},
    } | changes


def comparison(*rows, **changes):
    return {
        "schedules": list(rows),
        "metric": "test loss",
        "direction": "min",
        "steps": 50,
        "seeds": [0, 1, 2],
    } | changes


TWO = (row("cosine", 1, [1.0, 1.1, 1.2]), row("constant", 2, [1.1, 1.2, 1.3]))


def panels(figure):
    figure.draw_without_rendering()
    return [ax for part in figure.subfigs for ax in part.axes]


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_rates_are_drawn_as_they_were_used_and_what_is_0_is_left_out():
    rates, *_ = panels(comparison_figure(comparison(*TWO)))
    assert len(rates.lines) == 2
    (line,) = [line for line in rates.lines if line.get_ydata()[0] == TWO[0]["lr"]]
    assert line.get_xdata().tolist() == [0, 20, 40, 49]
    assert np.isnan(line.get_ydata()[-1])
    assert rates.get_yscale() == "log"


def test_every_search_shows_its_curve_its_rate_and_its_interval():
    _, searches, _ = panels(comparison_figure(comparison(*TWO)))
    for one in TWO:
        assert any(line.get_xdata().tolist() == [one["lr"]] for line in searches.lines)
        assert any(line.get_xdata().tolist() == one["search"]["interval"] for line in searches.lines)
    assert len(searches.collections) == 2
    assert "validation loss" in searches.get_ylabel()


def test_the_standings_show_each_seed_the_mean_and_the_interval_of_the_difference():
    *_, standings = panels(comparison_figure(comparison(*TWO)))
    drawn = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in map(_listed, standings.lines)]
    assert ([1.1, 1.2, 1.3], [1, 1, 1]) in drawn
    assert ([TWO[1]["mean"]], [1]) in drawn
    best = TWO[0]["mean"]
    assert ([best + 0.05, best + 0.15], [1, 1]) in drawn
    assert [label.get_text() for label in standings.get_yticklabels()] == ["cosine", "constant"]
    assert words(standings) == ["best mean", "p = 0.03, worse"]
    assert "lower is better" in standings.get_xlabel()


def _listed(line):
    line.set_data(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
    return line


def test_what_could_not_be_told_is_said():
    rows = (TWO[0], row("constant", 2, [1.1, 1.2, 1.3], p=0.4, told_apart=False))
    *_, standings = panels(comparison_figure(comparison(*rows)))
    assert words(standings) == ["best mean", "p = 0.4, not told apart"]


def test_schedules_without_an_answer_have_a_line_of_their_own():
    lost = row("lost", None, [1.0], mean=None, p=None, interval_of_difference=None)
    rows = (
        TWO[0],
        lost | {"name": "once", "values": [1.0, None, 1.1], "diverged": 1},
        lost | {"lr": None, "values": [], "search": None, "rates": None},
    )
    figure = comparison_figure(comparison(*rows))
    *_, standings = panels(figure)
    assert words(standings) == ["best mean", "1 of 3 diverged", "no rate trains"]


def test_less_data_is_marked_where_others_had_all():
    rows = (TWO[0], row("reactive", 2, [1.1, 1.2, 1.3], data="search"))
    figure = comparison_figure(comparison(*rows))
    *_, standings = panels(figure)
    assert [label.get_text() for label in standings.get_yticklabels()] == ["cosine", "reactive *"]
    assert "* Trained without the held-out data" in caption(figure)


def caption(figure):
    return figure.subfigs[1].get_supxlabel()


def test_the_caption_says_what_is_corrected_for_other_comparisons_and_what_is_not():
    three = comparison_figure(comparison(*TWO, row("step", 3, [1.2, 1.3, 1.4], p=0.06, told_apart=False)))
    assert "95 % interval of the paired difference to the best, each by itself" in caption(three)
    assert "corrected for all 3 pairs (Holm)" in caption(three)
    one_pair = caption(comparison_figure(comparison(*TWO)))
    assert "95 % interval" in one_pair
    assert "corrected" not in one_pair, "of one pair there is nothing to correct"


def test_the_caption_lies_below_all_else_and_inside_the_figure():
    rows = [row(f"schedule {i}", i + 1, [1.0 + i, 1.1, 1.2], data=("all", "search")[i % 2]) for i in range(6)]
    figure = comparison_figure(comparison(*rows))
    *_, standings = panels(figure)
    words = figure.subfigs[1]._supxlabel.get_window_extent()
    assert words.y0 >= 0
    assert words.x1 <= figure.bbox.width
    assert words.y1 <= standings.xaxis.label.get_window_extent().y0


@pytest.mark.parametrize("count", [2, 9, 16])
def test_no_two_schedules_look_the_same_and_no_words_overlap(count, tmp_path):
    rows = [row(f"schedule {i} of many, with a long name", i + 1, [1.0 + i, 1.1, 1.2]) for i in range(count)]
    figure = comparison_figure(comparison(*rows))
    rates, _, standings = panels(figure)
    assert len({(line.get_color(), line.get_linestyle()) for line in rates.lines}) == count
    boxes = [text.get_window_extent() for text in (*standings.texts, *standings.get_yticklabels())]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    assert save_figure(figure, tmp_path / "figure.png").stat().st_size > 0


def test_one_seed_has_no_intervals():
    rows = [one | {"values": [1.0], "interval_of_difference": None, "p": None} for one in TWO]
    *_, standings = panels(comparison_figure(comparison(*rows, seeds=[0], direction="max")))
    assert words(standings) == ["best mean", ""]
    assert "1 seed)" in standings.get_xlabel()
    assert not caption(comparison_figure(comparison(*rows, seeds=[0])))
    assert "higher is better" in standings.get_xlabel()
