"""Trials side by side in threads of this process: for models that do not stack, and do not fill every core either.

Convolutions of small batches leave a second core half idle: two trainings, a core each, end sooner than one after the
other on both. A thread costs nothing to begin, where a process imports torch for seconds.

Threads share what a process has once: its data, which one thread at a time reads, and its random generators, so that a
task whose training draws from them in another way than torch's dropout modules is not trained like this. Whether it is
the same training, and pays, is seen before the first trial.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lrkit.errors import TaskError
from lrkit.optim.rng import RngState
from lrkit.search.methods import Method
from lrkit.search.states import States
from lrkit.search.study import Study
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result, Settings, Stop
from lrkit.training import Run, StepInfo, choose_device, search_split
from lrkit.training.population.generators import are_equal, same
from lrkit.training.population.lanes import check_loaders
from lrkit.training.seeding import unshared

__all__ = ["Lanes", "SideBySide", "measured_lanes", "settled_lanes"]

LANES = 2
"""Trials at a time: batches of a search are small, and of more trials one would often be left to wait for."""
WORTHWHILE = 1.15
"""How much faster two at a time must be: what the timing's noise decides, the next search decides otherwise."""
UNTIMED, TIMED = 2, 14
"""Updates of each Run before it is timed, and then."""
LEAST_STEPS = 30 * LANES * (UNTIMED + TIMED)
"""Updates of a search that is worth measuring for."""
DRAWN = "training has drawn random numbers, which it did not in its first updates: one trial after the other from here"
ALIKE = 1e-3
"""Relative difference between losses that rounding may make in so few updates."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many trials are trained at a time, and why, in words for the user; the seconds of an update then, where it is
    more than one.
    """

    count: int
    reason: str
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Lanes:
        """What `to_dict` gave."""
        return cls(**saved)


class SideBySide:
    """An executor (see `Executor`) that trains `lanes` trials of `trainer` at a time, in threads.

    Each has its part of torch's threads whoever is beside it, so that a trial's numbers do not depend on what is done
    already; the odd one of a batch comes last and has them all. A task that draws random numbers all the same is found
    out at the end of a trial: that trial and those beside it are then trained anew, and everything from there on, one
    after the other.
    """

    def __init__(self, trainer: Trainer, *, lanes: int) -> None:
        self._trainer = trainer
        self._lanes = lanes
        self._drawn = False
        self._given_up = threading.Event()
        self._telling = threading.Lock()

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """The results as they come; see `Executor`."""
        left = list(proposals)
        paired = [] if self._drawn else [proposal for proposal in left if not proposal.odd]
        for proposal, result in self._at_a_time(paired, states, deadline):
            left.remove(proposal)
            yield result
        yield from self._trainer.run(left, states, deadline=deadline)

    def close(self) -> None:
        """Nothing runs when `run` does not."""

    def _at_a_time(
        self, proposals: Sequence[Proposal], states: States, deadline: float
    ) -> Generator[tuple[Proposal, Result]]:
        """Proposals and their results, until all are done or something was drawn."""
        if not proposals:
            return
        self._given_up.clear()
        before = RngState.capture()
        try:
            with _divided_threads(self._lanes) as pool:
                yield from self._in_threads(pool, proposals, states, deadline, before)
        finally:
            if self._drawn:
                before.restore()

    def _in_threads(
        self,
        pool: ThreadPoolExecutor,
        proposals: Sequence[Proposal],
        states: States,
        deadline: float,
        before: RngState,
    ) -> Generator[tuple[Proposal, Result]]:
        waiting, running = deque(proposals), dict[Future[Any], Proposal]()
        share = min(self._lanes, len(proposals))  # of the time that passes while they are trained
        try:
            while True:
                while waiting and len(running) < self._lanes and time.monotonic() < deadline:
                    proposal = waiting.popleft()
                    known = states.load(proposal.key) if proposal.start else None
                    running[pool.submit(self._train, proposal, known)] = proposal
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    proposal = running.pop(future)
                    result, state = future.result()
                    with unshared():
                        self._drawn = not are_equal(before, RngState.capture())
                    if self._drawn:
                        self._trainer.reporter.note(DRAWN)
                        return
                    if state is not None:
                        states.save(proposal.key, state)
                    yield proposal, replace(result, seconds=result.seconds / share)
        finally:
            self._given_up.set()

    def _train(
        self, proposal: Proposal, known: dict[str, Any] | None
    ) -> tuple[Result, dict[str, Any] | None]:
        def on_step(info: StepInfo) -> None:
            if self._given_up.is_set():
                raise _GivenUp
            with self._telling:
                self._trainer.reporter.advance(1, loss=info.loss, lr=max(info.lr))

        return self._trainer.plain(proposal, known, on_step=on_step, in_thread=True)


class _GivenUp(Exception):
    """Ends a training whose result nobody waits for any more."""


def settled_lanes(trainer: Trainer, study: Study, method: Method, settings: Settings) -> Lanes:
    """How many plain runs at a time serve `trainer` best: measured before the first of them, and kept for good."""

    def choose() -> dict[str, Any]:
        first = method.next_trials(settings, ())
        proposals = () if isinstance(first, Stop) else first
        return measured_lanes(trainer, proposals, expected_steps=settings.budget).to_dict()

    return Lanes.from_dict(study.once("lanes", choose))


def measured_lanes(trainer: Trainer, first: Sequence[Proposal], *, expected_steps: int) -> Lanes:
    """Two lanes where two Runs at a time, on half of the threads each, take updates sooner than on all in turns.

    first: the first trials of the search, which takes `expected_steps` updates in all.
    """
    task = trainer.task
    if choose_device(trainer.device or task.device).type != "cpu":
        return Lanes(1, "the device is not the CPU")
    if torch.get_num_threads() < LANES:
        return Lanes(1, "torch has one thread")
    if len(first) < LANES:
        return Lanes(1, "trials begin one at a time")
    if expected_steps < LEAST_STEPS or trainer.plan.horizon.steps < UNTIMED + TIMED:
        return Lanes(1, "there is too little to train for measuring")
    try:
        check_loaders(task, data="search", turns=LANES)
    except TaskError:
        return Lanes(1, "the training data keep a single place")
    loader = search_split(task).train
    if isinstance(loader, DataLoader) and loader.num_workers:
        return Lanes(1, "the loader has processes of its own")
    try:
        return _timed(trainer, first[0])
    except Exception as error:  # of the user's code: alone it fails in the same words, if it fails there
        return Lanes(1, f"two at a time fail: {type(error).__name__}: {error!s:.200}")


def _timed(trainer: Trainer, proposal: Proposal) -> Lanes:
    alone, *runs = (trainer.begun(proposal) for _ in range(1 + LANES))
    in_turns = _seconds(alone, in_thread=False)
    if alone.diverged:
        return Lanes(1, "the first updates diverge")
    before = RngState.capture()
    with _divided_threads(LANES) as pool:
        together = statistics.mean(pool.map(partial(_seconds, in_thread=True), runs)) / LANES
    if not are_equal(before, RngState.capture()):
        before.restore()
        return Lanes(1, "training draws random numbers outside of torch's dropout modules")
    drawn, losses = alone.state_dict()["rng"], alone.losses
    for run in runs:
        alike = np.allclose(run.losses, losses, rtol=ALIKE, atol=0.0, equal_nan=True)
        if not (alike and same(run.state_dict()["rng"], drawn)):
            return Lanes(1, "two at a time do not train as one does")
    told = f"{in_turns * 1e3:.2g} ms an update in turns, {together * 1e3:.2g} two at a time"
    if in_turns < WORTHWHILE * together:
        return Lanes(1, told)
    return Lanes(LANES, told, together)


def _seconds(run: Run, *, in_thread: bool) -> float:
    """What an update takes, once the first are done: a quick one, for other work makes some of them slower."""
    taken: list[float] = []
    run.advance(UNTIMED + TIMED, on_step=lambda info: taken.append(info.seconds), in_thread=in_thread)
    return math.nan if run.diverged else float(np.quantile(taken[UNTIMED:], 0.25))


@contextmanager
def _divided_threads(lanes: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads, each with its part of torch's; left, this thread has all of them again."""
    threads = torch.get_num_threads()
    part = (max(1, threads // lanes),)
    try:
        with ThreadPoolExecutor(lanes, "lrkit-lane", torch.set_num_threads, part) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # some libraries that torch calls have one number for the process
