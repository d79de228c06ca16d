"""PoolExecutor: trials side by side in processes of this machine, which may die without the search noticing more
than the time it costs.

Not here: what a worker does (`child`), how the task gets there (`travel`), which proposals go together (`chunks`).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing.util import Finalize

from lrkit.errors import SpecError, TaskError
from lrkit.search.identity import same_measurement
from lrkit.search.states import States
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result
from lrkit.search.workers.chunks import name_settings, split
from lrkit.search.workers.messages import Advanced, Failed, Noted, Ready
from lrkit.search.workers.process import Worker, ended, failed_start, threads_of_each, wait_for_news
from lrkit.search.workers.travel import first_loss, pack
from lrkit.training import Reporter

__all__ = ["PoolExecutor"]

ATTEMPTS = 3
"""How often a trial is begun, without a result, before the death of its worker counts as its own doing."""


class PoolExecutor:
    """Trains with `trainer` in `workers` processes, which are kept alive between batches; see `Executor`.

    A batch is split into as many chunks of about equal cost; each is trained as `trainer` would train it here. A
    worker that dies is replaced, and what it had not answered is trained again; what takes two with it without giving
    a result is tried once more, trial by trial.

    Each worker has `cores // workers` threads of torch, this process's number at most. With as many as this process
    has, and with chunks that are trained one by one, results are those of this process bit for bit, otherwise to
    rounding.

    The workers start here and now, and end with `close`, with this process, or with whatever interrupts `run`.
    Raises TaskError where the task cannot be sent to them, SpecError for a wrong number.
    """

    def __init__(self, trainer: Trainer, *, workers: int) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise SpecError(f"workers= is a whole number of at least 1, not {workers!r}")
        self._trainer = trainer
        self._parcel = pack(trainer)
        self._count = workers
        self._threads = threads_of_each(workers)
        self._workers: list[Worker[Proposal]] = []
        self._failed_starts = 0
        self._noted: set[str] = set()
        self._first_loss: float | None = None
        # Before multiprocessing waits for its children at the end of this process, which it does at priority 0.
        Finalize(self, _end_all, args=(self._workers,), exitpriority=10)
        self._fill()

    def __enter__(self) -> PoolExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self) -> None:
        """Wait until every worker has opened the task. Raises what went wrong there; `run` would, too."""
        while not all(worker.ready for worker in self._workers):
            list(self._results())
            list(self._clear_away(deque(), {}))

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """Train the proposals side by side, with a deadline each by itself. See `Executor`.

        Raises what the user's code raises, with the worker's traceback as a note, and TaskError for a trial under
        which workers die again and again.
        """
        waiting = deque(split(proposals, self._count if deadline == math.inf else len(proposals)))
        lost: dict[Proposal, int] = {}
        self._fill()
        try:
            while waiting or any(worker.chunk for worker in self._workers):
                if time.monotonic() >= deadline:
                    waiting.clear()
                for worker in self._workers:
                    if waiting and worker.idle:
                        chunk = waiting.popleft()
                        worker.give(chunk, (chunk, states))
                yield from self._results()
                yield from self._clear_away(waiting, lost)
        finally:
            for worker in [worker for worker in self._workers if worker.chunk]:
                self._remove(worker)

    def close(self) -> None:
        """End the workers, whatever they are at."""
        _end_all(self._workers)

    def _fill(self) -> None:
        while len(self._workers) < self._count:
            # In the list before it lives: whatever interrupts this, it will be ended.
            self._workers.append(Worker(self._parcel, _open, threads=self._threads))
            self._workers[-1].start()

    def _remove(self, worker: Worker[Proposal]) -> int:
        status = worker.end()
        self._workers.remove(worker)
        return status

    def _results(self) -> Iterator[Result]:
        """Wait for news, not longer than a second, and give the results among them."""
        wait_for_news(self._workers)
        for worker in list(self._workers):
            yield from self._heard(worker)

    def _heard(self, worker: Worker[Proposal]) -> Iterator[Result]:
        for message in worker.messages():
            match message:
                case Result():
                    (answered,) = (p for p in worker.chunk if p.key == message.key)
                    worker.take(answered)
                    yield message
                case Advanced(steps, loss, lr):
                    self._trainer.reporter.advance(steps, loss=loss, lr=lr)
                case Noted(text) if text not in self._noted:
                    self._noted.add(text)
                    self._trainer.reporter.note(text)
                case Ready(loss):
                    self._require_same(loss)
                    worker.ready = True
                    self._failed_starts = 0
                case Failed(error):
                    self._remove(worker)
                    raise error

    def _clear_away(
        self, waiting: deque[tuple[Proposal, ...]], lost: dict[Proposal, int]
    ) -> Iterator[Result]:
        """Replace the workers that have died; what they had not answered waits again, ahead of the rest."""
        for worker in [worker for worker in self._workers if worker.fallen]:
            worker.kill()
            yield from self._heard(worker)
            status = self._remove(worker)
            if not worker.ready:
                self._failed_starts += 1
                if status >= 0 or self._failed_starts >= ATTEMPTS:
                    raise failed_start(status)
            if worker.chunk:
                waiting.extendleft(_again(worker.chunk, lost, status, progress=worker.answered > 0))
        self._fill()

    def _require_same(self, loss: float) -> None:
        """Raise unless the task is there what it is here: data drawn on import may not be."""
        if self._first_loss is None:
            self._first_loss = first_loss(self._trainer)
        if same_measurement(self._first_loss, loss) or not same_measurement(
            self._first_loss, first_loss(self._trainer)
        ):
            return
        raise TaskError(
            f"task {self._trainer.task.name!r} is another one in a worker process: its first loss is {loss:.6g} there "
            f"and {self._first_loss:.6g} here; seed what its file draws when it is imported (torch.manual_seed at its "
            "head), or train in this process (workers=1)"
        )


def _open(trainer: Trainer, reporter: Reporter) -> tuple[float, Callable[..., Iterable[Result]]]:
    """The life of a worker: see `Opens`. An order is a pair (proposals, states)."""
    loss = first_loss(trainer)
    here = dataclasses.replace(trainer, reporter=reporter)
    return loss, lambda order: here.run(*order)


def _again(
    chunk: tuple[Proposal, ...], lost: dict[Proposal, int], status: int, *, progress: bool
) -> list[tuple[Proposal, ...]]:
    """What to try again: the chunk, or for the last time its trials alone. Raises TaskError when that is past.

    `lost` counts the deaths since the chunk last made progress: a trial that waits behind others is not to blame.
    """
    deaths = 1 if progress else 1 + max(lost.get(proposal, 0) for proposal in chunk)
    if deaths >= ATTEMPTS:
        raise TaskError(
            f"a worker process {ended(status)} at each of {ATTEMPTS} attempts to train {name_settings(chunk)}; if "
            "memory is short, fewer workers or smaller batches need less"
        )
    lost.update(dict.fromkeys(chunk, deaths))
    return [(proposal,) for proposal in reversed(chunk)] if deaths == ATTEMPTS - 1 else [chunk]


def _end_all(workers: list[Worker[Proposal]]) -> None:
    while workers:
        workers[-1].end()
        workers.pop()
