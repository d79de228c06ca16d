"""Trials two at a time in threads of this process: for models that do not stack, and do not fill every core either.

Convolutions of small batches leave a second core half idle: two trainings, half of the cores each, end sooner than one
after the other on all. A thread costs nothing to begin, where a process imports torch for seconds.

Threads share what a process has once: its data, which one thread at a time reads, and its random generators, so that a
task whose training draws from them in another way than torch's dropout is not trained like this. Whether it is
the same training, and pays, is seen before the first trial.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
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
from lrkit.training.seeding import seeded, unshared

__all__ = [
    "Pairing",
    "SideBySide",
    "begun_in_order",
    "fused",
    "measured_pairing",
    "pace",
    "settled_pairing",
    "weighed",
]

WORTHWHILE = 1.15
"""How much faster two at a time must be: what the timing's noise decides, the next search decides otherwise."""
UNTIMED, TIMED = 2, 14
"""Updates of each Run before it is timed, and then."""
LEAST_STEPS = 60 * (UNTIMED + TIMED)
"""Updates of a search that is worth measuring for."""
ALIKE = 1e-3
"""Relative difference between losses that rounding may make in so few updates."""
STRETCH = 4
"""Updates in the stretches that are timed."""
TOLD_EVERY = 0.1
"""Seconds between news to the reporter."""
THREADS = "lrkit-pair"
SETTERS: dict[Any, tuple[str, ...]] = {
    torch: ("set_rng_state", "manual_seed", "seed"),
    torch.random: ("set_rng_state", "manual_seed", "seed"),
    np.random: ("set_state", "seed"),
    random: ("setstate", "seed"),
}
"""What sets a generator of the process."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Whether trials are trained two at a time, and why, in words for the user; the seconds of an update then."""

    pays: bool
    reason: str
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Pairing:
        """What `to_dict` gave."""
        return cls(**saved)


class SideBySide:
    """An executor (see `Executor`) that trains trials of `trainer` two at a time, in threads.

    Each has half of torch's threads, also when nobody is beside it, so that its numbers do not depend on what is done
    already; the only one of a batch has them all. Of an odd number, one is begun first and ended last, in turns with
    the others: both threads are at work to the end. A trial that draws random numbers all the same, or fails, is
    trained again without threads, and so is everything from there on: `given_up` is true then.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.given_up = False
        self._trainer = trainer
        self._news: SimpleQueue[tuple[float, float]] = SimpleQueue()

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """The results as they come; see `Executor`."""
        left = list(proposals)
        if not self.given_up:
            paired = [proposal for proposal in left if not proposal.alone]
            with closing(self._in_pairs(paired, states, deadline)) as found:
                for proposal, result in found:
                    left.remove(proposal)
                    yield result
        yield from self._trainer.run(left, states, deadline=deadline)

    def close(self) -> None:
        """Nothing runs when `run` does not."""

    def _in_pairs(
        self, proposals: Sequence[Proposal], states: States, deadline: float
    ) -> Generator[tuple[Proposal, Result]]:
        """Proposals and their results, until all are done or it is given up."""
        if not proposals:
            return
        waiting, running = deque(begun_in_order(proposals)), dict[Future[Any], _Trial]()
        share = min(2, len(proposals))  # of the time that passes while they are trained
        before = RngState.capture()
        with ExitStack() as stack:
            stack.callback(before.restore)
            reseeded = stack.enter_context(_reseeding())
            pool, abandoned = stack.enter_context(_halved_threads())
            while True:
                if time.monotonic() >= deadline:
                    waiting = deque(trial for trial in waiting if trial.run is not None)
                while waiting and len(running) < 2:
                    trial = waiting.popleft()
                    goes_on = trial.run is None and trial.proposal.start > 0
                    known = states.load(trial.proposal.key) if goes_on else None
                    running[pool.submit(self._train, trial, known, abandoned)] = trial
                if not running:
                    return
                done = wait(running, timeout=TOLD_EVERY, return_when=FIRST_COMPLETED).done
                self._tell()
                for future in done:
                    trial = running.pop(future)
                    error = future.exception()
                    if isinstance(error, Exception):
                        self._give_up(f"training failed in a thread ({type(error).__name__}: {error!s:.200})")
                        return
                    if reseeded or _have_moved(before):
                        self._give_up("training has drawn random numbers that threads share")
                        return
                    if (ended := future.result()) is None:
                        waiting.append(trial)
                        continue
                    result, state = ended
                    if state is not None:
                        states.save(trial.proposal.key, state)
                    yield trial.proposal, replace(result, seconds=result.seconds / share)

    def _train(
        self, trial: _Trial, known: dict[str, Any] | None, abandoned: threading.Event
    ) -> tuple[Result, dict[str, Any] | None] | None:
        """Train it to its end, or up to the break that it has, None then."""

        def on_step(info: StepInfo) -> None:
            if abandoned.is_set():
                raise _Abandoned
            self._news.put((info.loss, max(info.lr)))

        started = time.perf_counter()
        if trial.run is None:
            trial.run = self._trainer.begun(trial.proposal, known)
        stop = trial.stops.popleft()
        self._trainer.advance(trial.run, stop, on_step=on_step, in_thread=True)
        trial.seconds += time.perf_counter() - started
        if trial.stops and not trial.run.diverged:
            return None
        return self._trainer.measured(trial.proposal, trial.run, seconds=trial.seconds)

    def _tell(self) -> None:
        """Tell the reporter what the threads have done: it may be no affair of theirs, a widget for one."""
        updates = 0
        while True:
            try:
                loss, lr = self._news.get_nowait()
            except Empty:
                break
            updates += 1
        if updates:
            self._trainer.reporter.advance(updates, loss=loss, lr=lr)

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        self._trainer.reporter.note(
            f"{reason}, which its first updates did not show: from here one trial at a time"
        )


@dataclass(slots=True)
class _Trial:
    """A proposal that threads train: where they leave it, its end last, and how far it is."""

    proposal: Proposal
    stops: deque[int]
    run: Run | None = None
    seconds: float = 0.0


def begun_in_order(proposals: Sequence[Proposal]) -> list[_Trial]:
    """The trials in the order in which two threads begin them, which keeps both at work: the last of an odd number
    comes first, half of it, and goes on after the others.

    McNaughton's rule for machines that may leave a job for later (Management Science 6, 1959).
    """
    trials = [_Trial(proposal, deque([proposal.stop])) for proposal in proposals]
    if len(trials) < 2 or len(trials) % 2 == 0:
        return trials
    *others, last = trials
    last.stops.appendleft((last.proposal.start + last.proposal.stop) // 2)
    return [last, *others]


class _Abandoned(Exception):
    """Ends a training whose result nobody waits for any more."""


def fused(trainer: Trainer) -> Trainer:
    """`trainer` as trials in pairs have it: with other last bits for half of the threads already, updates may be fused,
    which leaves more of the time to what runs beside them.
    """
    return replace(trainer, fused=True)


def settled_pairing(trainer: Trainer, study: Study, method: Method, settings: Settings) -> Pairing:
    """Whether plain runs in pairs serve `trainer` better: measured before the first of them, and kept for good.

    What stands against it in this process, be it one thread, is asked at each start.
    """

    def choose() -> dict[str, Any]:
        first = method.next_trials(settings, ())
        proposals = () if isinstance(first, Stop) else first
        return measured_pairing(trainer, proposals, expected_steps=settings.budget).to_dict()

    known = Pairing.from_dict(study.once("pairs", choose))
    obstacle = _obstacle(trainer) if known.pays else None
    return known if obstacle is None else Pairing(False, obstacle)


def measured_pairing(trainer: Trainer, first: Sequence[Proposal], *, expected_steps: int) -> Pairing:
    """Whether two Runs at a time, on half of the threads each and with fused updates, take updates sooner than plain
    ones in turns on all of them.

    first: the first trials of the search, which takes `expected_steps` updates in all.
    """
    if (obstacle := _obstacle(trainer)) is not None:
        return Pairing(False, obstacle)
    if len(first) < 2:
        return Pairing(False, "trials begin one at a time")
    if expected_steps < LEAST_STEPS or trainer.plan.horizon.steps < UNTIMED + TIMED:
        return Pairing(False, "there is too little to train for measuring")
    before = RngState.capture()
    try:
        return _timed(trainer, first[0], before)
    except Exception as error:  # of the user's code: alone it fails in the same words, if it fails there
        return Pairing(False, f"two at a time fail: {type(error).__name__}: {error!s:.200}")
    finally:
        before.restore()


def weighed(in_turns: float, together: float) -> Pairing:
    """What follows from the seconds of an update of one Run on all threads, and of two at a time on half of them."""
    told = f"{in_turns * 1e3:.2g} ms an update in turns, {together * 1e3:.2g} two at a time"
    return Pairing(True, told, together) if in_turns >= WORTHWHILE * together else Pairing(False, told)


def _obstacle(trainer: Trainer) -> str | None:
    """Why trials cannot be trained in threads here, whatever it would save."""
    task = trainer.task
    if choose_device(trainer.device or task.device).type != "cpu":
        return "the device is not the CPU"
    if torch.get_num_threads() < 2:
        return "torch has one thread"
    if trainer.plan.control:
        return "feedback validates while it trains, one thread at a time"
    try:
        check_loaders(task, data="search", turns=2)
    except TaskError:
        return "the training data keep a single place"
    with seeded(task.seed):  # a factory of loaders may draw
        split = search_split(task)
    if any(
        isinstance(loader, DataLoader) and loader.num_workers for loader in (split.train, split.validation)
    ):
        return "a loader has processes of its own"
    return None


def _timed(trainer: Trainer, proposal: Proposal, before: RngState) -> Pairing:
    alone, *pair = (training.begun(proposal) for training in (trainer, fused(trainer), fused(trainer)))
    in_turns = _updated_at(alone)
    if alone.diverged:
        return Pairing(False, "the first updates diverge")
    with _reseeding() as reseeded, _halved_threads() as (pool, abandoned):
        meeting = threading.Barrier(2)
        one, two = pool.map(lambda run: _updated_at(run, meeting=meeting, abandoned=abandoned), pair)
    if reseeded or _have_moved(before):
        return Pairing(False, "training draws random numbers outside of torch's dropout")
    drawn, losses = alone.state_dict()["rng"], alone.losses
    for run in pair:
        alike = np.allclose(run.losses, losses, rtol=ALIKE, atol=0.0, equal_nan=True)
        if not (alike and same(run.state_dict()["rng"], drawn)):
            return Pairing(False, "two at a time do not train as one does")
    shared = max(one[0], two[0]), min(one[-1], two[-1])
    return weighed(pace(in_turns), pace(sorted(at for at in one + two if shared[0] <= at <= shared[1])))


def pace(times: Sequence[float]) -> float:
    """The usual seconds from one of these moments to the next, by stretches of four: other work disturbs some of them,
    and threads that wait for each other come by turns, the one soon after the other.
    """
    stretches = [later - earlier for earlier, later in zip(times, times[STRETCH:], strict=False)]
    return statistics.median(stretches) / STRETCH if stretches else math.nan


def _updated_at(
    run: Run, *, meeting: threading.Barrier | None = None, abandoned: threading.Event | None = None
) -> list[float]:
    """When each update was done, but for the first; `meeting` is where a thread waits for the other one."""
    moments: list[float] = []

    def on_step(info: StepInfo) -> None:
        del info
        moments.append(time.perf_counter())
        if abandoned is not None and abandoned.is_set():
            raise _Abandoned

    if meeting is not None:
        meeting.wait(timeout=60.0)
    run.advance(UNTIMED + TIMED, on_step=on_step, in_thread=meeting is not None)
    return moments[UNTIMED:]


def _have_moved(before: RngState) -> bool:
    """Whether the process's generators stand elsewhere than `before`, for which no thread may be using them."""
    with unshared():
        return not are_equal(before, RngState.capture())


@contextmanager
def _reseeding() -> Iterator[list[str]]:
    """The functions that set the process's generators, as far as the pair's threads call them within, as checkpointed
    layers do: no trace of it is left but for what others have drawn meanwhile. lrkit's own calls are not shared.
    """
    called: list[str] = []

    def noticed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            if threading.current_thread().name.startswith(THREADS) and not unshared().mine:
                called.append(name)
            return function(*args, **named)

        return call

    found = [(module, name, getattr(module, name)) for module, names in SETTERS.items() for name in names]
    try:
        for module, name, function in found:
            setattr(module, name, noticed(name, function))
        yield called
    finally:
        for module, name, function in found:
            setattr(module, name, function)


@contextmanager
def _halved_threads() -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Two threads with half of torch's threads each, and what tells them that nobody waits for them any more; left,
    this one has all of torch's again.
    """
    threads, abandoned = torch.get_num_threads(), threading.Event()
    try:
        with ThreadPoolExecutor(2, THREADS, torch.set_num_threads, (max(1, threads // 2),)) as pool:
            try:
                yield pool, abandoned
            finally:
                abandoned.set()
    finally:
        torch.set_num_threads(threads)  # some libraries that torch calls have one number for the process
