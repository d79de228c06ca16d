"""Searches in processes of their own, which share one study: batches of trials that cost a nap, under a method whose
later batches depend on the results of the earlier ones.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

from lrkit.search import Proposal, Result, Settings, Stop
from lrkit.search.driver import drive
from lrkit.search.shared_study import SharedStudy
from lrkit.search.states import FileStates
from lrkit.search.trials import round_rate

__all__ = ["Batches", "Napping", "search", "start"]

_LATE = (
    "optuna.storages._rdb.models",
    "alembic.command",
    "alembic.migration",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)
SETTINGS = {"task": "nap", "steps": 30}
SEARCH = Settings(steps=30, budget=10_000, low=1e-4, high=1e-1)


@dataclass(frozen=True)
class Batches:
    """`count` batches of `size` rates, each batch around the best rate of those before; at a third of full length,
    but the last one.
    """

    count: int
    size: int

    def next_trials(self, settings, results):
        done = {(result.lr, result.seed) for result in results}
        centre = -2.5
        for number in range(self.count):
            rates = [
                round_rate(10 ** (centre + (i - self.size / 2) / 3**number / 2)) for i in range(self.size)
            ]
            stop = settings.steps if number == self.count - 1 else settings.steps // 3
            batch = [Proposal(lr, number, 0, stop) for lr in rates]
            rest = tuple(p for p in batch if (p.lr, p.seed) not in done)
            if rest:
                return rest
            own = [result for result in results if result.seed == number and not result.diverged]
            centre = math.log10(min(own, key=lambda result: (result.objective, result.lr)).lr)
        return Stop("all batches are done")

    def resumable(self, settings, results):
        return frozenset()


@dataclass(frozen=True)
class Napping:
    """Trains by sleeping for `seconds`; writes down in `log` what it trained. The highest rates diverge."""

    log: Path
    seconds: float

    def run(self, proposals, states, *, deadline=math.inf):
        for proposal in proposals:
            time.sleep(self.seconds)
            with self.log.open("a") as log:
                log.write(f"{proposal.lr} {proposal.seed} {os.getpid()}\n")
            yield outcome(proposal)

    def range_test(self):
        """What comes before the first claim takes long enough for others to join."""
        time.sleep(2.0)
        return {"bracket": [1e-4, 1e-1]}

    def close(self):
        pass


def outcome(proposal):
    """What a trial comes to, whoever trains it and when."""
    diverged = proposal.lr > 0.05
    value = math.nan if diverged else (math.log10(proposal.lr) + 2.2) ** 2 + 1 / proposal.stop
    steps = proposal.stop // 2 if diverged else proposal.stop
    metrics = () if diverged else (("loss", value),)
    return Result(proposal.lr, proposal.seed, steps, value, diverged, steps, 0.0, metrics, proposal.values)


def search(url, name, folder, method, seconds, grace):
    """One driver, from opening the study to the method's stop. Its log is named after its process."""
    executor = Napping(folder / f"{os.getpid()}.log", seconds)
    with SharedStudy(url, name, SETTINGS, steps=SEARCH.steps, grace=grace) as study:
        study.once("range test", executor.range_test)
        drive(method, SEARCH, study, FileStates(folder / "trials"), executor)


def start(*arguments):
    """A driver in a process of its own, which has torch imported already."""
    context = multiprocessing.get_context("forkserver")
    # Names that need no path of the tests'.
    context.set_forkserver_preload(["lrkit.search.driver", "optuna.storages", *_LATE])
    process = context.Process(target=search, args=arguments)
    process.start()
    return process
