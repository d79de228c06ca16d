"""`report.json`: the answer of a search or a tuning with all its figures, as plain data in one shape."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lrkit
from lrkit.errors import StudyError
from lrkit.files import atomic_write, json_text
from lrkit.plan import Plan
from lrkit.search import Search
from lrkit.search.methods.registry import chosen_method
from lrkit.search.space import read_space

__all__ = ["answer_data", "asked_settings", "versions", "write_report"]


def answer_data(
    search: Search, plan: Plan, *, unscaled_groups: Sequence[str], out: Path | None
) -> dict[str, Any]:
    """The answer of a search, how sure it is and what it cost: what the reports of a search and a tuning share."""
    return {
        "lr": search.lr,
        "interval": list(search.interval),
        "open_ends": list(search.open_ends),
        "good": list(search.good),
        "values": dict(search.values),
        "status": search.status,
        "reason": search.reason,
        "ended_by": search.ended_by,
        "schedule": str(plan.schedule),
        "control": list(plan.control),
        "optimizer": plan.optimizer.name,
        "trials": len(search.trials),
        "member_steps": search.member_steps,
        "grid_steps": search.grid_steps,
        "seconds": search.seconds,
        "unscaled_groups": list(unscaled_groups),
        "out": None if out is None else str(out),
    }


def asked_settings(
    plan: Plan,
    *,
    method: str | None,
    space: Mapping[str, Any] | None,
    bracket: tuple[float, float] | None,
    budget: int | None,
    seconds: float | None,
    seed: int,
) -> dict[str, Any]:
    """What a search was asked for, under the names that `search_lr` has for it, as plain data.

    None is what was left to lrkit: a bracket from the range test, the usual budget, no limit of time.
    """
    rates, varied = read_space({} if space is None else space)
    if rates is not None:
        bracket = rates.low, rates.high
    return {
        "steps": plan.horizon.steps,
        "method": chosen_method(method, varied)[0],
        "space": varied.to_dict(),
        "bracket": None if bracket is None else list(bracket),
        "budget": budget,
        "seconds": seconds,
        "seed": seed,
    }


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    return {
        "lrkit": lrkit.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write_report(
    folder: Path, answer: Mapping[str, Any], search: Search, settings: Mapping[str, Any], **more: Any
) -> None:
    """Write `report.json` into `folder`, whole or not at all. Raises StudyError where that cannot be.

    `more` is what only a tuning has. Any value may be in it that JSON knows, hence Any.
    """
    path = folder / "report.json"
    report = {
        "version": 1,
        **answer,
        "task_objective": search.objective_name,
        **more,
        "versions": versions(),
        "settings": dict(settings),
        "search": search.to_dict(),
    }
    try:
        atomic_write(path, json_text(report, indent=1) + "\n")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror or error}") from error
