"""The position of a data loader: which samples come next, as far as that shows from outside."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import DataLoader, Sampler

from lrkit.errors import TaskError
from lrkit.optim.keep import Keeper

__all__ = ["keep_position"]


@runtime_checkable
class Stateful(Protocol):
    """What torchdata's loaders, streaming data sets and lrkit's own streams offer."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """Stand there."""


def keep_position(keeper: Keeper, loader: object) -> None:
    """Remember where `loader` stands.

    A loader with `state_dict` and `load_state_dict` says so itself. Of a DataLoader, the generators of
    loader and samplers and the samplers' own values (`epoch`) are remembered, which is what the next
    `iter(loader)` draws from; a plain iterable keeps its numbers and strings (`epoch`). Raises TaskError
    for an iterator: what it gave is gone.
    """
    if isinstance(loader, Iterator):
        raise TaskError(
            f"the position of a {type(loader).__name__} cannot be put back, what it gave is gone: pass the"
            " loader that it was made from, or an object with state_dict() and load_state_dict()"
        )
    if isinstance(loader, DataLoader):
        _keep_data_loader(keeper, loader)
    elif isinstance(loader, Stateful):
        _keep_stateful(keeper, loader)
    else:
        keeper.atoms(loader)


def _keep_data_loader(keeper: Keeper, loader: DataLoader[Any]) -> None:
    keeper.new(loader.dataset)  # a list of samples is remembered by reference
    keeper.on(Sampler, partial(_keep_sampler, keeper))
    if isinstance(loader, Stateful):
        _keep_stateful(keeper, loader)
    if isinstance(loader.dataset, Stateful):
        _keep_stateful(keeper, loader.dataset)
    keeper.atoms(loader)
    keeper.atoms(loader.dataset)
    for part in (loader.generator, loader.sampler, loader.batch_sampler):
        keeper.keep(part)


def _keep_sampler(keeper: Keeper, sampler: Any) -> None:
    if isinstance(sampler, Stateful):
        _keep_stateful(keeper, sampler)
    keeper.attributes(sampler)


def _keep_stateful(keeper: Keeper, loader: Stateful) -> None:
    state = deepcopy(loader.state_dict())
    keeper.later(lambda: loader.load_state_dict(deepcopy(state)))
