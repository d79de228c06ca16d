"""snapshot: everything that a probe may change, put back bit for bit and in place when the probe is over."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import TracebackType

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrkit.optim.hand import Hand
from lrkit.optim.interrupts import Shield
from lrkit.optim.keep import Keeper
from lrkit.optim.positions import keep_position
from lrkit.optim.registry import hands_on
from lrkit.optim.rng import RngState

__all__ = ["Snapshot", "snapshot"]

_Scaler = torch.amp.GradScaler


def snapshot(
    model: nn.Module | Iterable[nn.Module],
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    scaler: _Scaler | None = None,
    loaders: Iterable[object] = (),
    schedulers: Iterable[object] = (),
) -> Snapshot:
    """A context manager that takes back what its block does to these objects and to the random generators.

    Remembered on entering, put back on leaving, in memory only: parameters and buffers (in the same
    storages, so that CUDA graphs, compiled modules and other tensors that share them stay valid), `.grad`
    and `requires_grad`, each module's mode, hooks and attributes, the optimizer's state and groups, the
    grad-scaler, the schedulers (those of lrkit on this optimizer without being named), the loaders'
    position, and the generators of Python, numpy and torch on every device. What the block added is gone,
    what it removed or replaced is back.

    It is put back when the block returns, raises or is interrupted; a Ctrl-C that comes in the meantime
    waits until all is in place. It costs one copy of the tensors. Attributes that are neither numbers,
    containers, tensors nor generators are put back by reference: what the block changed inside them
    stays.

    Raises TaskError on entering for lazy modules that have not seen a batch, and for iterators among the
    loaders.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> before = model.weight.clone()
    >>> with snapshot(model):
    ...     _ = torch.nn.init.zeros_(model.weight)
    >>> torch.equal(model.weight, before)
    True
    """
    return Snapshot(
        modules=[model] if isinstance(model, nn.Module) else list(model),
        optimizers=[optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ()),
        scaler=scaler,
        loaders=list(loaders),
        schedulers=list(schedulers),
    )


class Snapshot:
    """What `snapshot()` gives: enter it as often as need be, also within itself."""

    def __init__(
        self,
        *,
        modules: list[nn.Module],
        optimizers: list[Optimizer],
        scaler: _Scaler | None,
        loaders: list[object],
        schedulers: list[object],
    ) -> None:
        self._modules = modules
        self._optimizers = optimizers
        self._scaler = scaler
        self._loaders = loaders
        self._schedulers = schedulers
        self._open: list[tuple[Keeper, Shield]] = []

    def __enter__(self) -> None:
        shield = Shield(Snapshot.__exit__.__code__)
        self._open.append((self._remember(), shield))
        # Last: an interrupt before this line finds nothing to put back.
        shield.raise_()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keeper, shield = self._open.pop()
        shield.raise_()
        try:
            keeper.put_back()
        finally:
            shield.lower()

    def _remember(self) -> Keeper:
        keeper = Keeper()
        keeper.later(RngState.capture().restore)
        keeper.on(nn.Module, partial(_keep_module, keeper))
        keeper.on(Hand, partial(_keep_hand, keeper))
        for kind in (Optimizer, LRScheduler, _Scaler):
            keeper.on(kind, keeper.attributes)
        for loader in self._loaders:
            keep_position(keeper, loader)
        for optimizer in self._optimizers:
            keeper.keep(hands_on(optimizer))
            keeper.keep(optimizer)
        for module in self._modules:
            keeper.keep(module)
        if self._scaler is not None:
            keeper.keep(self._scaler)
        for scheduler in self._schedulers:
            if keeper.new(scheduler):
                keeper.attributes(scheduler)
        return keeper


def _keep_module(keeper: Keeper, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        # Its attributes live in the interpreter of TorchScript; tensors and modes can be reached.
        training = module.training
        keeper.later(lambda: setattr(module, "training", training))
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            keeper.keep(tensor)
        for child in module.children():
            keeper.keep(child)
        return
    kind = type(module)
    keeper.attributes(module)

    def undo() -> None:
        if type(module) is not kind:  # a parametrisation made it an instance of a class of its own
            module.__class__ = kind

    keeper.later(undo)


def _keep_hand(keeper: Keeper, hand: Hand) -> None:
    put_back = hand.remembered()

    def undo() -> None:
        put_back()
        hand.move(hand.step)  # what was read ahead since belongs to other steps

    keeper.later(undo)
