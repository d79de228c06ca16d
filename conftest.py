"""Every Python block of README.md and docs/ runs with the tests, a page's blocks one after the other in one namespace.

Each page runs in a folder of its own, so that what it writes is gone afterwards. Blocks of other languages are read by
tests/cli, which runs the `lrkit` lines among them.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# One thread, here and in every process that a test starts: an exact resume needs the same count throughout, and small
# matrix products are slower with two. Set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on each run of the same code, and no deadline: what shares the machine must not decide whether a law
# holds.
settings.register_profile("lrkit", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("lrkit")


def _enter_a_fresh_folder(namespace: dict[str, object]) -> None:
    import tempfile

    folder = tempfile.TemporaryDirectory()
    namespace["_left"] = (Path.cwd(), folder)
    os.chdir(folder.name)


def _leave_it(namespace: dict[str, object]) -> None:
    before, folder = namespace["_left"]
    os.chdir(before)
    folder.cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    setup=_enter_a_fresh_folder,
    teardown=_leave_it,
).pytest()
