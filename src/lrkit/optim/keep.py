"""Remembering values so that they can be put back into the very same tensors, containers and generators.

Each object is remembered once, however many ways lead to it, so tied parameters and shared groups stay
shared. Objects of other kinds are put back by reference: their own insides are not looked at.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lrkit.errors import TaskError

__all__ = ["Keeper"]

_ATOMS = (type(None), bool, int, float, complex, str, bytes)


class Keeper:
    """Remembers whatever it is shown, and puts it all back at once.

    `strangers` are objects that are left as they are, even when they are met inside something remembered:
    a data set that a sampler refers to, say.
    """

    def __init__(self, strangers: Iterable[object] = ()) -> None:
        # The objects are held as well as their ids, so that no id can come to mean another object.
        self._seen: dict[int, object] = {id(stranger): stranger for stranger in strangers}
        self._undo: list[Callable[[], object]] = []
        self._deeper: list[tuple[type, Callable[[Any], None]]] = []

    def on(self, kind: type, remember: Callable[[Any], None]) -> None:
        """Have objects of `kind` remembered by `remember` where they are met, instead of by reference."""
        self._deeper.append((kind, remember))

    def later(self, undo: Callable[[], object]) -> None:
        """Have `undo` called when all is put back; it must come to the same however often it is called."""
        self._undo.append(undo)

    def put_back(self) -> None:
        """Put everything back, the last remembered first. If something fails, the rest still comes back."""
        failures: list[Exception] = []
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def new(self, value: object) -> bool:
        """Whether `value` is met for the first time."""
        if id(value) in self._seen:
            return False
        self._seen[id(value)] = value
        return True

    def keep(self, value: Any) -> None:
        """Remember `value` and all that it contains."""
        if type(value) in _ATOMS or not self.new(value):
            return
        for kind, remember in self._deeper:
            if isinstance(value, kind):
                remember(value)
                return
        if isinstance(value, Tensor):
            self._keep_tensor(value)
        elif isinstance(value, dict):
            self._keep_dict(value)
        elif isinstance(value, list | deque):
            self._keep_sequence(value)
        elif isinstance(value, set):
            self._keep_set(value)
        elif isinstance(value, tuple):
            for entry in value:
                self.keep(entry)
        else:
            self._keep_other(value)

    def attributes(self, owner: object) -> None:
        """Remember which attributes `owner` has, and what they contain."""
        self.keep(vars(owner))

    def atoms(self, owner: object) -> None:
        """Remember the attributes of `owner` that are numbers, strings or None, and nothing of the others."""
        known = {
            name: value for name, value in getattr(owner, "__dict__", {}).items() if type(value) in _ATOMS
        }
        self.later(lambda: vars(owner).update(known) if known else None)

    def _keep_dict(self, value: dict[Any, Any]) -> None:
        items = list(value.items())
        for _, entry in items:
            self.keep(entry)

        def undo() -> None:
            value.clear()
            value.update(items)

        self.later(undo)

    def _keep_sequence(self, value: list[Any] | deque[Any]) -> None:
        entries = list(value)
        for entry in entries:
            self.keep(entry)

        def undo() -> None:
            value.clear()
            value.extend(entries)

        self.later(undo)

    def _keep_set(self, value: set[Any]) -> None:
        entries = set(value)

        def undo() -> None:
            value.clear()
            value.update(entries)

        self.later(undo)

    def _keep_other(self, value: Any) -> None:
        if isinstance(value, np.ndarray):
            array = value.copy()
            self.later(partial(np.copyto, value, array))
        elif isinstance(value, torch.Generator):
            state = value.get_state()
            self.later(partial(value.set_state, state))
        elif isinstance(value, random.Random):
            python = value.getstate()
            self.later(partial(value.setstate, python))
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator.state
            self.later(partial(setattr, value.bit_generator, "state", bits))
        elif isinstance(value, np.random.RandomState):
            legacy = value.get_state()
            self.later(partial(value.set_state, legacy))

    def _keep_tensor(self, tensor: Tensor) -> None:
        if is_lazy(tensor):
            raise TaskError(
                "a lazy module has no values to remember yet: run one batch through the model first"
            )
        leaf, wants = tensor.is_leaf, tensor.requires_grad
        grad = tensor.grad if leaf else None
        self.keep(grad)
        # A second window onto the same memory, for when `tensor.data = ...` makes the tensor look elsewhere.
        place = tensor.data
        value = _unrepeated(place).clone()

        def undo() -> None:
            if not _same_place(tensor, place):
                tensor.data = place
            with torch.inference_mode(tensor.is_inference()):
                _unrepeated(tensor.data).copy_(value)
            if leaf:
                tensor.requires_grad_(wants)
                tensor.grad = grad

        self.later(undo)


def _same_place(tensor: Tensor, place: Tensor) -> bool:
    """Whether both are the same window onto the same memory; not known of layouts other than strided."""
    if is_traceable_wrapper_subclass(tensor):  # a DTensor, say: its memory is that of the tensors inside
        return True
    if tensor.layout != torch.strided or place.layout != torch.strided:
        return False
    return (
        tensor.device == place.device
        and tensor.dtype == place.dtype
        and tensor.data_ptr() == place.data_ptr()
        and tensor.shape == place.shape
        and tensor.stride() == place.stride()
    )


def _unrepeated(tensor: Tensor) -> Tensor:
    """One copy of what an expanded tensor shows many times over, because only that can be written."""
    if tensor.layout == torch.strided:
        for dimension, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if size > 1 and stride == 0:
                tensor = tensor.narrow(dimension, 0, 1)
    return tensor
