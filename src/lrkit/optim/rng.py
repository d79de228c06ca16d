"""The state of every global random number generator that training draws from, as one value."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrkit.errors import StateError

__all__ = ["RngState"]


@dataclass(frozen=True, slots=True, eq=False)
class RngState:
    """The global generators of Python, numpy and torch (CPU, every CUDA device, MPS) at one moment.

    `cuda` is None where nobody had used CUDA yet: it is not started for this, because a process that has
    started it cannot fork workers. `seed` is torch's seed then, which is what CUDA's generators would
    have begun with.
    """

    python: tuple[Any, ...]
    numpy: Mapping[str, Any]
    torch_cpu: Tensor
    seed: int
    cuda: tuple[Tensor, ...] | None
    mps: Tensor | None

    @classmethod
    def capture(cls) -> RngState:
        """The generators as they stand now."""
        return cls(
            python=random.getstate(),
            numpy=_numpy_state(),
            torch_cpu=torch.get_rng_state(),
            seed=torch.initial_seed(),
            cuda=tuple(torch.cuda.get_rng_state_all()) if _cuda_is_used() else None,
            mps=torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        )

    def restore(self) -> None:
        """Put every generator back. Of CUDA devices, those that there are both here and in the state."""
        random.setstate(self.python)
        np.random.set_state(dict(self.numpy))
        if _cuda_is_used():
            if self.cuda is None:
                torch.cuda.manual_seed_all(self.seed)
            else:
                for device, state in enumerate(self.cuda[: torch.cuda.device_count()]):
                    torch.cuda.set_rng_state(state, device)
        if self.mps is not None and torch.backends.mps.is_available():
            torch.mps.set_rng_state(self.mps)
        torch.default_generator.set_state(self.torch_cpu)

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain data, which `torch.load(weights_only=True)` reads back."""
        version, words, gauss = self.python
        return {
            "version": 1,
            "python": [version, torch.tensor(words), gauss],
            "numpy": _plain(self.numpy),
            "torch_cpu": self.torch_cpu.clone(),
            "seed": self.seed,
            "cuda": None if self.cuda is None else [state.clone() for state in self.cuda],
            "mps": None if self.mps is None else self.mps.clone(),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> RngState:
        """What `to_dict` wrote. Raises StateError when a part is missing or has another form."""
        try:
            if saved["version"] != 1:
                raise StateError(
                    f"the random generators' state has version {saved['version']!r}, this lrkit reads 1:"
                    " update lrkit"
                )
            version, words, gauss = saved["python"]
            return cls(
                python=(version, tuple(words.tolist()), gauss),
                numpy=_arrays(saved["numpy"]),
                torch_cpu=saved["torch_cpu"].cpu(),
                seed=saved["seed"],
                cuda=None if saved["cuda"] is None else tuple(state.cpu() for state in saved["cuda"]),
                mps=None if saved["mps"] is None else saved["mps"].cpu(),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, StateError):
                raise
            raise StateError(
                f"this is no saved state of the random generators ({type(error).__name__}: {error}):"
                " load what RngState.to_dict() gave"
            ) from error


def _cuda_is_used() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch's own


def _numpy_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=False)
    return dict(state)


def _plain(value: Any) -> Any:
    """Arrays as int64 tensors, numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.int64))
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    """The way back; the words of numpy's generators are 32 bits wide."""
    if isinstance(value, Mapping):
        return {key: _arrays(entry) for key, entry in value.items()}
    return value.cpu().numpy().astype(np.uint32) if isinstance(value, Tensor) else value
