"""The ways to a learning rate that a search is measured beside: each a function of a task and a seed.

A way answers with the rate that it would train at, or, where it is an optimizer without a rate to choose, with what its
own training ended at. What a rate is worth is not its concern (bench/truth.py).
"""

from __future__ import annotations

from rivals.finders import fastai_steep, fastai_valley, lightning, torch_lr_finder
from rivals.grid import default, exhaustive_grid
from rivals.lrkit_auto import lrkit_auto
from rivals.optuna_tpe import optuna_tpe
from rivals.outcome import Outcome, Way
from rivals.rate_free import prodigy, schedule_free

WAYS: dict[str, Way] = {
    "lrkit": lrkit_auto,
    "grid": exhaustive_grid,
    "default": default,
    "lightning": lightning,
    "fastai valley": fastai_valley,
    "fastai steep": fastai_steep,
    "torch-lr-finder": torch_lr_finder,
    "optuna": optuna_tpe,
    "prodigy": prodigy,
    "schedule-free": schedule_free,
}

__all__ = ["WAYS", "Outcome", "Way"]
