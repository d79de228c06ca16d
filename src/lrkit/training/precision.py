"""Mixed precision: autocast for the forward pass, and a grad-scaler where float16 needs one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["Precision", "PrecisionName"]

PrecisionName = Literal["float32", "bfloat16", "float16"]

_AS_IT_IS = nullcontext()
_AUTOCAST: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """How one training computes: "float32" as the model is, "bfloat16" or "float16" under `torch.amp.autocast`.

    float16 alone scales its gradients: bfloat16 has float32's range.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self._dtype = _AUTOCAST.get(name)
        self._device = device
        self.scaler = torch.amp.GradScaler(device.type) if name == "float16" else None

    def forward(self) -> AbstractContextManager[Any]:
        """The context for a forward pass and its loss."""
        return _AS_IT_IS if self._dtype is None else torch.autocast(self._device.type, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled where this precision scales."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]  # Tensor.backward

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring the gradients back to their true size, before they are measured or clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Update the parameters; a grad-scaler skips the update when a gradient overflowed."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state, empty where there is none."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the scaler's state."""
        if self.scaler is not None:
            self.scaler.load_state_dict(dict(state))
