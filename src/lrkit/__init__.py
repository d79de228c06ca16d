"""lrkit: which learning rate, which schedule, how sure, and is it working?

Importing it loads neither numpy nor torch: each public name is fetched from its room on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# A room of which the package's own name is public, as in torch: `from lrkit import lr_scheduler`.
_ROOMS = ("lr_scheduler",)

_ROOM_OF = {
    "Comparison": "tuning",
    "Curve": "schedule",
    "Duration": "duration",
    "Horizon": "duration",
    "LrkitError": "errors",
    "Plan": "plan",
    "RangeTest": "range_test",
    "Schedule": "schedule",
    "Scheduler": "optim",
    "Search": "search",
    "Task": "training",
    "Tuning": "tuning",
    "absolute": "schedule",
    "compare_schedules": "tuning",
    "cosine": "schedule",
    "cosine_restarts": "schedule",
    "cyclic": "schedule",
    "exponential": "schedule",
    "find_lr": "range_test",
    "flat_cosine": "schedule",
    "from_function": "schedule",
    "hold": "schedule",
    "hyperbolic": "schedule",
    "infinite": "schedule",
    "inverse_sqrt": "schedule",
    "inverse_time": "schedule",
    "linear": "schedule",
    "linear_to_zero": "schedule",
    "milestones": "schedule",
    "natural_exponential": "schedule",
    "noam": "schedule",
    "one_cycle": "schedule",
    "one_cycle_momentum": "schedule",
    "one_minus_sqrt": "schedule",
    "parse": "spec",
    "parse_spec": "spec",
    "plateau": "control",
    "polynomial": "schedule",
    "power": "schedule",
    "ramp": "schedule",
    "restarts": "schedule",
    "rex": "schedule",
    "search_lr": "search",
    "shifted_exponential": "schedule",
    "slanted_triangle": "schedule",
    "snapshot": "optim",
    "staircase": "schedule",
    "supervised": "training",
    "table": "schedule",
    "tanh": "schedule",
    "train": "training",
    "trapezoid": "schedule",
    "tune": "tuning",
    "warmup": "schedule",
    "wsd": "schedule",
}

__all__ = sorted([*_ROOM_OF, *_ROOMS, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lrkit.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'lrkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lrkit.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
