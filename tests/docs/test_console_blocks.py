"""Every `$ lrkit ...` line of README.md and docs/ runs, in the page's order, in an empty folder.

A Python block that begins with `# name.py` is the file of that name: it is written before the lines after it run. One
that the page's other blocks skip, because it reads what a console line wrote, runs here as a script.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^(<!--- skip: next -->\n\n)?```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def steps(page: Path) -> list[tuple[str, str]]:
    """("file", text), ("run", command) and ("script", code) in the order of the page."""
    found = []
    for skipped, language, text in BLOCK.findall(page.read_text()):
        if language == "python" and skipped:
            found.append(("script", text))
        elif language == "python" and re.match(r"# \w+\.py\n", text):
            found.append(("file", text))
        elif language == "console":
            found += [("run", line[2:]) for line in text.splitlines() if line.startswith("$ lrkit ")]
    return found


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[] if page.name == "README.md" else pytest.mark.slow)
        for page in PAGES
        if any(kind == "run" for kind, _ in steps(page))
    ],
)
def test_the_console_lines_of_a_page_run(page, tmp_path):
    for kind, text in steps(page):
        if kind == "file":
            (tmp_path / text.split()[1]).write_text(text)
            continue
        code = ["-c", text] if kind == "script" else ["-m", *shlex.split(text, comments=True)]
        command = [sys.executable, *code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, f"{page.name}: $ {text}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_the_readme_holds_all_three_ways():
    kinds = [kind for kind, _ in steps(ROOT / "README.md")]
    assert kinds.count("run") >= 2
    assert "file" in kinds
    assert "script" in kinds
