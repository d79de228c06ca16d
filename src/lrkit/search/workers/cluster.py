"""RayExecutor: trials on a Ray of this machine or on a cluster; settings go out, numbers and states come back.

Not here: what runs on the other side (`remote`), which proposals go together (`chunks`).
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import torch

from lrkit.errors import MissingExtra, SpecError, TaskError
from lrkit.search.states import States
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result, TrialKey
from lrkit.search.workers.chunks import name_settings, split
from lrkit.search.workers.remote import Answer, ChunkTrainer, Parcel, state_from, state_to_bytes
from lrkit.search.workers.travel import task_parts
from lrkit.training import usable_cores

__all__ = ["RayExecutor"]

RETRIES = 3
"""How often Ray runs a chunk again whose worker died, before that counts as the chunk's own doing."""
_SECONDS_TO_ANSWER = 10.0
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class RayExecutor:
    """Trains with `trainer` on Ray; see `Executor`.

    address: None starts a Ray on this machine, on loopback alone, and `close` ends it. Otherwise a cluster's, as
        `ray.init` takes it: "auto" on a machine of it, or "host:6379". A Ray to which this process is already connected
        is used in either case, and left running.
    cpus: the cores that Ray sets aside for a chunk of trials, and its threads of torch.

    A batch is split into as many chunks as find room at once; each is one piece of work, trained as `trainer` would
    train it here, with a GPU of its own where the task's device is CUDA. Ray runs a chunk again, three times at
    most, when its worker or machine dies. The task goes by value, with all its data: lambdas and what a notebook
    defines too. Modules that it imports must be importable on every machine.

    Raises MissingExtra without ray, SpecError for what cannot be, TaskError for a task that cannot be sent and for a
    cluster that is not there.
    """

    def __init__(self, trainer: Trainer, address: str | None = None, *, cpus: int = 1) -> None:
        if isinstance(cpus, bool) or not isinstance(cpus, int) or cpus < 1:
            raise SpecError(f"cpus= is a whole number of at least 1, not {cpus!r}")
        self._trainer = trainer
        self._cpus = cpus
        self._gpus = int(_device_type(trainer) == "cuda")
        self._noted: set[str] = set()
        self._actors: list[Any] = []
        self._before = signal.getsignal(signal.SIGTERM)
        self._ray, self._ours = _connect(address)
        try:
            self._slots()
            self._parcel = self._put_parcel()
        except BaseException:
            self.close()
            raise
        # Actors, not tasks: Ray 2.60 aborts the driver where a task ends by itself while it is being cancelled.
        self._hire = self._ray.remote(
            num_cpus=cpus, num_gpus=self._gpus, max_restarts=-1, max_task_retries=RETRIES
        )(ChunkTrainer).remote

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """Train the proposals on Ray; results come chunk by chunk, with a deadline trial by trial. See `Executor`.

        Raises what the user's code raises, with the worker's traceback as a note, and TaskError for a chunk under
        which workers die again and again.
        """
        room = self._slots()
        waiting = deque(split(proposals, room if deadline == math.inf else len(proposals)))
        pending: dict[Any, tuple[tuple[Proposal, ...], Any]] = {}
        idle = list(self._actors)
        try:
            while True:
                if time.monotonic() >= deadline:
                    waiting.clear()
                while waiting and len(pending) < room:
                    chunk, actor = waiting.popleft(), idle.pop() if idle else self._hired()
                    pending[actor.train.remote(self._parcel, chunk, _packed(chunk, states))] = chunk, actor
                if not pending:
                    return
                (done,), _ = self._ray.wait(list(pending), num_returns=1)
                answer = self._answer(done, pending[done][0])
                idle.append(pending.pop(done)[1])
                self._note(answer.notes)
                for result, state in answer.results:
                    if state is not None:
                        states.save(result.key, state_from(state))
                    self._trainer.reporter.advance(result.cost, loss=result.objective, lr=result.lr)
                    yield result
        finally:
            for _, actor in pending.values():
                self._ray.kill(actor)
                self._actors.remove(actor)

    def close(self) -> None:
        """End the workers, and a Ray that was started here; another one is left running."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors.clear()
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()
            with suppress(ValueError, TypeError):  # not in the main thread, or not set from Python
                signal.signal(signal.SIGTERM, self._before)

    def _hired(self) -> Any:
        self._actors.append(self._hire())
        return self._actors[-1]

    def _answer(self, reference: Any, chunk: tuple[Proposal, ...]) -> Answer:
        errors = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(reference)
        except errors.RayTaskError as error:
            raise getattr(error, "cause", None) or error from None
        except errors.RayError as error:
            raise TaskError(
                f"Ray gave up on {name_settings(chunk)} after {RETRIES + 1} attempts: {_first_line(error)}; if memory "
                "is short, fewer workers or smaller batches need less"
            ) from error
        return answer

    def _note(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text not in self._noted:
                self._noted.add(text)
                self._trainer.reporter.note(text)

    def _slots(self) -> int:
        """How many chunks find room at once. Raises TaskError where not even one would."""
        there = self._ray.cluster_resources()
        room = int(there.get("CPU", 0)) // self._cpus
        if self._gpus:
            room = min(room, int(there.get("GPU", 0)))
        if room < 1:
            raise TaskError(
                f"Ray has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, and a chunk of trials needs "
                f"{self._cpus} and {self._gpus}: choose another cluster or device"
            )
        return room

    def _put_parcel(self) -> Any:
        trainer = self._trainer
        rest = {part.name: getattr(trainer, part.name) for part in dataclasses.fields(trainer)}
        del rest["task"], rest["reporter"], rest["graphs"]
        if self._gpus:
            rest["device"] = "cuda"  # Ray shows each chunk its own GPU as the only one
        parcel = Parcel(type(trainer.task), task_parts(trainer.task), rest, self._cpus)
        # Files given as file.py:task are imported under such a name, which no other machine knows.
        files = [module for name, module in list(sys.modules.items()) if name.startswith("lrkit_task_")]
        for module in files:
            self._ray.cloudpickle.register_pickle_by_value(module)
        try:
            return self._ray.put(parcel)
        except (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
            raise TaskError(
                f"task {trainer.task.name!r} cannot be sent by Ray: {_first_line(error)}"
            ) from error
        finally:
            for module in files:
                self._ray.cloudpickle.unregister_pickle_by_value(module)


def _connect(address: str | None) -> tuple[Any, bool]:
    """ray, connected, and whether it was this call that did it."""
    known = sys.modules.get("ray")
    if known is not None and known.is_initialized():
        return known, False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        if known is not None and os.environ.get(_LOOPBACK) != "0":
            raise SpecError(
                f"ray was imported before it could be kept to this machine: set {_LOOPBACK}=0 before `import ray`, or "
                "call ray.init() yourself, which listens on all interfaces"
            )
        os.environ[_LOOPBACK] = "0"
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray", "training on Ray") from error
    if address is not None:
        _require_listener(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init("local", num_cpus=usable_cores(), include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise TaskError(f"no Ray at {address or 'this machine'}: {_first_line(error)}") from error
    return ray, True


def _require_listener(address: str) -> None:
    """Ray tries for minutes to reach a machine where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise TaskError(f"no Ray at {address}: {error.strerror or error}") from error


def _packed(chunk: tuple[Proposal, ...], states: States) -> dict[TrialKey, bytes]:
    """The states from which trials of the chunk go on."""
    known = {proposal.key: states.load(proposal.key) for proposal in chunk if proposal.start}
    return {key: state_to_bytes(state) for key, state in known.items() if state is not None}


def _device_type(trainer: Trainer) -> str:
    """The kind of device that the task is to be trained on, which this machine need not have."""
    name = trainer.device or trainer.task.device
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name.partition(":")[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
