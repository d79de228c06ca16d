"""A lane: what the members of one seed share. Their batches, their random numbers, their data to be measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from lrkit.errors import TaskError
from lrkit.optim.rng import RngState
from lrkit.training.batches import Batch, BatchStream, is_map_style
from lrkit.training.data import Loader, resolve_loader, search_split, training_loader
from lrkit.training.run import DataPart
from lrkit.training.seeding import derive_seed, seeded
from lrkit.training.task import Task

__all__ = ["Lane", "check_loaders", "is_shared"]


class Lane:
    """The batches and random numbers of one seed: the very ones that a `Run` of that seed draws."""

    def __init__(self, task: Task, *, seed: int, data: DataPart, accumulate: int) -> None:
        self.seed = seed
        self._task, self._accumulate = task, accumulate
        split = search_split(task, seed=seed) if data == "search" else None
        self._loader = training_loader(task, seed=seed) if split is None else split.train
        self._validation = None if split is None else split.validation
        self._stream = BatchStream(self._loader, seed=derive_seed(seed, 2))
        with seeded(derive_seed(seed, 1)):
            self._rng = RngState.capture()

    @contextmanager
    def own_rng(self) -> Iterator[None]:
        """Within, the random numbers are this lane's, and go on where they stopped."""
        outer = RngState.capture()
        self._rng.restore()
        try:
            yield
        finally:
            self._rng = RngState.capture()
            outer.restore()

    def window(self) -> list[Batch]:
        """The batches of one update, on the host."""
        return self._stream.window(self._accumulate)

    def loader(self, which: Literal["validation", "test", "train"]) -> Loader:
        """The data to measure on, as `Run.evaluate` picks them. Raises TaskError where the task has none."""
        task = self._task
        if which == "train":
            return self._loader
        if which == "test":
            if task.test is None:
                raise TaskError(f"task {task.name!r} has no test data: pass test=")
            return resolve_loader(task.test, task.seed, which="test")
        if self._validation is not None:
            return self._validation
        if task.validation is not None:
            return resolve_loader(task.validation, task.seed, which="validation")
        raise TaskError(f"task {task.name!r} trains on all of its data here: no validation data is left")

    def state_dict(self) -> dict[str, Any]:
        """Where batches and random numbers stand, as tensors and plain data."""
        return {"seed": self.seed, "stream": self._stream.state_dict(), "rng": self._rng.to_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._stream.load_state_dict(state["stream"])
        self._rng = RngState.from_dict(state["rng"])


def is_shared(task: Task) -> bool:
    """Whether all seeds read the same data: no loader is made for a seed."""
    return not any(callable(loader) for loader in (task.train, task.validation, task.final_train))


def check_loaders(task: Task, *, data: DataPart, turns: int) -> None:
    """Raises TaskError where `turns` streams would fight over one loader that keeps a single place."""
    loader = task.train if data == "search" or task.final_train is None else task.final_train
    if turns == 1 or callable(loader) or is_map_style(loader) or isinstance(loader, list | tuple):
        return
    raise TaskError(
        f"task {task.name!r}: a {type(loader).__name__} keeps one place, and {turns} streams would take turns in it: "
        "pass a map-style DataLoader, a list of batches, or a function (seed) -> loader"
    )
