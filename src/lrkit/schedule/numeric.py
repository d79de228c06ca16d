"""The namespaces in which a schedule's formula is evaluated: numpy, torch, JAX. Imports only the first.

A formula is written once, as `formula(m, i)`, where `m` is one of these and `i` an array of whole steps that
lives in it. Other libraries' arrays are recognised through `sys.modules`: an array of a library that was
never imported cannot exist.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["NUMPY", "RUN", "Array", "Numeric", "Steps", "device_namespace", "on_host"]

Array = Any  # numpy, torch and JAX arrays share no base class
Steps = npt.NDArray[np.int64]


class Numeric(Protocol):
    """What formulas may ask of a namespace. Steps are integer arrays, all else is floating point."""

    def real(self, steps: Array) -> Array:
        """Steps as floats: float64, or the widest that the device has."""

    def half_wave(self, x: Array) -> Array:
        """(1 + cos x) / 2: from 1 at x = 0 to 0 at pi, never below 0 and never above 1."""

    def exp(self, x: Array) -> Array:
        """Exponential."""

    def sqrt(self, x: Array) -> Array:
        """Square root."""

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""

    def where(self, condition: Array, yes: Array, no: Array) -> Array:
        """`yes` where the condition holds, else `no`."""

    def clip(self, x: Array, low: float | None, high: float | None) -> Array:
        """`x` kept within the bounds that are given (at least one is)."""

    def lookup(self, steps: Array, edges: Steps, values: npt.NDArray[Any]) -> Array:
        """`values[k]`, where k is the number of (ascending) `edges` at or below the step."""


class _Numpy:
    exp = staticmethod(np.exp)
    sqrt = staticmethod(np.sqrt)
    tanh = staticmethod(np.tanh)
    where = staticmethod(np.where)
    clip = staticmethod(np.clip)

    def half_wave(self, x: Array) -> Array:
        # cos(x / 2) ** 2 by the tangent, which numpy computes in a fifth of the time of a cosine.
        tangent = np.tan(0.5 * x)
        wave = 1.0 / (1.0 + tangent * tangent)
        if np.min(wave, initial=1.0) < 1e-25:  # what rounding makes of 0 at the bottoms
            wave = np.where(wave < 1e-25, 0.0, wave)
        return wave

    def real(self, steps: Array) -> Array:
        return steps.astype(np.float64)

    def lookup(self, steps: Array, edges: Steps, values: npt.NDArray[Any]) -> Array:
        return values[np.searchsorted(edges, steps, side="right")]


class _Run(_Numpy):
    """numpy, where the steps are consecutive: each the one before it plus 1, and at least one."""

    def lookup(self, steps: Array, edges: Steps, values: npt.NDArray[Any]) -> Array:
        low, high = np.searchsorted(edges, (steps[0], steps[-1]), side="right")
        lengths = np.diff(edges[low:high], prepend=steps[0], append=steps[-1] + 1)
        return np.repeat(values[low : high + 1], lengths)


NUMPY: Numeric = _Numpy()
RUN: Numeric = _Run()
"""numpy again, for consecutive steps: the same numbers, and quicker."""


def on_host(m: Numeric) -> bool:
    """Whether a namespace is numpy's."""
    return isinstance(m, _Numpy)


class _Torch:
    """Everything stays on the steps' device, and nothing waits for it: no value is read back."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        # Apple's GPUs have no float64.
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._cos, self.exp, self.sqrt, self.tanh = torch.cos, torch.exp, torch.sqrt, torch.tanh
        self.where, self.clip = torch.where, torch.clip

    def half_wave(self, x: Array) -> Array:
        return self._cos(0.5 * x) ** 2

    def real(self, steps: Array) -> Array:
        return steps.to(self._dtype)

    def lookup(self, steps: Array, edges: Steps, values: npt.NDArray[Any]) -> Array:
        return self._table(values)[self._torch.bucketize(steps, self._table(edges), right=True)]

    def _table(self, values: npt.NDArray[Any]) -> Array:
        table = self._torch.from_numpy(values)
        if table.is_floating_point():
            table = table.to(self._dtype)
        return table.to(self._device, non_blocking=True)


class _Jax:
    """float64 where the process has enabled it, else float32, as JAX's own defaults go."""

    def __init__(self, jnp: Any) -> None:
        self._jnp = jnp
        self._cos, self.exp, self.sqrt, self.tanh = jnp.cos, jnp.exp, jnp.sqrt, jnp.tanh
        self.where = jnp.where

    def half_wave(self, x: Array) -> Array:
        return self._cos(0.5 * x) ** 2

    def real(self, steps: Array) -> Array:
        return steps.astype(float)

    def clip(self, x: Array, low: float | None, high: float | None) -> Array:
        return self._jnp.clip(x, low, high)

    def lookup(self, steps: Array, edges: Steps, values: npt.NDArray[Any]) -> Array:
        return self._jnp.asarray(values)[
            self._jnp.searchsorted(self._jnp.asarray(edges), steps, side="right")
        ]


def device_namespace(x: object) -> tuple[Numeric, Array] | None:
    """The namespace of a torch tensor or JAX array, and `x` clamped at 0; None for anything else.

    Raises TypeError for an array that does not hold integers.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        tensor: Any = x
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise TypeError(f"{tensor.dtype}")
        return _Torch(torch, tensor.device), tensor.to(torch.int64).clamp(min=0)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(x, jax.Array):
        jnp, array = jax.numpy, x
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(f"{array.dtype}")
        return _Jax(jnp), jnp.maximum(array, 0)
    return None
