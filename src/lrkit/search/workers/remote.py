"""What runs on a Ray worker: a chunk of trials as a function of bytes and plain values, so that it can be run again
wherever the first attempt died.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lrkit.errors import StudyError, TaskError
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result, TrialKey
from lrkit.search.workers.messages import portable
from lrkit.training import Task

__all__ = ["Answer", "ChunkTrainer", "Parcel", "state_from", "state_to_bytes"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A trainer for another machine: what makes its task again, and the rest of it but for the reporter."""

    kind: type[Task]
    parts: dict[str, Any]
    rest: dict[str, Any]
    threads: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chunk came to: results, each with the state from which its trial goes on, and lines for a person."""

    results: tuple[tuple[Result, bytes | None], ...]
    notes: tuple[str, ...]


class ChunkTrainer:
    """What a Ray actor is: it keeps its process, and the trainer that it was sent first, between chunks."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._notes = _Notes()

    def train(
        self, parcel: Parcel, proposals: Sequence[Proposal], states: Mapping[TrialKey, bytes]
    ) -> Answer:
        """Train `proposals`, from the states given. Raises what the user's code raises, made fit for travel."""
        from ray import cloudpickle

        kept = _BytesStates(states)
        try:
            trainer = self._opened(parcel)
            results = [(result, kept.saved.get(result.key)) for result in trainer.run(proposals, kept)]
        except SystemExit as error:  # to Ray it is the worker's own end, and a reason to try again
            raise portable(
                TaskError(f"the task's code left with SystemExit({error.code!r})"), cloudpickle
            ) from None
        except Exception as error:
            raise portable(error, cloudpickle) from None
        return Answer(tuple(results), self._notes.taken())

    def _opened(self, parcel: Parcel) -> Trainer:
        if self._trainer is None:
            torch.set_num_threads(parcel.threads)
            self._trainer = Trainer(parcel.kind(**parcel.parts), reporter=self._notes, **parcel.rest)
        return self._trainer


def state_to_bytes(state: dict[str, Any]) -> bytes:
    """A state for the object store."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def state_from(data: bytes) -> dict[str, Any]:
    """The state again: tensors and plain data, nothing that runs. Raises StudyError where it holds more."""
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise StudyError(
            f"a state of a trial that came through Ray cannot be read: {error!s:.200}"
        ) from error
    if not isinstance(state, dict):
        raise StudyError(f"a state of a trial that came through Ray is a {type(state).__name__}, not a dict")
    return state


class _BytesStates:
    """The states of a chunk, in memory: those it came with and those that it made."""

    def __init__(self, given: Mapping[TrialKey, bytes]) -> None:
        self._given = given
        self.saved: dict[TrialKey, bytes] = {}

    def load(self, key: TrialKey) -> dict[str, Any] | None:
        data = self.saved.get(key, self._given.get(key))
        return None if data is None else state_from(data)

    def save(self, key: TrialKey, state: dict[str, Any]) -> None:
        self.saved[key] = state_to_bytes(state)

    def keep_only(self, keys: frozenset[TrialKey]) -> None:
        self.saved = {key: data for key, data in self.saved.items() if key in keys}


class _Notes:
    """A reporter that keeps what is noted, and leaves progress to the results."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def taken(self) -> tuple[str, ...]:
        texts, self._texts = tuple(self._texts), []
        return texts

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, steps: int, *, loss: float, lr: float) -> None: ...

    def note(self, text: str) -> None:
        self._texts.append(text)

    def close(self) -> None: ...
