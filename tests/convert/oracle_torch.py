"""torch's own scheduler classes, stepped. A composite's members are given as (name, parameters) pairs."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import SWALR

from convert.stepping import Rates, stepped

__all__ = ["RATES"]

_OWN_UNIT = ("CyclicLR",)  # whose base_lr is the class's own parameter

_CLASSES = {
    name: getattr(lr_scheduler, name)
    for name in (
        "ConstantLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
        "ExponentialLR",
        "LambdaLR",
        "LinearLR",
        "MultiStepLR",
        "MultiplicativeLR",
        "OneCycleLR",
        "PolynomialLR",
        "StepLR",
    )
} | {"SWALR": SWALR}


def made(name: str, parameters: dict[str, Any], optimizer: Optimizer) -> Any:
    """torch's scheduler of that name on the optimizer."""
    rest = {key: value for key, value in parameters.items() if key != "base_lr" or name in _OWN_UNIT}
    if name in ("CyclicLR", "OneCycleLR"):
        rest["cycle_momentum"] = False
    return _CLASSES[name](optimizer, **rest)


def _of(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        return stepped(lambda o: made(name, parameters, o), n, parameters.get("base_lr", 1.0))

    return rates


def _one_cycle(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    """Without step T, to which torch lets one go, and then bounces back or divides by 0."""
    return stepped(lambda o: made("OneCycleLR", parameters, o), min(n, parameters["total_steps"]))


def _sequential(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    def make(optimizer: Optimizer) -> Any:
        members = [made(name, own, optimizer) for name, own in parameters["schedulers"]]
        return lr_scheduler.SequentialLR(optimizer, members, parameters["milestones"])

    return stepped(make, n)


def _chained(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    def make(optimizer: Optimizer) -> Any:
        return lr_scheduler.ChainedScheduler(
            [made(name, own, optimizer) for name, own in parameters["schedulers"]]
        )

    return stepped(make, n)


RATES: dict[str, Rates] = {
    **{f"torch:{name}": _of(name) for name in _CLASSES},
    "torch:ChainedScheduler": _chained,
    "torch:OneCycleLR": _one_cycle,
    "torch:SequentialLR": _sequential,
}
