"""timm's schedulers themselves, asked for one step after the other as its training script does."""

from __future__ import annotations

from typing import Any

from convert.stepping import Rates, sgd
from peers.alone import load

__all__ = ["RATES"]

_timm = load("timm.scheduler")
_CLASSES = (
    "CosineLRScheduler",
    "MultiStepLRScheduler",
    "PolyLRScheduler",
    "StepLRScheduler",
    "TanhLRScheduler",
    "WSDLRScheduler",
)


def _of(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key not in ("base_lr", "noise_draws")}
        optimizer = sgd(parameters.get("base_lr", 1.0))
        scheduler = getattr(_timm, name)(optimizer, **rest)
        asked = scheduler.step if rest.get("t_in_epochs", True) else scheduler.step_update
        seen = []
        for t in range(n):
            asked(t)
            seen.append(float(optimizer.param_groups[0]["lr"]))
        return seen

    return rates


RATES: dict[str, Rates] = {f"timm:{name}": _of(name) for name in _CLASSES}
