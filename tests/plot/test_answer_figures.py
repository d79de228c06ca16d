"""The figures of a range test, a search and a training promise certain marks; here they are looked for."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from lrkit.plot import (
    draw_range_test,
    draw_search,
    range_test_figure,
    search_figure,
    training_figure,
)
from lrkit.records import RecordWriter, read_record

LRS = np.logspace(-6, 0, 60)


def range_test(**changes):
    losses = [2.3 - 2 / (1 + (3e-3 / LRS) ** 1.2) + 0.01 * r + 50 * LRS**4 for r in range(3)]
    return {
        "lrs": LRS.tolist(),
        "losses": [each[:55].tolist() for each in losses],
        "smoothed": [each[:55].tolist() for each in losses],
        "suggestion": 0.05,
        "suggestions": [0.05, 0.06, 0.04],
        "bracket": [5e-3, 0.2],
        "spread": 0.08,
        "rule": "kmin",
        "status": "found",
        "reason": "",
    } | changes


def trial(lr, objective, *, status="finished", steps=100, seed=0):
    return {"lr": lr, "seed": seed, "steps": steps, "objective": objective, "status": status, "metrics": {}}


def search(**changes):
    rates = np.logspace(-4, -1, 9)
    bowl = 0.1 + 0.05 * (np.log10(rates) + 2.5) ** 2
    trials = [trial(lr, value) for lr, value in zip(rates, bowl, strict=True)]
    trials += [trial(lr, value + 0.01, seed=1) for lr, value in zip(rates[3:6], bowl[3:6], strict=True)]
    trials += [trial(2e-4, 0.4, status="stopped", steps=20), trial(0.5, None, status="diverged", steps=3)]
    curve = {
        "lrs": rates.tolist(),
        "mean": bowl.tolist(),
        "low": (bowl - 0.01).tolist(),
        "high": (bowl + 0.01).tolist(),
    }
    return {
        "lr": 3.2e-3,
        "interval": [2e-3, 5e-3],
        "good": [1.5e-3, 6e-3],
        "objective": "validation loss",
        "trials": trials,
        "steps": 100,
        "curve": curve,
        "status": "settled",
        "reason": "",
    } | changes


def panel_of(figure):
    return next(ax for ax in figure.axes if ax.get_label() != "strip")


def words_of(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def labelled(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


def overlapping(figure):
    figure.draw_without_rendering()
    texts = [text for ax in figure.axes for text in ax.texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


class TestRangeTest:
    def test_every_repeat_is_there_raw_and_smoothed(self):
        panel = panel_of(range_test_figure(range_test()))
        assert len(labelled(panel, "raw")) == len(labelled(panel, "smoothed")) == 3
        assert len(labelled(panel, "raw")[0].get_xdata()) == 55

    def test_the_suggestion_its_spread_and_the_bracket_are_told(self):
        words = words_of(range_test_figure(range_test()))
        assert words == [
            "bracket for the search: 5e-3 to 0.2",
            "suggestion (kmin): 5e-2 \u00d7/\u00f7 1.20 (sd of 3 repeats)",
        ]

    def test_the_bracket_is_shaded_and_the_suggestion_a_line(self):
        panel = panel_of(range_test_figure(range_test()))
        (shade,) = panel.patches
        assert shade.get_x() == 5e-3
        assert shade.get_x() + shade.get_width() == pytest.approx(0.2)
        assert any(list(line.get_xdata()) == [0.05, 0.05] for line in panel.lines)

    def test_every_repeat_shows_its_own_suggestion(self):
        panel = panel_of(range_test_figure(range_test(suggestions=[0.05, None, 0.04])))
        assert [line.get_xdata()[0] for line in labelled(panel, "repeat")] == [0.05, 0.04]

    def test_no_suggestion_is_said_with_its_reason(self):
        data = range_test(
            suggestion=None, bracket=None, spread=None, suggestions=[None] * 3, reason="the loss never fell"
        )
        assert words_of(range_test_figure(data)) == ["no suggestion: the loss never fell"]

    def test_one_repeat_has_no_spread_to_show(self):
        data = range_test(
            losses=range_test()["losses"][:1], smoothed=range_test()["smoothed"][:1], spread=None
        )
        assert words_of(range_test_figure(data))[-1] == "suggestion (kmin): 5e-2"

    def test_what_explodes_does_not_flatten_the_rest(self):
        losses = [[*each[:-1], 1e9] for each in range_test()["losses"]]
        panel = panel_of(range_test_figure(range_test(losses=losses, smoothed=losses)))
        assert panel.get_ylim()[1] < 5

    def test_the_axis_is_logarithmic_and_labelled_in_plain_rates(self):
        panel = panel_of(range_test_figure(range_test()))
        assert panel.get_xscale() == "log"
        figure = panel.get_figure()
        figure.draw_without_rendering()
        labels = [label.get_text() for label in panel.get_xticklabels()]
        assert {"1e-6", "1e-3", "0.1"} <= set(labels)

    def test_a_sweep_without_one_point_is_drawn_all_the_same(self):
        data = range_test(
            losses=[[]], smoothed=[[]], suggestion=None, suggestions=[None], bracket=None, spread=None
        )
        figure = range_test_figure(data)
        figure.draw_without_rendering()
        assert words_of(figure) == ["no suggestion: the loss never fell"]

    def test_it_can_be_drawn_into_axes_of_ones_own(self):
        from matplotlib.figure import Figure

        ax = Figure().add_subplot()
        draw_range_test(ax, range_test())
        assert ax.get_xlabel() == "learning rate"


def scattered(ax, label):
    """Of all trials drawn under that label: rate, objective, area and opacity."""
    parts = [part for part in ax.collections if part.get_label() == label]
    return [
        (*place, size, part.get_alpha())
        for part in parts
        for place, size in zip(part.get_offsets().tolist(), part.get_sizes(), strict=True)
    ]


def key_of(figure):
    (key,) = figure.legends
    return [text.get_text() for text in key.get_texts()]


def mirrored(data):
    """The same search of an objective that is maximised."""
    for each in data["trials"]:
        each["objective"] = None if each["objective"] is None else 1 - each["objective"]
    curve = data["curve"]
    curve["mean"] = [1 - value for value in curve["mean"]]
    curve["low"], curve["high"] = (
        [1 - value for value in curve["high"]],
        [1 - value for value in curve["low"]],
    )
    return data


class TestSearch:
    def test_finished_stopped_and_diverged_trials_differ(self):
        data = search()
        data["trials"].append(trial(1e-3, 0.2, status="stopped", steps=20))
        panel = panel_of(search_figure(data))
        assert len(scattered(panel, "finished")) == 12
        assert [place[:2] for place in scattered(panel, "stopped early")] == [(1e-3, 0.2)]
        (crosses, *_) = labelled(panel, "diverged")
        assert list(crosses.get_xdata()) == [0.5]

    def test_the_earlier_a_trial_was_stopped_the_smaller_and_fainter_it_is(self):
        data = search()
        data["trials"] += [trial(1e-3, 0.2, status="stopped", steps=steps) for steps in (10, 40, 90)]
        panel = panel_of(search_figure(data))
        stopped = scattered(panel, "stopped early")
        assert [place[2] for place in stopped] == sorted(place[2] for place in stopped)
        assert [place[3] for place in stopped] == sorted(place[3] for place in stopped)
        assert max(place[2] for place in stopped) < min(place[2] for place in scattered(panel, "finished"))
        assert max(place[3] for place in stopped) < 1

    def test_trials_of_one_seed_are_joined(self):
        panel = panel_of(search_figure(search()))
        assert len(labelled(panel, "seed 0")[0].get_xdata()) == 9
        assert len(labelled(panel, "seed 1")[0].get_xdata()) == 3

    def test_colour_and_shape_tell_seeds_apart_and_the_key_names_them(self):
        data = search()
        data["trials"] = [trial(10**-x, 0.1, seed=seed) for seed in range(20) for x in (1, 2)]
        figure = search_figure(data)
        panel = panel_of(figure)
        looks = {
            (part.get_facecolor().tobytes(), part.get_paths()[0].vertices.tobytes())
            for part in panel.collections
            if part.get_label() == "finished"
        }
        assert len(looks) == 20
        assert key_of(figure)[:8] == [*(f"seed {seed}" for seed in range(7)), "and 13 further seeds"]

    def test_trials_with_other_values_stand_behind_those_with_the_best(self):
        data = search(values={"weight_decay": 0.1})
        data["trials"] = [t | {"values": {"weight_decay": 0.1}} for t in data["trials"]]
        data["trials"] += [trial(lr, 0.2) | {"values": {"weight_decay": 0.0}} for lr in (1e-3, 1e-2)]
        figure = search_figure(data)
        panel = panel_of(figure)
        assert len(scattered(panel, "finished")) == 12
        assert len(scattered(panel, "other values")) == 2
        assert len(labelled(panel, "seed 0")[0].get_xdata()) == 9
        assert "other values" in key_of(figure)

    def test_the_answer_is_told(self):
        assert words_of(search_figure(search())) == [
            "as good: 1.5e-3 to 6e-3",
            "90 % interval of the best: 2e-3 to 5e-3",
            "chosen: 3.2e-3",
        ]

    def test_the_interval_goes_down_into_the_panel(self):
        lines = [list(line.get_xdata()) for line in panel_of(search_figure(search())).lines]
        assert [2e-3, 2e-3] in lines
        assert [5e-3, 5e-3] in lines

    def test_an_answer_in_doubt_says_so(self):
        assert words_of(search_figure(search(status="not settled")))[-1] == "chosen: 3.2e-3 (not settled)"

    def test_only_diverged_trials_can_be_drawn(self):
        data = search(
            trials=[trial(0.1, None, status="diverged")],
            curve=None,
            lr=None,
            interval=None,
            good=None,
            reason="all nan",
        )
        figure = search_figure(data)
        assert words_of(figure) == ["no answer: all nan"]
        assert key_of(figure) == ["diverged (1)"]
        figure.draw_without_rendering()

    def test_a_search_without_any_trial_is_an_empty_panel(self):
        search_figure(search(trials=[], curve=None, good=None)).draw_without_rendering()

    def test_the_key_names_what_is_there_and_nothing_else(self):
        data = search(curve=None)
        data["trials"] = [t for t in data["trials"] if t["status"] == "finished" and t["seed"] == 0]
        assert key_of(search_figure(data)) == ["trained to the end"]

    def test_it_can_be_drawn_into_axes_of_ones_own(self):
        from matplotlib.figure import Figure

        ax = Figure().add_subplot()
        draw_search(ax, search())
        assert ax.get_xlabel() == "peak learning rate"

    def test_nothing_given_is_changed(self):
        data = search()
        search_figure(data)
        assert data["trials"] == search()["trials"]


class TestScaleOfASearch:
    def test_trials_stopped_early_do_not_move_it(self):
        without = search()
        without["trials"] = [t for t in without["trials"] if t["status"] == "finished"]
        with_many = search()
        with_many["trials"] = [
            *without["trials"],
            *(trial(10**-x, 5.0 * x, status="stopped", steps=9) for x in (1, 2, 3, 4)),
        ]
        one, other = (panel_of(search_figure(data)) for data in (without, with_many))
        assert one.spines["left"].get_bounds() == other.spines["left"].get_bounds()

    def test_what_lies_beyond_is_at_the_edge_and_counted(self):
        data = search()
        data["trials"] += [trial(0.2, 1e6), trial(2e-3, 0.001, status="stopped", steps=10)]
        figure = search_figure(data)
        panel = panel_of(figure)
        low, high = panel.spines["left"].get_bounds()
        assert high < 0.3
        above = [line.get_xdata()[0] for line in labelled(panel, "above the scale")]
        below = [line.get_xdata()[0] for line in labelled(panel, "below the scale")]
        assert sorted(above) == [2e-4, 0.2]
        assert below == [2e-3]
        assert low > 0.001
        assert {"above: 1 to the end, 1 stopped, up to 1e6", "below: 1 stopped, down to 1e-3"} <= set(
            key_of(figure)
        )
        assert all(low <= tick <= high for tick in panel.get_yticks())

    def test_it_is_whole_where_the_best_lies_whatever_is_maximised_or_minimised(self):
        for data, shown in ((search(), (0.1, 0.17)), (mirrored(search()), (0.83, 0.9))):
            low, high = panel_of(search_figure(data)).spines["left"].get_bounds()
            assert low < shown[0] < shown[1] < high
            assert high - low < 0.3

    def test_a_band_that_opens_wide_does_not_flatten_the_valley(self):
        data = search()
        wide = [0.15, *data["curve"]["high"][1:-1], 50.0]
        data["curve"]["high"] = wide
        assert panel_of(search_figure(data)).spines["left"].get_bounds()[1] < 0.3

    def test_what_a_file_has_as_null_is_left_out(self):
        data = search()
        data["curve"]["high"] = [None, *data["curve"]["high"][1:-1], None]
        data["curve"]["mean"] = [None, *data["curve"]["mean"][1:]]
        figure = search_figure(data)
        figure.draw_without_rendering()
        assert 0 < panel_of(figure).spines["left"].get_bounds()[1] < 0.3

    def test_without_a_full_training_it_shows_the_others(self):
        trials = [trial(10**-x, 0.1 * x, status="stopped", steps=9) for x in (1, 2, 3)]
        panel = panel_of(search_figure(search(trials=trials, curve=None)))
        assert len(scattered(panel, "stopped early")) == 3

    @pytest.mark.parametrize("value", [0.0, 0.5, -3e9, 1e300])
    def test_objectives_that_are_all_equal_have_a_scale(self, value):
        panel = panel_of(search_figure(search(trials=[trial(lr, value) for lr in (1e-3, 1e-2)], curve=None)))
        low, high = panel.spines["left"].get_bounds()
        assert low < value < high
        assert len(scattered(panel, "finished")) == 2

    @pytest.mark.parametrize("count", [1, 2, 40])
    def test_every_trial_is_somewhere(self, count):
        random = np.random.default_rng(count)
        statuses = random.choice(["finished", "stopped", "diverged"], count)
        data = search(values={"a": 1})
        data["trials"] = [
            trial(10**x, None if status == "diverged" else 10**y, status=status, steps=50, seed=int(seed))
            | {"values": {"a": int(value)}}
            for x, y, status, seed, value in zip(
                random.uniform(-4, 0, count),
                random.normal(-1, 1, count),
                statuses,
                random.integers(0, 3, count),
                random.integers(0, 2, count),
                strict=True,
            )
        ]
        panel = panel_of(search_figure(data))
        inside = [
            part
            for label in ("finished", "stopped early", "other values")
            for part in scattered(panel, label)
        ]
        marks = [
            line
            for label in ("above the scale", "below the scale", "diverged")
            for line in labelled(panel, label)
        ]
        assert len(inside) + sum(len(line.get_xdata()) for line in marks) == count
        low, high = panel.spines["left"].get_bounds()
        assert all(low <= objective <= high for _, objective, *_ in inside)


@pytest.mark.parametrize("place", [1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("width", [1.2, 1e4])
def test_no_words_run_into_each_other_wherever_the_answer_lies(place, width):
    low, high = max(1e-6, place / width), min(1.0, place * width)
    assert not overlapping(
        range_test_figure(range_test(suggestion=place, bracket=[low, high], suggestions=[]))
    )
    figure = search_figure(search(lr=place, interval=[low, high], good=[low, high]))
    assert not overlapping(figure)
    strip = next(ax for ax in figure.axes if ax.get_label() == "strip")
    panel = panel_of(figure).get_window_extent()
    assert panel.width > 0.8 * figure.bbox.width, "words never squeeze the panel"
    assert strip.get_window_extent().width == pytest.approx(panel.width, abs=1.0), "they share their axis"


class TestTraining:
    def record(self, tmp_path, losses, metrics=None, groups=1):
        with RecordWriter(tmp_path / "record.jsonl", keep=0) as writer:
            for step, loss in enumerate(losses):
                rates = [1e-3 * (1 - step / len(losses)) * (group + 1) for group in range(groups)]
                writer.write(step, loss, rates, grad_norm=None, seconds=0.1, **(metrics or {}).get(step, {}))
        return read_record(tmp_path / "record.jsonl")

    def test_loss_and_rate_have_a_panel_each_over_one_axis(self, tmp_path):
        figure = training_figure(self.record(tmp_path, [1.0, 0.9, 0.8, 0.7]))
        assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "learning rate"]
        assert {ax.get_xlim() for ax in figure.axes} == {(0, 4)}
        assert list(labelled(figure.axes[0], "each update")[0].get_ydata()) == [1.0, 0.9, 0.8, 0.7]

    def test_a_metric_that_is_a_loss_joins_the_losses_and_another_gets_its_own_panel(self, tmp_path):
        metrics = {1: {"validation loss": 0.95, "validation accuracy": 0.5}}
        figure = training_figure(self.record(tmp_path, [1.0, 0.9, 0.8], metrics))
        assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "validation accuracy", "learning rate"]
        (line,) = labelled(figure.axes[0], "validation loss")
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([1], [0.95])

    def test_a_large_range_of_positive_losses_is_drawn_logarithmically(self, tmp_path):
        assert training_figure(self.record(tmp_path, [10.0, 0.01])).axes[0].get_yscale() == "log"
        assert training_figure(self.record(tmp_path, [10.0, -0.01])).axes[0].get_yscale() == "linear"

    def test_a_loss_that_is_not_finite_is_marked(self, tmp_path):
        ax = training_figure(self.record(tmp_path, [1.0, math.nan, 0.5, math.inf])).axes[0]
        assert ax.get_title(loc="left") == "diverged at step 3"
        assert list(labelled(ax, "not finite")[0].get_xdata()) == [1, 3]

    def test_groups_with_their_own_rates_are_named_and_equal_ones_share_a_line(self, tmp_path):
        record = self.record(tmp_path, [1.0, 0.9], groups=2)
        rates = training_figure(record, groups=["body", "head"]).axes[-1]
        assert [line.get_label() for line in rates.lines] == ["body", "head"]
        assert [text.get_text() for text in rates.texts] == ["body", "head"]

    def test_the_average_is_that_of_its_window(self, tmp_path):
        losses = list(np.random.default_rng(0).normal(1, 0.1, 400))
        ax = training_figure(self.record(tmp_path, losses)).axes[0]
        average = labelled(ax, "average")[0].get_ydata()
        for place in (0, 3, 200, 399):
            assert average[place] == pytest.approx(np.mean(losses[max(0, place - 5) : place + 6]))

    def test_a_run_that_lost_every_loss_is_drawn_all_the_same(self, tmp_path):
        figure = training_figure(self.record(tmp_path, [math.nan, math.nan]))
        figure.draw_without_rendering()
        assert len(labelled(figure.axes[0], "not finite")) == 1

    def test_an_empty_record_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="no steps"):
            training_figure(self.record(tmp_path, []))

    def test_the_final_test_is_told_and_marked_at_the_end(self, tmp_path):
        metrics = {2: {"validation loss": 0.7, "validation accuracy": 0.5}}
        results = {"validation loss": 0.7, "test loss": 0.65, "test accuracy": 0.91, "test f1": 0.8}
        figure = training_figure(self.record(tmp_path, [1.0, 0.9, 0.8], metrics), results=results)
        losses, accuracy, _ = figure.axes
        assert losses.get_title(loc="left") == "test loss 0.65,   test accuracy 0.91,   test f1 0.8"
        for ax, name, value in ((losses, "test loss", 0.65), (accuracy, "test accuracy", 0.91)):
            (mark,) = labelled(ax, name)
            assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2], [value])
            assert ax.get_ylim()[0] < value < ax.get_ylim()[1]
        assert [text.get_text() for text in losses.texts] == ["test 0.65", "0.7"]
        assert "test loss" in [text.get_text() for text in losses.get_legend().get_texts()]

    @pytest.mark.parametrize("results", [None, {}, {"validation loss": 0.7}])
    def test_without_a_test_nothing_is_claimed(self, tmp_path, results):
        figure = training_figure(self.record(tmp_path, [1.0, 0.9]), results=results)
        assert not figure.axes[0].get_title(loc="left")
        assert not figure.axes[0].texts

    def test_a_test_that_is_not_finite_is_told_and_not_drawn(self, tmp_path):
        figure = training_figure(self.record(tmp_path, [1.0, 0.9]), results={"test loss": math.nan})
        assert figure.axes[0].get_title(loc="left") == "test loss nan"
        assert not labelled(figure.axes[0], "test loss")
        figure.draw_without_rendering()

    @pytest.mark.parametrize("apart", [0.0, 1e-6, 0.3, -0.3])
    def test_values_at_the_end_do_not_run_into_each_other(self, tmp_path, apart):
        metrics = {1: {"validation loss": 0.9, "other loss": 0.9 + apart / 2}}
        record = self.record(tmp_path, [1.0, 0.9], metrics)
        assert not overlapping(training_figure(record, results={"test loss": 0.9 + apart}))
