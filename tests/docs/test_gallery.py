"""The gallery shows the catalog as it is: a section, a picture and an example that runs for each entry."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lrkit.spec import CATALOG, Entry

PIL_Image = pytest.importorskip("PIL.Image")
DOCS = Path(__file__).parents[2] / "docs"


def _gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module
    spec.loader.exec_module(module)
    return module


gallery = _gallery()


def test_the_page_is_what_the_catalog_makes() -> None:
    assert gallery.PAGE.read_text() == gallery.page(), "run `python docs/gallery.py`"


def test_no_picture_is_left_over() -> None:
    assert {path.stem for path in gallery.PICTURES.iterdir()} == {entry.name for entry in CATALOG}


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
class TestEntry:
    def test_it_has_a_section_with_its_picture_and_an_example(self, entry: Entry) -> None:
        (section,) = re.findall(
            rf"^### {entry.name}\n(.*?)(?=^###? |\Z)", gallery.PAGE.read_text(), re.M | re.S
        )
        assert f"(pictures/gallery/{entry.name}.png)" in section
        for said in (entry.example, entry.use, entry.avoid, "```python\n", "numpy.allclose(factors"):
            assert said in section
        for parameter in entry.parameters:
            assert f"| `{parameter.name}` |" in section

    def test_its_picture_shows_what_the_catalog_says_today(self, entry: Entry) -> None:
        with PIL_Image.open(gallery.picture_path(entry)) as picture:
            assert picture.text["Description"] == gallery.picture_description(entry), (
                "run `python docs/gallery.py`"
            )
            assert picture.size == (1184, 352)
            assert len(picture.convert("RGB").getcolors(10**6)) > 10  # something is drawn

    def test_something_is_drawn_beside_the_example(self, entry: Entry) -> None:
        """At least one other setting, so that the picture tells what an argument does."""
        first, *others = gallery.picture_specs(entry)
        assert first == entry.example
        assert others
        assert first not in others


def test_the_picture_is_remade_as_it_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same size and description: bytes may differ between versions of the fonts."""
    monkeypatch.setattr(gallery, "PICTURES", tmp_path)
    gallery.draw(CATALOG[0])
    kept = gallery.DOCS / "pictures" / "gallery" / f"{CATALOG[0].name}.png"
    with PIL_Image.open(tmp_path / kept.name) as new, PIL_Image.open(kept) as old:
        assert (new.size, new.text) == (old.size, old.text)
