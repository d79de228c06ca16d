"""Dropout with random numbers of its own, where several runs advance in threads and the process has one generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

__all__ = ["own_draws"]

# The dimensions of what each takes; of dropout proper, any. A layer for features draws one number for each of them.
_TAKES: dict[type[nn.Module], int | None] = {
    nn.Dropout: None,
    nn.Dropout1d: 3,
    nn.Dropout2d: 4,
    nn.Dropout3d: 5,
}


@contextmanager
def own_draws(model: nn.Module, state: Tensor) -> Iterator[Generator]:
    """Within, torch's dropout layers in `model` draw from a generator of their own, which begins at `state`.

    Their masks are those that torch's own forward would draw if the process's generator stood there. What draws in
    another way, `F.dropout` in a module's forward or a random transform, still moves that one.
    """
    generator = Generator()
    generator.set_state(state)
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, _DropoutNd) and type(layer) in _TAKES and "forward" not in layer.__dict__
    ]
    for layer in layers:
        setattr(layer, "forward", _drawing_from(generator, layer))  # noqa: B010  # a method, to type checkers
    try:
        yield generator
    finally:
        for layer in layers:
            del layer.forward


def _drawing_from(generator: Generator, layer: _DropoutNd) -> Callable[[Tensor], Tensor]:
    plain: Callable[[Tensor], Tensor] = layer.forward
    dimensions = _TAKES[type(layer)]

    def forward(input: Tensor) -> Tensor:
        p = layer.p
        if not (layer.training and 0.0 < p < 1.0 and dimensions in (None, input.dim())):
            return plain(input)
        one = torch.empty_like(input)
        if dimensions is not None:
            one = input.new_empty(*input.shape[:2], *[1] * (dimensions - 2))
        mask = one.bernoulli_(1.0 - p, generator=generator).div_(1.0 - p)
        return input.mul_(mask) if layer.inplace else input * mask

    return forward
