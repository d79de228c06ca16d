"""Composer, Megatron-LM and DeepSpeed: their scheduler modules alone, with stand-ins for what gives no number."""

from __future__ import annotations

import logging
from enum import Enum
from types import SimpleNamespace
from typing import Any

from convert.stepping import Rates, sgd, stepped
from peers.alone import load

__all__ = ["RATES"]


class _StringEnum(Enum):
    """Composer's own, as far as its clock needs it: made from any case."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return next((member for member in cls if member.value == str(value).lower()), None)


_megatron = load(
    "megatron.core.optimizer_param_scheduler",
    megatron__core__utils={"log_single_rank": lambda *_, **__: None},
)
_deepspeed = load(
    "deepspeed.runtime.lr_schedules", deepspeed__utils={"logger": logging.getLogger("deepspeed")}
)
_time = load(
    "composer.core.time",
    composer__utils={"StringEnum": _StringEnum},
    composer__core__serializable={"Serializable": object},
)
_composer = load(
    "composer.optim.scheduler",
    composer__core={"State": object, "Time": _time.Time, "TimeUnit": _time.TimeUnit},
)
_COMPOSER = (
    "ConstantScheduler",
    "ConstantWithWarmupScheduler",
    "CosineAnnealingScheduler",
    "CosineAnnealingWarmRestartsScheduler",
    "CosineAnnealingWithWarmupScheduler",
    "ExponentialScheduler",
    "LinearScheduler",
    "LinearWithWarmupScheduler",
    "MultiStepScheduler",
    "MultiStepWithWarmupScheduler",
    "PolynomialScheduler",
    "PolynomialWithWarmupScheduler",
    "StepScheduler",
)


def _composers(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = dict(parameters)
        each, ratio = rest.pop("dataloader_len"), rest.pop("scale_schedule_ratio")
        whole = _time.Time.from_timestring(rest.pop("max_duration"))
        # The Trainer shortens the run itself, and tells the scheduler by how much.
        run = _time.Time(int(whole.value * ratio), whole.unit)
        scheduler = getattr(_composer, name)(**rest)

        def at(t: int) -> float:
            clock = _time.Timestamp(epoch=t // each, batch=t, batch_in_epoch=t % each)
            return float(
                scheduler(SimpleNamespace(timestamp=clock, max_duration=run, dataloader_len=each), ratio)
            )

        return [at(t) for t in range(n)]

    return rates


def _megatrons(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    rest = {"start_wd": 0.0, "end_wd": 0.0, "wd_incr_steps": 1, "wd_incr_style": "constant"}
    rest |= {"init_lr": 0.0, **parameters}
    rest.pop("base_lr"), rest.pop("increment")
    return _megatron_values(rest, parameters["increment"], n, "lr")


def _megatron_decay(parameters: dict[str, Any], n: int, T: int) -> list[float]:
    rest = {"init_lr": 0.0, "max_lr": 1.0, "min_lr": 0.0, "lr_warmup_steps": 0, "lr_decay_steps": 1}
    rest |= {"lr_decay_style": "constant", **parameters}
    rest.pop("increment")
    return _megatron_values(rest, parameters["increment"], n, "weight_decay")


def _megatron_values(arguments: dict[str, Any], increment: int, n: int, key: str) -> list[float]:
    optimizer = sgd(1.0)
    scheduler = _megatron.OptimizerParamScheduler(optimizer, **arguments)
    seen = []
    for _ in range(n):
        seen.append(float(optimizer.param_groups[0][key]))
        scheduler.step(increment)
    return seen


def _deepspeeds(name: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key != "base_lr"}
        if name == "OneCycle":
            rest["cycle_momentum"] = False
        make = getattr(_deepspeed, name)
        return stepped(lambda optimizer: make(optimizer, **rest), n, parameters.get("base_lr", 1.0))

    return rates


RATES: dict[str, Rates] = {
    **{f"composer:{name}": _composers(name) for name in _COMPOSER},
    **{
        f"deepspeed:{name}": _deepspeeds(name)
        for name in ("LRRangeTest", "OneCycle", "WarmupCosineLR", "WarmupDecayLR", "WarmupLR")
    },
    "megatron:OptimizerParamScheduler": _megatrons,
    "megatron:WeightDecay": _megatron_decay,
}
