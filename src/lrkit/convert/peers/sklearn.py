"""scikit-learn 1.9: the `learning_rate` policies of SGDClassifier and SGDRegressor.

There an update is a *sample*, counted from t = 1 on over all epochs, so step i here is sample i + 1. The policies
are rates: `base_lr` (1 unless given) is the lr of the optimizer that is to use them, factor = rate / base_lr. All
are open and go on for ever. "adaptive" reacts to the loss, and "pa1" and "pa2" follow from each sample's own loss and
size: they are no functions of the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from lrkit import schedule as s
from lrkit.convert.arguments import as_factor, as_steps
from lrkit.convert.pieces import plateau_instead
from lrkit.schedule import Schedule
from lrkit.schedule.levels import as_choice, as_number

__all__ = ["CONTROLLERS", "ENTRIES"]

# The slope of each loss at -typw for a target of 1; only the size counts, and a slope below 1 counts as 1.
_LOSSES: Final = (
    "epsilon_insensitive",
    "hinge",
    "huber",
    "log_loss",
    "modified_huber",
    "perceptron",
    "squared_epsilon_insensitive",
    "squared_error",
    "squared_hinge",
)


def constant(eta0: float = 0.01, *, base_lr: float = 1.0) -> Schedule:
    """eta0, for ever."""
    return s.hold(level=as_factor(eta0, "eta0", base_lr))


def invscaling(eta0: float = 0.01, power_t: float = 0.5, *, base_lr: float = 1.0) -> Schedule:
    """eta0 / t^power_t. The default is SGDClassifier's; SGDRegressor has power_t = 0.25."""
    eta, exponent = as_factor(eta0, "eta0", base_lr), as_number(power_t, "power_t")
    if exponent == 0.0:
        return s.hold(level=eta)
    return s.power(1, exponent=exponent, start=eta).after("continue")


def optimal(alpha: float = 1e-4, loss: str = "hinge", *, base_lr: float = 1.0) -> Schedule:
    """1 / (alpha (t0 + t - 1)), with 1 / (alpha t0) = alpha^(-1/4), the size of a typical weight.

    scikit-learn divides that by the slope of the loss there if it exceeds 1. For none of its losses it does, so
    `loss` is checked and changes nothing. Source: Bottou, Stochastic Gradient Descent Tricks (2012).
    """
    as_choice(loss, "loss", _LOSSES)
    strength = as_number(alpha, "alpha", above=0.0)
    first = math.sqrt(1.0 / math.sqrt(strength))
    start = as_factor(first, "alpha^(-1/4)", base_lr)
    return s.inverse_time(strength * first, start=start).after("continue")


def adaptive(eta0: float = 0.01, tol: float = 1e-3, n_iter_no_change: int = 5) -> NoReturn:
    """eta0, divided by 5 once the epoch's loss has not fallen by tol for so many epochs: a controller."""
    del eta0
    bad = max(0, as_steps(n_iter_no_change, "n_iter_no_change", least=1) - 1)
    given = {"factor": 0.2, "patience": bad, "threshold": tol, "threshold_mode": "abs"}
    plateau_instead(given, "observed once per epoch; scikit-learn stops at a rate of 1e-6")


ENTRIES: Final[Mapping[str, Callable[..., Schedule]]] = {
    "constant": constant,
    "invscaling": invscaling,
    "optimal": optimal,
}

CONTROLLERS: Final[Mapping[str, Callable[..., NoReturn]]] = {"adaptive": adaptive}
