"""What lrkit raises when something is wrong, and how it names the nearest right thing.

LrkitError
├── SpecError       (ValueError)   a schedule, a level or a duration is wrong, as text or as a value
├── HorizonError    (ValueError)   a duration cannot be turned into steps of this run
├── PlanError       (ValueError)   a plan file is wrong; names file, line and key
├── StateError      (ValueError)   a saved state belongs to something else
├── MetricError     (ValueError)   a metric is missing, or is no number that one can go by
├── TaskError                      what the user gave to be trained cannot be trained so
│   └── NoAnswer                   it was trained, and no learning rate came out of it
├── StudyError                     a study or run folder cannot be used
└── MissingExtra    (ImportError)  an optional package is not installed; says which extra brings it
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable

__all__ = [
    "HorizonError",
    "LrkitError",
    "MetricError",
    "MissingExtra",
    "NoAnswer",
    "PlanError",
    "SpecError",
    "StateError",
    "StudyError",
    "TaskError",
    "did_you_mean",
]


class LrkitError(Exception):
    """Root of everything that lrkit raises on purpose: one line that says what, where, and what to do."""


class SpecError(LrkitError, ValueError):
    """A schedule, a level or a duration is wrong."""


class HorizonError(LrkitError, ValueError):
    """A duration cannot be turned into steps of this run."""


class PlanError(LrkitError, ValueError):
    """A plan file is wrong."""


class StateError(LrkitError, ValueError):
    """A saved state belongs to something else than what loads it."""


class MetricError(LrkitError, ValueError):
    """A metric that feedback needs is missing, or is no number that one can go by."""


class TaskError(LrkitError):
    """What the user gave to be trained cannot be trained so."""


class NoAnswer(TaskError):
    """It was trained, and no learning rate came out of it: the loss is not finite at any rate, or it never fell."""


class StudyError(LrkitError):
    """A study or a run folder cannot be used."""


class MissingExtra(LrkitError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'lrkit[{extra}]'")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'cosine'?"` for the choice nearest to `name`, or the list of choices when none is near."""
    choices = sorted(choices)
    near = difflib.get_close_matches(name[:80], choices, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    listed = textwrap.shorten(", ".join(choices), 200, placeholder=" ...")
    return f"; choose from {listed}" if choices else ""
