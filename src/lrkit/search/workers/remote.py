"""What runs on a Ray worker: a chunk of trials as a pure function of bytes and plain values, so that it can be run
again wherever the first attempt died.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lrkit.errors import StudyError, TaskError
from lrkit.search.trainer import Trainer
from lrkit.search.trials import Proposal, Result, TrialKey
from lrkit.search.workers.messages import portable
from lrkit.training import Task

__all__ = ["Answer", "Parcel", "state_from", "state_to_bytes", "train_chunk"]


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


def train_chunk(parcel: Parcel, proposals: Sequence[Proposal], states: Mapping[TrialKey, bytes]) -> Answer:
    """Train `proposals`, from the states that are given. Raises what the user's code raises, made fit for travel."""
    from ray import cloudpickle

    torch.set_num_threads(parcel.threads)
    kept = _BytesStates(states)
    notes = _Notes()
    try:
        trainer = Trainer(parcel.kind(**parcel.parts), reporter=notes, **parcel.rest)
        results = tuple((result, kept.saved.get(result.key)) for result in trainer.run(proposals, kept))
    except SystemExit as error:  # to Ray it is the worker's own end, and a reason to try again
        raise portable(
            TaskError(f"the task's code left with SystemExit({error.code!r})"), cloudpickle
        ) from None
    except Exception as error:
        raise portable(error, cloudpickle) from None
    return Answer(results, tuple(notes.texts))


def state_to_bytes(state: dict[str, Any]) -> bytes:
    """A state for the object store."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def state_from(data: bytes) -> dict[str, Any]:
    """The state again: tensors and plain data, nothing that runs. Raises StudyError where it holds more."""
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise StudyError(f"a Ray worker sent a {type(state).__name__} in place of a trial's state")
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
        self.texts: list[str] = []

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, steps: int, *, loss: float, lr: float) -> None: ...

    def note(self, text: str) -> None:
        self.texts.append(text)

    def close(self) -> None: ...
