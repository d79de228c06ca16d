"""Figures for papers, and plots for terminals. Importing this room loads no matplotlib; drawing does."""

from __future__ import annotations

from lrkit.plot.comparison import comparison_figure
from lrkit.plot.range_tests import draw_range_test, range_test_figure
from lrkit.plot.rates import rate_text, rate_ticks
from lrkit.plot.saving import FIGURE_SUFFIXES, check_figure_path, save_figure
from lrkit.plot.schedules import schedule_figure
from lrkit.plot.searches import draw_search, search_figure
from lrkit.plot.terminal import terminal_plot
from lrkit.plot.trainings import training_figure

__all__ = [
    "FIGURE_SUFFIXES",
    "check_figure_path",
    "comparison_figure",
    "draw_range_test",
    "draw_search",
    "range_test_figure",
    "rate_text",
    "rate_ticks",
    "save_figure",
    "schedule_figure",
    "search_figure",
    "terminal_plot",
    "training_figure",
]
