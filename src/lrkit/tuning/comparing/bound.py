r"""What convex theory says of a schedule: how well it can end, and at which rate. From the factors alone, in O(T).

For subgradient descent on a convex function with gradients of norm at most G, begun at distance D from the minimum and
run with the steps g w_0, ..., g w_{T-1}, the last iterate's expected error is at most

    B(g) = D^2 / (2 g S) + g G^2 / 2 * R,    S = sum_k w_k,
    R = (sum_k w_k^2) / S + sum_{k<T-1} w_k / A_{k+1} * Q_k / A_k,    A_k = sum_{t>=k} w_t,  Q_k = sum_{t>=k} w_t^2

(Schaipp et al., arXiv:2501.18965, after Defazio et al., arXiv:2310.07831). It is least, D G sqrt(R / S), at
g = D / (G sqrt(R S)). D and G are the task's and unknown; the ratio of two schedules' best rates needs neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrkit.errors import SpecError
from lrkit.schedule import Curve

__all__ = ["ConvexBound", "convex_bound"]


@dataclass(frozen=True, slots=True)
class ConvexBound:
    """The bound of one schedule at its best rate, with D = G = 1.

    value: the bound times sqrt(T): what tells shapes apart at any length (linear to 0: 2.0, constant: 3.0 at T = 1600).
    rate: the base lr at which it is reached. Alone it means nothing; the ratio of two says by how much their best rates
        differ, if the theory holds.
    """

    value: float
    rate: float


def convex_bound(curve: Curve | NDArray[np.float64]) -> ConvexBound:
    """The bound of a curve, or of the factors of its updates as an array of shape (T,).

    Updates at factor 0 at the end count for the length alone: they change no weights. Raises SpecError for factors that
    are negative, not finite, or all 0: the theory has no answer for them.

    >>> from lrkit import parse
    >>> linear, constant = (convex_bound(parse(text).over(1600)) for text in ("linear(to=0)", "hold()"))
    >>> round(linear.value, 2), round(constant.value, 2), round(constant.rate / linear.rate, 2)
    (2.0, 2.99, 0.34)
    """
    given = curve.chunk(0, curve.steps) if isinstance(curve, Curve) else curve
    factors = np.asarray(given, dtype=np.float64)
    if (
        factors.ndim != 1
        or not np.all(np.isfinite(factors))
        or np.any(factors < 0)
        or not np.any(factors > 0)
    ):
        raise SpecError(
            "the convex bound needs one row of finite factors of at least 0, not all 0: "
            f"it got shape {factors.shape}, from {factors.min(initial=np.inf):g} to {factors.max(initial=-np.inf):g}"
        )
    w = factors[: np.flatnonzero(factors)[-1] + 1]
    rest = np.cumsum(w[::-1])[::-1]
    squares = np.cumsum((w * w)[::-1])[::-1]
    total = float(rest[0])
    bracket = float(squares[0]) / total + float(np.sum(w[:-1] / rest[1:] * squares[:-1] / rest[:-1]))
    return ConvexBound(value=math.sqrt(bracket / total * len(factors)), rate=1.0 / math.sqrt(bracket * total))
