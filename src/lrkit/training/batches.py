"""Batches of any shape: where they live, how many samples they hold, and an endless stream of them that can resume.

Three kinds of loaders keep their place. A map-style DataLoader is *replayed*: the indices of each epoch are drawn
under a seed made of the run's seed and the epoch, so that any epoch can be entered at any batch. A loader with
`state_dict` and `load_state_dict` (torchdata, streaming data sets) is asked for its own. A list or tuple of batches is
walked by position. Any other iterable can be trained on, but not resumed.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from lrkit.errors import TaskError
from lrkit.training.seeding import derive_seed, seeded, torch_seeded

__all__ = ["BatchStream", "count_samples", "is_map_style", "is_stateful", "move_to"]

# A batch is whatever the user's loader gives and the user's loss takes: lrkit looks into it only to move and to count.
Batch = Any


def move_to(batch: Batch, device: torch.device) -> Batch:
    """`batch` with every tensor in it on `device`: tensors in dicts, tuples, lists, dataclasses; what has `.to`."""
    if type(batch) is tuple:  # most are, and are there: at once, since this is done for each update
        for item in batch:
            if type(item) is not torch.Tensor or item.device != device:
                break
        else:
            return batch
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        moved_items = {key: move_to(value, device) for key, value in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return moved_items
        like = copy.copy(batch)  # a defaultdict or a UserDict keeps what it is
        like.update(moved_items)
        return like
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move_to(item, device) for item in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(move_to(item, device) for item in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        moved = {f.name: move_to(getattr(batch, f.name), device) for f in dataclasses.fields(batch) if f.init}
        return dataclasses.replace(batch, **moved)
    return batch


def count_samples(batch: Batch) -> int:
    """How many samples a batch holds: the first axis of the first tensor in it, else its `len()`.

    Raises TaskError when neither is there: means over a data set would then weigh batches wrongly.
    """
    for tensor in _tensors(batch):
        return int(tensor.shape[0]) if tensor.ndim else 1
    if hasattr(batch, "__len__"):
        return len(batch)
    raise TaskError(
        f"cannot tell how many samples a batch of type {type(batch).__name__} holds: give it a __len__, "
        "or let the loader yield tensors, dicts, tuples or dataclasses of tensors"
    )


def _tensors(batch: Batch) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, list | tuple):
        for value in batch:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for field in dataclasses.fields(batch):
            yield from _tensors(getattr(batch, field.name))


def is_map_style(loader: object) -> bool:
    """Whether `loader` is a DataLoader whose samples have indices."""
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def is_stateful(loader: object) -> bool:
    """Whether `loader` can say where it stands and go there."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


class BatchStream:
    """Batches without end: when the loader is exhausted, the next epoch begins.

    `seed` orders the batches of a map-style DataLoader, whatever its own generator says, so that two streams with one
    seed give the same batches. Raises TaskError for a loader that gives no batch at all, and for one that can be
    walked only once (a generator) when its end is reached.
    """

    def __init__(self, loader: Iterable[Batch], *, seed: int) -> None:
        self._source = _source(loader, seed)
        self._epoch = 0
        self._position = 0
        self._batches: Iterator[Batch] | None = None

    @property
    def batches_per_epoch(self) -> int | None:
        """How many batches one pass has, None where the loader does not know."""
        return self._source.length

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> Batch:
        for _ in range(2):
            if self._batches is None:
                self._batches = self._source.epoch(self._epoch, self._position)
            try:
                batch = next(self._batches)
            except StopIteration:
                if self._position == 0:
                    raise TaskError(self._source.why_empty(self._epoch)) from None
                self._epoch, self._position, self._batches = self._epoch + 1, 0, None
                continue
            self._position += 1
            return batch
        raise TaskError(self._source.why_empty(self._epoch))

    def window(self, accumulate: int) -> list[Batch]:
        """The batches of one update: `accumulate` of them, fewer where the epoch ends (its rest is an update too)."""
        first = next(self)
        if accumulate == 1:
            return [first]
        length = self._source.length
        rest = accumulate - 1 if length is None else min(accumulate - 1, length - self._position)
        return [first, *itertools.islice(self, rest)]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as plain data. Raises TaskError for a loader that cannot be resumed."""
        return {"epoch": self._epoch, "position": self._position, "source": self._source.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`: the next batch is the one that would have come."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._source.load_state(state["source"])
        self._batches = None


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a DataLoader over a stream has a __len__ that only says so
        return None


class _Source(Protocol):
    """One kind of loader: how long an epoch is, how to walk one from a position, and what else a resume needs."""

    length: int | None

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]: ...

    def state(self) -> Any: ...

    def load_state(self, state: Any) -> None: ...

    def why_empty(self, epoch: int) -> str: ...


def _source(loader: Iterable[Batch], seed: int) -> _Source:
    if is_stateful(loader):
        return _Stateful(loader)
    if isinstance(loader, DataLoader) and is_map_style(loader):
        return _Replayed(loader, seed)
    if isinstance(loader, list | tuple):
        return _Listed(loader)
    if isinstance(loader, str | bytes) or not hasattr(loader, "__iter__"):
        raise TaskError(
            f"a loader must be a DataLoader or another iterable of batches, not {type(loader).__name__}: {loader!r:.80}"
        )
    return _Opaque(loader)


_EMPTY = (
    "the loader gave no batch: is its data set empty, or drop_last=True with fewer samples than one batch?"
)


class _Replayed:
    """A map-style DataLoader, its index batches drawn anew under (seed, epoch).

    Augmentations in worker processes are seeded per epoch too; entering an epoch in its middle replays the indices
    exactly, and the workers' random numbers from the start of that epoch's stream.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self._loader, self._seed = loader, seed
        self.length: int | None = len(loader)

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]:
        loader, seed = self._loader, derive_seed(self._seed, epoch)
        drawn = torch_seeded if _drawn_on_the_cpu(loader) else seeded
        with drawn(seed), _samplers_seeded(loader, seed, epoch):
            indices = list(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
        pinned = loader.pin_memory and torch.cuda.is_available()
        if not (loader.num_workers or pinned):
            return map(_fetch(loader), indices[position:])
        chosen: dict[str, Any] = (
            {"batch_size": None, "sampler": indices[position:]}
            if loader.batch_sampler is None
            else {"batch_sampler": indices[position:]}
        )
        if loader.num_workers:
            chosen |= {
                "prefetch_factor": loader.prefetch_factor,
                "multiprocessing_context": loader.multiprocessing_context,
            }
        return iter(
            DataLoader(
                loader.dataset,
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=pinned,
                timeout=loader.timeout,
                worker_init_fn=loader.worker_init_fn,
                generator=torch.Generator().manual_seed(seed),
                **chosen,
            )
        )

    def state(self) -> Any:
        return {"seed": self._seed}

    def load_state(self, state: Any) -> None:
        self._seed = state["seed"]

    def why_empty(self, epoch: int) -> str:
        return _EMPTY


def _drawn_on_the_cpu(loader: DataLoader[Any]) -> bool:
    """Whether its batches are drawn by samplers of torch's that use the generator of the CPU and no other."""
    batched = loader.batch_sampler
    sampler = loader.sampler if batched is None else getattr(batched, "sampler", None)
    known = type(sampler) in (RandomSampler, SequentialSampler, SubsetRandomSampler)
    return known and (batched is None or type(batched) is BatchSampler)


def _samplers(loader: DataLoader[Any]) -> list[Any]:
    """The sampler, the batch sampler and the sampler in that, as far as there are any."""
    batch_sampler = loader.batch_sampler
    found = (loader.sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
    return [sampler for sampler in found if sampler is not None]


def _fetch(loader: DataLoader[Any]) -> Callable[[Any], Batch]:
    """What a DataLoader without workers makes of one entry of its sampler: the same, without its bookkeeping."""
    dataset: Any = loader.dataset  # `__getitems__` is torch's own protocol, which its type does not have
    collate = loader.collate_fn
    if loader.batch_sampler is None:
        return lambda index: collate(dataset[index])
    together = getattr(dataset, "__getitems__", None)
    if together:
        return lambda indices: collate(together(indices))
    return lambda indices: collate([dataset[index] for index in indices])


@contextmanager
def _samplers_seeded(loader: DataLoader[Any], seed: int, epoch: int) -> Iterator[None]:
    """The samplers' own generators and epochs, set within and as found afterwards."""
    samplers = _samplers(loader)
    generators = {
        id(g): g for s in samplers if isinstance(g := getattr(s, "generator", None), torch.Generator)
    }
    generator_states = [(g, g.get_state()) for g in generators.values()]
    epochs = [(s, s.epoch) for s in samplers if hasattr(s, "set_epoch") and hasattr(s, "epoch")]
    try:
        for generator in generators.values():
            generator.manual_seed(seed)
        for sampler, _ in epochs:
            sampler.set_epoch(epoch)
        yield
    finally:
        for generator, state in generator_states:
            generator.set_state(state)
        for sampler, before in epochs:
            sampler.epoch = before


# Where a loader with a state stood when lrkit first met it: every stream over it begins there, so that trials that
# share one loader see the same batches.
_FOUND_AT: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


class _Stateful:
    """A loader that keeps its own place. Its order is its own: seed it in a factory `(seed) -> loader`."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._start = _FOUND_AT.setdefault(loader, copy.deepcopy(loader.state_dict()))
        self._fresh = True
        self.length = _length(loader)

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]:
        if self._fresh and position == 0 and epoch == 0:
            self._loader.load_state_dict(self._start)
        self._fresh = False
        return iter(self._loader)

    def state(self) -> Any:
        return self._loader.state_dict()

    def load_state(self, state: Any) -> None:
        self._fresh = False
        self._loader.load_state_dict(state)

    def why_empty(self, epoch: int) -> str:
        return _EMPTY


class _Listed:
    """A list or tuple of batches, walked in its order."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self.length: int | None = len(batches)

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]:
        return iter(self._batches[position:])

    def state(self) -> Any:
        return None

    def load_state(self, state: Any) -> None:
        del state

    def why_empty(self, epoch: int) -> str:
        return _EMPTY


class _Opaque:
    """Any other iterable: its order and its place are unknown."""

    def __init__(self, loader: Iterable[Batch]) -> None:
        self._loader = loader
        self.length = _length(loader)

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]:
        return iter(self._loader)

    def state(self) -> Any:
        raise TaskError(
            f"a {type(self._loader).__name__} cannot be resumed where it stood: pass a map-style DataLoader, "
            "a loader with state_dict (torchdata's StatefulDataLoader), or a function (seed) -> such a loader"
        )

    def load_state(self, state: Any) -> None:
        self.state()

    def why_empty(self, epoch: int) -> str:
        if epoch > 0:
            return (
                f"the {type(self._loader).__name__} is used up after {epoch} epoch(s) and cannot start again: "
                "pass something that can be iterated more than once, or a function (seed) -> loader"
            )
        return _EMPTY
