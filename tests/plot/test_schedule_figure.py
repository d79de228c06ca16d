from __future__ import annotations

import numpy as np
import pytest

from lrkit import Horizon, parse
from lrkit.plot import schedule_figure

WSD = "warmup(5%) >> hold(75%) >> one_minus_sqrt(to=0)"


def drawn(text, steps=200, **options):
    return parse(text).over(Horizon(steps), **options)


def own_line(ax):
    return next(line for line in ax.lines if not line.get_label().startswith("_"))


def boxes(figure, ax):
    """Where the names of the phases and the title are, in pixels."""
    figure.draw_without_rendering()
    texts = [*ax.texts, ax.title, ax._left_title]
    return [text.get_window_extent() for text in texts if text.get_text()]


def test_a_panel_draws_the_very_numbers_that_train():
    curve = drawn(WSD)
    (ax,) = schedule_figure([curve], base_lr=3e-3).axes
    steps, rates = own_line(ax).get_data()
    assert list(steps) == list(range(200))
    assert np.array_equal(rates, 3e-3 * curve.chunk(0, 200))
    assert ax.get_ylabel() == "learning rate"


def test_without_a_base_lr_the_axis_is_the_factor():
    (ax,) = schedule_figure([drawn(WSD)]).axes
    assert ax.get_ylabel() == "factor"
    assert ax.get_xlabel() == "step (optimizer updates)"


def test_phases_are_named_and_their_borders_drawn():
    (ax,) = schedule_figure([drawn(WSD)]).axes
    assert [text.get_text() for text in ax.texts] == ["warmup(5%)", "hold(75%)", "one_minus_sqrt(to=0)"]
    borders = [line.get_xdata()[0] for line in ax.lines if line is not own_line(ax)]
    assert borders == [10, 160]


def test_names_are_left_out_where_most_do_not_fit():
    """Four names over twenty phases would be taken for those of their neighbours."""
    (ax,) = schedule_figure([drawn("(warmup(20%) >> cosine(to=0)).repeat(20)", 1000)]).axes
    assert not ax.texts
    assert len(ax.lines) == 40, "their borders are drawn all the same"


def test_several_schedules_are_small_multiples_on_equal_axes():
    texts = [WSD, "cosine(to=0)", "one_cycle()"]
    figure = schedule_figure([drawn(text) for text in texts])
    assert [ax._left_title.get_text() for ax in figure.axes] == texts
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1
    for ax in figure.axes:
        assert len([line for line in ax.lines if len(line.get_xdata()) == 200]) == 3, "the others behind it"


@pytest.mark.parametrize(
    "texts",
    [
        [WSD],
        [WSD, "warmup(2%) >> hold(90%) >> linear(to=0)"],
        ["warmup(1%) >> hold(1%) >> hold(1%) >> cosine(to=0.5) >> linear(1%, to=0)"] * 3,
        ["milestones([10%, 11%, 12%, 90%], factor=0.5)", "(warmup(20%) >> cosine(to=0)).repeat(10)"],
        [" >> ".join(["linear(5%, to=0.5)"] * 20)],
    ],
)
def test_no_words_run_into_each_other_or_out_of_the_figure(texts):
    figure = schedule_figure([drawn(text, 1000) for text in texts])
    width, height = figure.get_size_inches() * figure.dpi
    for ax in figure.axes:
        found = boxes(figure, ax)
        for index, box in enumerate(found):
            assert not any(box.overlaps(other) for other in found[index + 1 :])
            assert box.x0 >= 0
            assert box.x1 <= width
            assert box.y0 >= 0
            assert box.y1 <= height


def test_a_long_run_is_thinned_and_no_spike_is_lost():
    curve = drawn("hold(300001) >> linear(1, to=0.5) >> linear(1, to=1) >> hold()", 1_000_000)
    (ax,) = schedule_figure([curve]).axes
    steps, values = own_line(ax).get_data()
    assert len(steps) < 5000
    assert values.min() == curve.chunk(0, 1_000_000).min() < 1
    assert steps[0] == 0
    assert steps[-1] == 999_999


def test_a_log_scale_leaves_out_what_is_not_positive():
    (ax,) = schedule_figure([drawn("cosine(to=0.01)")], scale="log").axes
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert 0.005 < low < 0.01 < 1 < high < 2


def test_a_run_of_one_step_can_be_drawn():
    figure = schedule_figure([drawn("cosine(to=0)", 1)])
    figure.draw_without_rendering()
    assert own_line(figure.axes[0]).get_xydata().tolist() == [[0.0, 1.0]]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="at least one curve"):
        schedule_figure([])
    with pytest.raises(ValueError, match="2 labels for 1 curves"):
        schedule_figure([drawn(WSD)], labels=["a", "b"])


def test_labels_are_shown_as_they_are():
    """A dollar sign is no formula here."""
    figure = schedule_figure([drawn(WSD)], labels=["$a_b^$ 100 %"])
    figure.draw_without_rendering()
    assert figure.axes[0]._left_title.get_text() == "$a_b^$ 100 %"
