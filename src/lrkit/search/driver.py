"""The driver: ask the method, claim, train, keep; until the method says stop. Knows nothing of what trains."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Protocol

from lrkit.search.loss_curves import LossCurves
from lrkit.search.methods import Method
from lrkit.search.states import States
from lrkit.search.study import Study
from lrkit.search.trials import Proposal, Result, Settings, Stop
from lrkit.training.progress import SILENT, Reporter

__all__ = ["Executor", "drive"]

_FEWEST_RESULTS = 3


class Executor(Protocol):
    """What trains: in this process, in others, on other machines, or by a command."""

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """The results of these proposals, in the order in which they are done; closing it gives up the rest.

        After the `deadline`, in seconds of `time.monotonic`, no further one is begun; what has begun goes on to its
        end. A result is given when the state of its trial is saved. A lost state is no error: its trial is trained
        anew from its first update.
        """

    def close(self) -> None:
        """End whatever still runs."""


def drive(
    method: Method,
    settings: Settings,
    study: Study,
    states: States,
    executor: Executor,
    *,
    deadline: float = math.inf,
    reporter: Reporter = SILENT,
    curves: LossCurves | None = None,
) -> Stop:
    """Search until the method stops, and say why it did.

    Each result is in the study before the next one is awaited. After the `deadline`, in seconds of
    `time.monotonic`, nothing further is begun, once there are three results. `curves` keeps the training losses.
    """
    results = study.results()
    states.keep_only(method.resumable(settings, results))
    reporter.stage("search", settings.budget)
    while True:
        proposals = method.next_trials(settings, results)
        if isinstance(proposals, Stop):
            states.keep_only(frozenset())
            return proposals
        if len(results) >= _FEWEST_RESULTS and time.monotonic() >= deadline:
            return Stop("the time given by seconds= is up", "time")
        missing = _FEWEST_RESULTS - len(results)
        hurried = deadline < math.inf and missing > 0
        claimed = study.claim(proposals[:missing] if hurried else proposals)
        if not claimed:
            study.wait()
            results = study.results()
            continue
        with closing(executor.run(claimed, states, deadline=math.inf if hurried else deadline)) as running:
            for result in running:
                study.add(result)
                if curves is not None and result.losses:
                    curves.append(result.key, result.begun, result.losses)
        results = study.results()
        states.keep_only(method.resumable(settings, results))
