"""torch.optim.lr_scheduler's classes (and SWALR) with exact, quick and resumable rates: import this in its place.

`LRScheduler`, which users derive their own classes from, is torch's own.
"""

from __future__ import annotations

from torch.optim.lr_scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler, _LRScheduler

from lrkit.lr_scheduler.averaging import SWALR
from lrkit.lr_scheduler.chained import ChainedScheduler
from lrkit.lr_scheduler.cyclic import CyclicLR
from lrkit.lr_scheduler.decays import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from lrkit.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from lrkit.lr_scheduler.one_cycle import OneCycleLR
from lrkit.lr_scheduler.plateau import ReduceLROnPlateau
from lrkit.lr_scheduler.restarts import CosineAnnealingWarmRestarts
from lrkit.lr_scheduler.sequential import SequentialLR

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "SWALR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "_LRScheduler",
]
