"""Functions of nested tensors recorded as graphs of flat ones: what is called at each step unpacks no nest by its spec.

Nests are builtin containers; what else is in them belongs to the graph, as a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["FlatGraph"]


class FlatGraph:
    """What `function` does with tensors nested like `args`: recorded by calling it once, which may change them.

    rewrite: makes another graph of the recorded one, before it is used. compiled: whether TorchInductor compiles it,
    with random operations as eager mode has them, so that masks are those of a plain run.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        rewrite: Callable[[GraphModule], GraphModule],
        compiled: bool = False,
    ) -> None:
        self._result: Any = None
        given = list(_tensors(args))

        def flat(*tensors: Tensor) -> list[Tensor]:
            result = function(*_filled(args, iter(tensors)))
            found = list(_tensors(result))
            self._result = _filled(result, iter([None] * len(found)))
            return found

        module = rewrite(make_fx(flat)(*given))
        self._run: Callable[..., Any] = _compiled(module, given) if compiled else module.forward

    def __call__(self, *args: Any) -> Any:
        """The result, nested as the function's own."""
        return _filled(self._result, iter(self._run(*_tensors(args))), anything=True)


def _compiled(module: GraphModule, given: list[Tensor]) -> Callable[..., Any]:
    # Not torch.compile: its guards ask at each step what the engine knows, and take longer than a small graph.
    from torch._inductor import compile

    run: Callable[..., Any] = compile(module, [tensor.clone() for tensor in given], options=_OPTIONS)
    return run


_OPTIONS = {"fallback_random": True}


def _tensors(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, dict):
        for value in nest.values():
            yield from _tensors(value)
    elif isinstance(nest, list | tuple):
        for value in nest:
            yield from _tensors(value)


def _filled(nest: Any, tensors: Iterator[Any], *, anything: bool = False) -> Any:
    """The nest with the next of `tensors` in place of each of its own, or of each None where `anything` may come."""
    if isinstance(nest, Tensor) or (anything and nest is None):
        return next(tensors)
    if isinstance(nest, dict):
        return {key: _filled(value, tensors, anything=anything) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        filled = [_filled(value, tensors, anything=anything) for value in nest]
        return type(nest)(*filled) if hasattr(nest, "_fields") else type(nest)(filled)
    return nest
