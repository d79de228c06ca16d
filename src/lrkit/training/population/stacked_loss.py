"""The task's loss over a stack of members: gradients of all of them in one pass, and measurements of all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrkit.training.batches import Batch
from lrkit.training.build import scalar_loss
from lrkit.training.precision import Precision
from lrkit.training.task import Task

__all__ = ["StackedLoss"]

Tensors = dict[str, Tensor]


class _Called(nn.Module):
    """The model inside a module whose call is a function of the model: what `functional_call` can swap tensors in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module, Batch], Any], batch: Batch) -> Any:
        return function(self.model, batch)


class StackedLoss:
    """Losses, gradients and measurements of stacked members.

    `model` is a whole model on its device, whose own tensors are never read: a skeleton on the meta device would break
    tied weights without a word. `constants` are the parameters that are not trained; where `mixed` they are stacked
    too, and so are the batches, since members of several seeds differ in both.
    """

    def __init__(
        self, task: Task, model: nn.Module, precision: Precision, *, clip: float | None, mixed: bool
    ) -> None:
        self._task, self._precision, self._clip, self._mixed = task, precision, clip, mixed
        self._called = _Called(model)

    def train(self) -> None:
        """Be in the mode of training."""
        self._called.train()

    def gradients(
        self, trainable: Tensors, constants: Tensors, buffers: Tensors, window: Sequence[Batch]
    ) -> tuple[Tensor, Tensors, Tensors]:
        """Mean loss over the window (members,), gradients clipped member by member, and the buffers afterwards."""
        axis = 0 if self._mixed else None
        # One generator, one mask: every member gets what a plain run of that seed draws.
        pass_over = vmap(
            grad_and_value(self._one, has_aux=True),
            in_dims=(0, axis, 0, axis, None),
            randomness="error" if self._mixed else "same",
        )
        total: Tensors = {}
        losses = []
        for batch in window:
            found, (_, (loss, buffers)) = pass_over(trainable, constants, buffers, batch, len(window))
            losses.append(loss)
            total = {name: total[name] + found[name] for name in found} if total else found
        mean = losses[0] if len(losses) == 1 else torch.stack(losses).mean(dim=0)
        return mean, _clipped(total, self._clip), buffers

    def measure(
        self,
        tensors: Tensors,
        constants: Tensors,
        functions: Sequence[Callable[[nn.Module, Batch], Any]],
        batch: Batch,
    ) -> Tensor:
        """The value of each function for each member on one batch, in eval mode: (functions, members)."""

        def one(own: Tensors, shared: Tensors) -> list[Tensor]:
            with _math_attention(), self._precision.forward():
                tensors = _named({**own, **shared})
                values = [functional_call(self._called, tensors, (function, batch)) for function in functions]
            return [torch.as_tensor(value).reshape(()) for value in values]

        modes = [(module, module.training) for module in self._called.modules()]
        try:
            self._called.eval()
            with torch.no_grad():
                axes = (0, 0 if self._mixed else None)
                found = vmap(one, in_dims=axes, randomness="same")(tensors, constants)
                return torch.stack([value.cpu().double() for value in found])
        finally:
            for module, training in modes:
                module.training = training

    def _one(
        self, trainable: Tensors, constants: Tensors, buffers: Tensors, batch: Batch, share: int
    ) -> tuple[Tensor, tuple[Tensor, Tensors]]:
        tensors = _named({**trainable, **constants, **buffers})
        with _math_attention(), self._precision.forward():
            given = functional_call(self._called, tensors, (self._task.loss, batch))
        value = scalar_loss(self._task.name, given, batch).reshape(())
        # functional_call leaves in the dict what the model put in the place of a buffer.
        return value if share == 1 else value / share, (
            value,
            {name: tensors[f"model.{name}"] for name in buffers},
        )


def _named(tensors: Tensors) -> Tensors:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


@contextmanager
def _math_attention() -> Iterator[None]:
    """Attention as matrix products: the fused kernels have no batching rule, and would run member by member."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _clipped(gradients: Tensors, largest: float | None) -> Tensors:
    """As `torch.nn.utils.clip_grad_norm_`, with a norm for each member."""
    if largest is None:
        return gradients
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients.values()])
    factor = (largest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    return {name: g * factor.to(g.dtype).view(-1, *[1] * (g.ndim - 1)) for name, g in gradients.items()}
