"""The pictures of a run folder: what the range test saw, what the search saw, how the training went."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from lrkit.errors import MissingExtra
from lrkit.plot import range_test_figure, save_figure, search_figure, training_figure
from lrkit.records import read_record
from lrkit.search import Search

__all__ = ["check_pictures", "draw_search_pictures", "draw_training_picture"]


def check_pictures() -> None:
    """Raise MissingExtra now, rather than after minutes of training, where no picture could be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "plot", "drawing the pictures (or pass --no-plots, plots=False)")


def draw_search_pictures(folder: Path, search: Search) -> None:
    """Write `search.png` into the run folder, and `find.png` where the search began with a range test."""
    if search.range_test is not None:
        save_figure(range_test_figure(search.range_test.to_dict()), folder / "find.png")
    save_figure(search_figure(search.to_dict()), folder / "search.png")


def draw_training_picture(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write `training.png` into the run folder, from its record and the final `metrics`, as `train` gives them."""
    save_figure(
        training_figure(read_record(folder / "record.jsonl"), results=metrics), folder / "training.png"
    )
