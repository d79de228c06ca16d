"""A script under way, and whatever process it has started, known by a mark in their environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

HEAD = f"""
import sys, torch
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from search.worker_trials import proposals, trainer_of
from lrkit.search.states import FileStates
from lrkit.search.workers import PoolExecutor, RayExecutor

def train_with(make):
    torch.set_num_threads(1)
    executor = make(trainer_of("slow"))
    for result in executor.run(proposals(*(1e-3 * i for i in range(1, 200))), FileStates(Path(sys.argv[1]))):
        print(result.lr, flush=True)

"""


class Marked:
    """`script`, which may call `train_with`, run by Python in a session of its own, as a terminal would."""

    def __init__(self, folder: Path, script: str) -> None:
        file = folder / "script.py"
        file.write_text(HEAD + script)
        value = str(uuid.uuid4())
        self._mark = f"LRKIT_TEST_MARK={value}"
        fresh = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
        self.process = subprocess.Popen(
            [sys.executable, str(file), str(folder / "trials")],
            env=fresh | {"LRKIT_TEST_MARK": value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def alive(self) -> list[str]:
        """The command lines of those that live."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                        found.append((folder / "cmdline").read_text().replace("\0", " "))
                except OSError:
                    continue
        return found

    def all_gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        assert self.all_gone_within(60)
