from __future__ import annotations

import subprocess
import sys

import pytest

from lrkit import parse
from lrkit.errors import LrkitError
from lrkit.plot import FIGURE_SUFFIXES, check_figure_path, save_figure, schedule_figure


def figure():
    return schedule_figure([parse("warmup(5%) >> cosine(to=0)").over(50)])


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_chooses_the_format(tmp_path, suffix, start):
    path = save_figure(figure(), tmp_path / f"a{suffix}")
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"


@pytest.mark.parametrize("suffix", FIGURE_SUFFIXES)
def test_a_figure_made_twice_is_the_same_file(tmp_path, suffix):
    one, other = (save_figure(figure(), tmp_path / f"{name}{suffix}") for name in "ab")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a.pgn", "did you mean '.png'"),
        ("a.jpeg", "no figure format '.jpeg'"),
        ("a", "no suffix: use .png, .svg or .pdf"),
        ("missing/a.png", "no folder"),
    ],
)
def test_a_path_that_cannot_be_is_one_clear_line(tmp_path, name, complaint):
    with pytest.raises(LrkitError, match=complaint) as caught:
        check_figure_path(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_write_that_the_system_refuses_leaves_nothing(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(LrkitError, match="cannot save the figure"):
        save_figure(figure(), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_drawing_that_fails_keeps_the_file_that_was_there(tmp_path):
    old = save_figure(figure(), tmp_path / "a.png").read_bytes()
    broken = figure()
    broken.axes[0].set_title("$\\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(broken, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_no_window_no_pyplot_and_no_torch():
    code = (
        "from lrkit import parse; from lrkit.plot import schedule_figure; import sys;"
        "assert 'matplotlib' not in sys.modules;"
        "schedule_figure([parse('cosine(to=0)').over(50)]).draw_without_rendering();"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.modules['matplotlib.figure'] = None\n"
        "sys.modules['matplotlib.backends'] = None\n"
        "from lrkit import parse; from lrkit.plot import schedule_figure; from lrkit.errors import MissingExtra\n"
        "try: schedule_figure([parse('cosine(to=0)').over(50)])\n"
        "except MissingExtra as error: assert \"pip install 'lrkit[plot]'\" in str(error)\n"
        "else: raise SystemExit('drawn without matplotlib')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
