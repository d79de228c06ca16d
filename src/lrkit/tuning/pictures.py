"""The three pictures of a run folder: what the range test saw, what the search saw, how the training went."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lrkit.errors import MissingExtra
from lrkit.plan import Plan
from lrkit.plot import range_test_figure, save_figure, search_figure, training_figure
from lrkit.records import read_record
from lrkit.search import Search

__all__ = ["check_pictures", "draw_pictures"]


def check_pictures() -> None:
    """Raise MissingExtra now, rather than after minutes of training, where no picture could be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "plot", "drawing the pictures (or pass --no-plots, plots=False)")


def draw_pictures(folder: Path, search: Search, plan: Plan) -> None:
    """Write `find.png`, `search.png` and `training.png` into the run folder."""
    if search.range_test is not None:
        save_figure(range_test_figure(search.range_test.to_dict()), folder / "find.png")
    save_figure(search_figure(search.to_dict()), folder / "search.png")
    save_figure(training_figure(read_record(folder / "record.jsonl")), folder / "training.png")
