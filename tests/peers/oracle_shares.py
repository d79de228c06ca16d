"""fastai and fvcore: functions of the share of the run that is done, asked past its end where they answer there."""

from __future__ import annotations

from typing import Any

from fastai.callback import schedule as fastai
from fvcore.common import param_scheduler as fvcore

from convert.stepping import Rates

__all__ = ["RATES"]


_FVCORE = (
    "ConstantParamScheduler",
    "CosineParamScheduler",
    "ExponentialParamScheduler",
    "LinearParamScheduler",
    "MultiStepParamScheduler",
    "PolynomialDecayParamScheduler",
    "StepParamScheduler",
    "StepWithFixedGammaParamScheduler",
)
_ENDLESS = ("CosineParamScheduler", "ExponentialParamScheduler", "LinearParamScheduler")


def _fvcores(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key not in ("base_lr", "steps")}
        return _along(getattr(fvcore, name)(**rest), n, n if name in _ENDLESS else T, T)

    return rates


def _composite(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    parts = [getattr(fvcore, name)(**own) for name, own in parameters["schedulers"]]
    whole = fvcore.CompositeParamScheduler(parts, parameters["lengths"], parameters["interval_scaling"])
    return _along(whole, n, T, T)


def _annealer(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key != "base_lr"}
        return _along(getattr(fastai, name)(**rest), n, T, T)

    return rates


def _one_cycle(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    """What `fit_one_cycle` hands to its ParamScheduler for the lr."""
    low, last = 1.0 / parameters["div"], 1.0 / parameters["div_final"]
    return _along(fastai.combined_cos(parameters["pct_start"], low, 1.0, last), n, T, T)


def _one_cycle_momentum(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    first, middle, last = parameters["moms"]
    return _along(fastai.combined_cos(parameters["pct_start"], first, middle, last), n, T, T)


def _combined(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    rest = {key: value for key, value in parameters.items() if key != "base_lr"}
    return _along(fastai.combined_cos(**rest), n, T, T)


def _flat_cos(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    last = 1.0 / parameters["div_final"]
    return _along(fastai.combined_cos(parameters["pct_start"], 1.0, 1.0, last), n, T, T)


def _along(function: Any, n: int, last: int, T: int) -> list[float]:
    return [float(function(t / T)) for t in range(min(n, last))]


RATES: dict[str, Rates] = {
    **{f"fvcore:{name}": _fvcores(name) for name in _FVCORE},
    "fvcore:CompositeParamScheduler": _composite,
    **{
        f"fastai:{name}": _annealer(name)
        for name in ("SchedCos", "SchedExp", "SchedLin", "SchedNo", "SchedPoly")
    },
    "fastai:combined_cos": _combined,
    "fastai:fit_flat_cos": _flat_cos,
    "fastai:fit_one_cycle": _one_cycle,
    "fastai:fit_one_cycle_momentum": _one_cycle_momentum,
}
