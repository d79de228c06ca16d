"""scikit-learn itself: SGDRegressor shows no rate, so it is read off what one sample does to the intercept."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.linear_model import SGDRegressor

from convert.stepping import Rates

__all__ = ["RATES"]


def _of(policy: str) -> Rates:
    def rates(parameters: dict[str, Any], n: int, T: int) -> list[float]:
        rest = {key: value for key, value in parameters.items() if key not in ("base_lr", "loss")}
        model = SGDRegressor(penalty=None, shuffle=False, learning_rate=policy, **rest)
        seen = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(n):
                # With features of 0 and a target of 1 the loss's slope at an intercept of 0 is -1.
                if seen:
                    model.intercept_[:] = 0.0
                model.partial_fit(np.zeros((1, 1)), np.ones(1))
                seen.append(float(model.intercept_[0]))
        return seen

    return rates


RATES: dict[str, Rates] = {
    f"sklearn:{policy}": _of(policy) for policy in ("constant", "invscaling", "optimal")
}
