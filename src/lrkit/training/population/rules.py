"""The updates of torch's elementwise optimizers, written over stacked tensors: each member has its own coefficients.

A rule is one optimizer as `torch.optim` writes it for a single tensor (its `_single_tensor_...` functions are the
source of every formula here). What depends on hyperparameters and the step alone is a *coefficient*: a float64 number
for each member and step, computed ahead on the host, so that an update only reads it. What runs elsewhere is in
`updates`; optimizers without a rule are in `foreign`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["RULES", "Coefficients", "Flags", "Rule"]

Floats = npt.NDArray[np.float64]
Numbers = Mapping[str, Floats]  # a hyperparameter's values, one for each member
Coefficients = Mapping[
    str, Any
]  # a float where all members agree at all steps, else a tensor (members, 1, ...)
Flags = Mapping[str, bool]
State = Mapping[str, Tensor]
Fused = Callable[
    [Sequence[Tensor], Sequence[Tensor], Sequence[State], float, Mapping[str, float], Flags, Tensor], None
]


@dataclass(frozen=True, slots=True)
class Rule:
    """One optimizer's update.

    numbers, flags: the hyperparameters that it reads; numbers may differ between members, flags may not.
    state: the names of the state tensors that it keeps, given flags and whether there is any momentum.
    coefficients: (t, lr, numbers) -> arrays (steps, members) by name; t is (steps, 1) and counts from 1.
    apply: changes the parameter and its state in place, as the optimizer would.
    start: what a state tensor is filled with at first: 0, or the value of a hyperparameter by name.
    fused: the same update of one member by one of torch's kernels for the CPU, which reads and writes everything once:
        (parameters, gradients, states, lr, numbers, flags, t), a list entry for each parameter; None without one.
    counts: (updates done, numbers) -> what torch keeps for each parameter beside these tensors, as one number each.
    """

    numbers: tuple[str, ...]
    flags: tuple[str, ...]
    state: Callable[[Flags, Numbers], tuple[str, ...]]
    coefficients: Callable[[Floats, Floats, Numbers], dict[str, Floats]]
    apply: Callable[[Tensor, Tensor, State, Coefficients, Flags], None]
    start: Mapping[str, str] | None = None
    fused: Fused | None = None
    counts: Callable[[int, Numbers], dict[str, Floats]] = lambda done, numbers: {
        "step": np.full_like(next(iter(numbers.values())), done)
    }


def _decayed(parameter: Tensor, gradient: Tensor, c: Coefficients, flags: Flags) -> Tensor:
    """The gradient with its sign and coupled weight decay; decoupled decay shrinks the parameter at once."""
    if flags.get("maximize"):
        gradient = -gradient
    if flags.get("decoupled_weight_decay"):
        parameter.mul_(c["shrink"])
    elif not _is_zero(c["weight_decay"]):
        gradient = gradient + parameter * c["weight_decay"]
    return gradient


def _is_zero(value: object) -> bool:
    return isinstance(value, float) and value == 0.0


def _moments(gradient: Tensor, state: State, c: Coefficients) -> None:
    state["exp_avg"].lerp_(gradient, c["first"])
    state["exp_avg_sq"].mul_(c["beta2"]).add_(gradient.square().mul_(c["second"]))


def _beta_coefficients(lr: Floats, n: Numbers) -> dict[str, Floats]:
    beta1, beta2 = n["betas[0]"], n["betas[1]"]
    return {
        "first": 1 - beta1,
        "beta2": beta2,
        "second": 1 - beta2,
        "eps": n["eps"],
        "weight_decay": n["weight_decay"],
        "shrink": 1 - lr * n["weight_decay"],
    }


def _sgd_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    # The first gradient enters the buffer whole, the next ones dampened.
    taken = np.where(t == 1, 1.0, 1 - n["dampening"])
    return {"lr": lr, "momentum": n["momentum"], "taken": taken, "weight_decay": n["weight_decay"]}


def _sgd(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    step = _decayed(parameter, gradient, c, flags)
    if "momentum_buffer" in state:
        buffer = state["momentum_buffer"].mul_(c["momentum"]).add_(step * c["taken"])
        step = step + buffer * c["momentum"] if flags["nesterov"] else buffer
    parameter.sub_(step * c["lr"])


def _adam_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    return _beta_coefficients(lr, n) | {
        "size": lr / (1 - n["betas[0]"] ** t),
        "correction": np.sqrt(1 - n["betas[1]"] ** t),
    }


def _adam(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    _moments(gradient, state, c)
    second = state["exp_avg_sq"]
    if flags["amsgrad"]:
        second = torch.maximum(state["max_exp_avg_sq"], second)
        state["max_exp_avg_sq"].copy_(second)
    denominator = second.sqrt().div_(c["correction"]).add_(c["eps"])
    parameter.sub_((state["exp_avg"] / denominator).mul_(c["size"]))


def _fused_adam(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[State],
    lr: float,
    n: Mapping[str, float],
    flags: Flags,
    t: Tensor,
) -> None:
    update = torch.ops.aten._fused_adamw_ if flags["decoupled_weight_decay"] else torch.ops.aten._fused_adam_
    update.default(
        parameters,
        gradients,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if flags["amsgrad"] else [],
        [t] * len(parameters),
        lr=lr,
        beta1=n["betas[0]"],
        beta2=n["betas[1]"],
        weight_decay=n["weight_decay"],
        eps=n["eps"],
        amsgrad=flags["amsgrad"],
        maximize=flags["maximize"],
    )


def _nadam_mu(t: Floats, n: Numbers) -> Floats:
    return np.asarray(n["betas[0]"] * (1.0 - 0.5 * 0.96 ** (t * n["momentum_decay"])))


def _nadam_product(done: float, n: Numbers) -> Floats:
    return np.asarray(_nadam_mu(np.arange(1.0, done + 1)[:, None], n).prod(axis=0))


def _nadam_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    mu, after = _nadam_mu(t, n), _nadam_mu(t + 1, n)
    product = _nadam_product(t[0, 0] - 1, n) * np.cumprod(mu, axis=0)
    return _beta_coefficients(lr, n) | {
        "of gradient": lr * (1 - mu) / (1 - product),
        "of moment": lr * after / (1 - product * after),
        "correction": np.sqrt(1 - n["betas[1]"] ** t),
    }


def _nadam(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    _moments(gradient, state, c)
    denominator = state["exp_avg_sq"].sqrt().div_(c["correction"]).add_(c["eps"])
    step = gradient * c["of gradient"] + state["exp_avg"] * c["of moment"]
    parameter.sub_(step.div_(denominator))


def _radam_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    beta1, beta2 = n["betas[0]"], n["betas[1]"]
    size, correction = lr / (1 - beta1**t), 1 - beta2**t
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / correction
    rectified = length > 5
    usable = np.where(rectified, length, 6.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # where it is never rectified, and not read
        rectifier = np.sqrt((usable - 4) * (usable - 2) * longest / ((longest - 4) * (longest - 2) * usable))
    return _beta_coefficients(lr, n) | {
        "adaptive": np.where(rectified, size * np.sqrt(correction) * rectifier, 0.0),
        "plain": np.where(rectified, 0.0, size),
    }


def _radam(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    _moments(gradient, state, c)
    factor = state["exp_avg_sq"].sqrt().add_(c["eps"]).reciprocal_().mul_(c["adaptive"]).add_(c["plain"])
    parameter.sub_(factor.mul_(state["exp_avg"]))


def _adamax_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    return _beta_coefficients(lr, n) | {"size": lr / (1 - n["betas[0]"] ** t)}


def _adamax(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    state["exp_avg"].lerp_(gradient, c["first"])
    largest = torch.maximum(state["exp_inf"] * c["beta2"], gradient.abs() + c["eps"])
    state["exp_inf"].copy_(largest)
    parameter.sub_((state["exp_avg"] / largest).mul_(c["size"]))


def _rmsprop_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    del t  # no bias is corrected
    kept = {name: n[name] for name in ("alpha", "eps", "weight_decay", "momentum")}
    return kept | {"lr": lr, "fresh": 1 - n["alpha"]}


def _rmsprop(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    square = state["square_avg"].mul_(c["alpha"]).add_(gradient.square().mul_(c["fresh"]))
    if flags["centered"]:
        square = square - state["grad_avg"].lerp_(gradient, c["fresh"]).square()
    step = gradient / square.sqrt().add_(c["eps"])
    if "momentum_buffer" in state:
        step = state["momentum_buffer"].mul_(c["momentum"]).add_(step)
    parameter.sub_(step * c["lr"])


def _rmsprop_state(flags: Flags, n: Numbers) -> tuple[str, ...]:
    centered = ("grad_avg",) if flags["centered"] else ()
    return "square_avg", *centered, *(("momentum_buffer",) if n["momentum"].any() else ())


def _adagrad_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    return {
        "size": lr / (1 + (t - 1) * n["lr_decay"]),
        "eps": n["eps"],
        "weight_decay": n["weight_decay"],
    }


def _adagrad(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    total = state["sum"].add_(gradient.square())
    parameter.sub_((gradient / total.sqrt().add_(c["eps"])).mul_(c["size"]))


def _adadelta_coefficients(t: Floats, lr: Floats, n: Numbers) -> dict[str, Floats]:
    del t  # no bias is corrected
    return {
        "lr": lr,
        "rho": n["rho"],
        "fresh": 1 - n["rho"],
        "eps": n["eps"],
        "weight_decay": n["weight_decay"],
    }


def _adadelta(parameter: Tensor, gradient: Tensor, state: State, c: Coefficients, flags: Flags) -> None:
    gradient = _decayed(parameter, gradient, c, flags)
    square = state["square_avg"].mul_(c["rho"]).add_(gradient.square().mul_(c["fresh"]))
    delta = (state["acc_delta"] + c["eps"]).sqrt_().div_((square + c["eps"]).sqrt_()).mul_(gradient)
    state["acc_delta"].mul_(c["rho"]).add_(delta.square().mul_(c["fresh"]))
    parameter.sub_(delta.mul_(c["lr"]))


_BETAS = ("betas[0]", "betas[1]", "eps", "weight_decay")
_DECOUPLED = ("maximize", "decoupled_weight_decay")
_ADAM = Rule(
    numbers=_BETAS,
    flags=(*_DECOUPLED, "amsgrad"),
    state=lambda flags, n: ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if flags["amsgrad"] else ())),
    coefficients=_adam_coefficients,
    apply=_adam,
    fused=_fused_adam,
)

# By exact class: a subclass may do anything, and is run as an optimizer of the user's own.
RULES: Mapping[type[torch.optim.Optimizer], Rule] = {
    torch.optim.SGD: Rule(
        numbers=("momentum", "dampening", "weight_decay"),
        flags=("maximize", "nesterov"),
        state=lambda flags, n: ("momentum_buffer",) if n["momentum"].any() else (),
        coefficients=_sgd_coefficients,
        apply=_sgd,
        counts=lambda done, n: {},
    ),
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.NAdam: Rule(
        numbers=(*_BETAS, "momentum_decay"),
        flags=_DECOUPLED,
        state=lambda flags, n: ("exp_avg", "exp_avg_sq"),
        coefficients=_nadam_coefficients,
        apply=_nadam,
        counts=lambda done, n: {
            "step": np.full_like(n["eps"], done),
            "mu_product": _nadam_product(done, n),
        },
    ),
    torch.optim.RAdam: Rule(
        numbers=_BETAS,
        flags=_DECOUPLED,
        state=lambda flags, n: ("exp_avg", "exp_avg_sq"),
        coefficients=_radam_coefficients,
        apply=_radam,
    ),
    torch.optim.Adamax: Rule(
        numbers=_BETAS,
        flags=("maximize",),
        state=lambda flags, n: ("exp_avg", "exp_inf"),
        coefficients=_adamax_coefficients,
        apply=_adamax,
    ),
    torch.optim.RMSprop: Rule(
        numbers=("alpha", "eps", "weight_decay", "momentum"),
        flags=("maximize", "centered"),
        state=_rmsprop_state,
        coefficients=_rmsprop_coefficients,
        apply=_rmsprop,
    ),
    torch.optim.Adagrad: Rule(
        numbers=("lr_decay", "eps", "weight_decay", "initial_accumulator_value"),
        flags=("maximize",),
        state=lambda flags, n: ("sum",),
        coefficients=_adagrad_coefficients,
        apply=_adagrad,
        start={"sum": "initial_accumulator_value"},
    ),
    torch.optim.Adadelta: Rule(
        numbers=("rho", "eps", "weight_decay"),
        flags=("maximize",),
        state=lambda flags, n: ("square_avg", "acc_delta"),
        coefficients=_adadelta_coefficients,
        apply=_adadelta,
    ),
}
