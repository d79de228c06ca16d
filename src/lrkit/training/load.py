"""From a word on the command line to a task: a built-in name, or `path/to/file.py:name`."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lrkit.errors import LrkitError, TaskError, did_you_mean
from lrkit.training.builtin import BUILTIN_TASKS, NEEDS_DATA
from lrkit.training.task import Task, TaskSource

__all__ = ["load_task"]

_Result = TypeVar("_Result")


def load_task(name: str, *, data: str | Path | None = None) -> Task:
    """The built-in task of that name (`data` is the folder or file it reads), or the task in a user's Python file.

    `file.py:thing` may be a Task or a function without arguments that returns one. Raises TaskError in one line for an
    unknown name, a missing file or attribute, and for whatever the file itself raises, with file and line.
    The task's `source` says where it came from, so that another process can load it again.
    """
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        task, name, place = _from_file(Path(path), attribute), f"{Path(path).resolve()}:{attribute}", None
    else:
        task, place = _builtin(name, data), None if data is None else str(Path(data).resolve())
    return dataclasses.replace(task, source=TaskSource(name, place, task))


def _builtin(name: str, data: str | Path | None) -> Task:
    if name.endswith(".py"):
        raise TaskError(f"{name!r} names a file but no task in it: write {name}:task")
    if name not in BUILTIN_TASKS:
        raise TaskError(
            f"unknown task {name!r} (your own is path/to/file.py:task){did_you_mean(name, BUILTIN_TASKS)}"
        )
    if name not in NEEDS_DATA:
        if data is not None:
            raise TaskError(f"task {name!r} brings its own data: leave --data out")
        return BUILTIN_TASKS[name]()
    if data is None:
        raise TaskError(f"task {name!r} needs {NEEDS_DATA[name]}: pass --data FOLDER (data= in Python)")
    return BUILTIN_TASKS[name](Path(data))


def _from_file(path: Path, attribute: str) -> Task:
    if not path.is_file():
        raise TaskError(f"no such task file: {path}")
    module_name = f"lrkit_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Registered so that classes in the file can be found again by data-loading workers; its folder, so that it can
    # import its neighbours, as a script can.
    sys.modules[module_name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    _run_users_code(path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]  # checked above
    if not hasattr(module, attribute):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise TaskError(f"{path} has no {attribute!r}{did_you_mean(attribute, public)}")
    task = getattr(module, attribute)
    if not isinstance(task, Task) and callable(task):
        task = _run_users_code(path, task)
    if not isinstance(task, Task):
        raise TaskError(
            f"{path}:{attribute} is a {type(task).__name__}, not an lrkit.Task or a function that returns one"
        )
    return task


def _run_users_code(path: Path, call: Callable[[], _Result]) -> _Result:
    try:
        return call()
    except LrkitError as error:
        raise TaskError(f"{_where(path, error)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{_where(path, error)}: {type(error).__name__}: {error}") from error


def _where(path: Path, error: BaseException) -> str:
    """The file, and the deepest line of it that was running."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{error.filename or path}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == path.resolve() and f.lineno]
    return f"{path}, line {lines[-1]}" if lines else str(path)
