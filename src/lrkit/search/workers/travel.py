"""How a trainer reaches another process of this machine: what it is made of goes by name or by pickle.

A task that `load_task` gave is loaded there once more; the parts of it that were replaced since, and every other
task, go by pickle, which sends functions and classes by name. What has no name that another process can import (a
lambda, a function within a function, whatever a notebook defines) is told here, before anything is trained.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrkit.errors import TaskError
from lrkit.search.trainer import SharedGraphs, Trainer
from lrkit.training import SILENT, Run, Task, load_task

__all__ = ["first_loss", "pack", "require_travel", "task_parts"]

_REMEDY = (
    "Give the task by name (file.py:task), define that part at the top level of a module, or train in this process "
    "(workers=1); Ray sends such parts by value"
)


def pack(trainer: Trainer) -> bytes:
    """`trainer` without its reporter and its graphs, for `send_bytes` on a pipe, at whose other end `recv` gives it.

    Raises TaskError naming the part that cannot travel; `recv` raises what importing the task raises there.
    """
    try:
        return _packed(dataclasses.replace(trainer, reporter=SILENT, graphs=SharedGraphs()))
    except _CANNOT as error:
        raise TaskError(_told(trainer.task, error)) from error


def require_travel(trainer: Trainer) -> None:
    """Raise TaskError where `pack` would: before a search spends time on what it cannot send afterwards."""
    pack(trainer)


def first_loss(trainer: Trainer) -> float:
    """The loss of the first update: other weights, data or random numbers make it another one."""
    run = Run(trainer.task, trainer.plan, seed=trainer.seed, data="search", device=trainer.device)
    run.advance(1)
    return run.losses[0] if run.losses else math.nan


def task_parts(task: Task) -> dict[str, Any]:
    """The arguments that make `task` again, its source apart."""
    parts = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    del parts["source"]
    return parts | {"metrics": dict(task.metrics)}


_CANNOT = (pickle.PicklingError, AttributeError, TypeError, RuntimeError, NotImplementedError, RecursionError)
"""What pickle, and the `__reduce__` of loaders and tensors, raise for what cannot be pickled."""


class _Packer(pickle.Pickler):
    """Pickle, but tasks go by their source as far as they can, and nothing goes that only seems to be importable."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Task):
            return _made_again, _recipe(obj)
        if (
            isinstance(obj, types.FunctionType | type)
            and obj.__module__ == "__main__"
            and not _main_is_imported_there()
        ):
            raise pickle.PicklingError(f"{obj.__qualname__} is defined in no module that could be imported")
        return NotImplemented


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _recipe(task: Task) -> tuple[type[Task], str | None, str | None, dict[str, Any]]:
    """The arguments of `_made_again` for `task`."""
    parts = task_parts(task)
    if task.source is None:
        return type(task), None, None, parts
    loaded = task_parts(task.source.task)
    changed = {name: part for name, part in parts.items() if not _is_same(part, loaded[name])}
    return type(task), task.source.name, task.source.data, changed


def _is_same(part: Any, loaded: Any) -> bool:
    if isinstance(part, Mapping) and isinstance(loaded, Mapping):
        return list(part) == list(loaded) and all(part[name] is loaded[name] for name in part)
    return part is loaded


def _made_again(kind: type[Task], name: str | None, data: str | None, changed: dict[str, Any]) -> Task:
    if name is None:
        return kind(**changed)
    return dataclasses.replace(load_task(name, data=data), **changed)


def _main_is_imported_there() -> bool:
    """Whether a spawned process imports the script that this one runs, as `multiprocessing` does where it can."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return not spec.name.endswith("__main__")
    file = getattr(main, "__file__", None)
    return file is not None and Path(file).is_file()


def _told(task: Task, error: Exception) -> str:
    """Which part it was: each is tried alone."""
    _, _, _, changed = _recipe(task)
    metrics = changed.pop("metrics", {})
    parts = {f"{name}=": part for name, part in changed.items()}
    parts |= {f"the metric {name!r}": part for name, part in metrics.items()}
    for name, part in parts.items():
        try:
            _packed(part)
        except _CANNOT as reason:
            return f"task {task.name!r}: {name} cannot be sent to a worker process ({reason}). {_REMEDY}"
    return f"task {task.name!r} cannot be sent to a worker process ({error}). {_REMEDY}"
