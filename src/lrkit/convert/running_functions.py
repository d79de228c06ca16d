"""Functions of the step that torch's schedulers follow and no shape says: callables, for `from_function`."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Product", "Triangles"]


class Product:
    """f(1) f(2) ... f(t) as a function of t, each factor asked for once."""

    def __init__(self, f: Callable[[int], float]) -> None:
        self._f = f
        self._products = [1.0]

    def __call__(self, step: int) -> float:
        """The product up to `step`."""
        while len(self._products) <= step:
            self._products.append(self._products[-1] * float(self._f(len(self._products))))
        return self._products[step]


class Triangles:
    """CyclicLR's own formula in units of its lower bound, for what no shape says."""

    def __init__(
        self,
        peak: float,
        sizes: tuple[float, float],
        scale: Callable[[float], float],
        *,
        per_step: bool,
    ) -> None:
        self._peak, self._scale, self._per_step = peak, scale, per_step
        self._whole = sizes[0] + sizes[1]
        self._rise = sizes[0] / self._whole

    def __call__(self, step: int) -> float:
        """1 + (peak - 1) h g at `step`."""
        cycle = math.floor(1 + step / self._whole)
        x = 1.0 + step / self._whole - cycle
        height = x / self._rise if x <= self._rise else (x - 1.0) / (self._rise - 1.0)
        return 1.0 + (self._peak - 1.0) * height * self._scale(step if self._per_step else cycle)
