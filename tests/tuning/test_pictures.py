"""The pictures of a run folder: drawn anew from the same run they are the same files."""

from __future__ import annotations

import pytest

from lrkit.errors import MissingExtra
from lrkit.search import search_lr
from lrkit.training import default_plan, train
from lrkit.tuning.pictures import check_pictures, draw_search_pictures, draw_training_picture
from toys import toy_task


def drawn_twice(folder, draw):
    pictures = []
    for _ in range(2):
        draw()
        pictures.append({path.name: path.read_bytes() for path in folder.glob("*.png")})
    return pictures


def test_a_search_is_drawn_with_its_range_test_the_same_each_time(tmp_path):
    search = search_lr(toy_task(steps=40))
    first, again = drawn_twice(tmp_path, lambda: draw_search_pictures(tmp_path, search))
    assert set(first) == {"find.png", "search.png"}
    assert first == again


def test_a_search_of_a_given_bracket_has_no_range_test_to_draw(tmp_path):
    search = search_lr(toy_task(steps=40), bracket=(1e-3, 1e-1))
    draw_search_pictures(tmp_path, search)
    assert [path.name for path in tmp_path.iterdir()] == ["search.png"]


def test_a_training_is_drawn_with_its_final_test(tmp_path):
    task = toy_task(steps=40)
    trained = train(task, default_plan(task, lr=1e-2), out=tmp_path)
    assert "test loss" in trained.metrics
    first, again = drawn_twice(tmp_path, lambda: draw_training_picture(tmp_path, trained.metrics))
    assert set(first) == {"training.png"}
    assert first == again
    draw_training_picture(tmp_path, {})
    assert (tmp_path / "training.png").read_bytes() != first["training.png"]


def test_a_missing_matplotlib_is_told_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"lrkit\[plot\]"):
        check_pictures()
