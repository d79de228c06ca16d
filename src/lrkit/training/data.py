"""Which loader trains, which validates: the user's own, or a seeded part of the training set held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, Subset

from lrkit.errors import TaskError
from lrkit.training.batches import is_map_style, is_stateful
from lrkit.training.seeding import derive_seed

if TYPE_CHECKING:
    from lrkit.training.task import Task

__all__ = ["Loader", "Split", "resolve_loader", "search_split", "training_loader"]

Loader = Iterable[Any]


@dataclass(frozen=True, slots=True)
class Split:
    """What the search trains on and what it judges by; `held_out` says that the second was cut from the first."""

    train: Loader
    validation: Loader
    held_out: bool


def resolve_loader(loader: Loader | Callable[[int], Loader], seed: int, *, which: str) -> Loader:
    """The loader itself: a function `(seed) -> loader` is called. Raises TaskError naming `which` loader is wrong."""
    if hasattr(loader, "__iter__") and not isinstance(loader, str | bytes | type):
        return loader
    if callable(loader):
        try:
            made = loader(seed)
        except TypeError as error:
            raise TaskError(
                f"the {which} loader's factory must take one seed, (seed) -> DataLoader: {error}"
            ) from error
        if hasattr(made, "__iter__") and not callable(made):
            return made
        raise TaskError(
            f"the {which} loader's factory gave a {type(made).__name__}, not an iterable of batches"
        )
    raise TaskError(
        f"the {which} loader must be a DataLoader, another iterable of batches, or a function (seed) -> DataLoader, "
        f"not {type(loader).__name__}"
    )


def search_split(task: Task, *, seed: int | None = None) -> Split:
    """What a search trains and validates on; with `seed` (a run's) a factory's loader is made for that run.

    Without a validation loader, `task.holdout` of the training set is held out, drawn under `task.seed` alone, whatever
    the run's seed. Raises TaskError where the training set cannot be cut.
    """
    train = resolve_loader(task.train, task.seed if seed is None else seed, which="train")
    if task.validation is not None:
        return Split(train, resolve_loader(task.validation, task.seed, which="validation"), held_out=False)
    return _hold_out(train, task.holdout, task.seed)


def training_loader(task: Task, *, seed: int) -> Loader:
    """What the final training uses: `final_train` if the task has one, else all of `train`, held-out part included."""
    chosen, which = (task.train, "train") if task.final_train is None else (task.final_train, "final_train")
    return resolve_loader(chosen, seed, which=which)


def _hold_out(loader: Loader, fraction: float, seed: int) -> Split:
    if is_stateful(loader) or not isinstance(loader, DataLoader) or not is_map_style(loader):
        raise TaskError(
            f"no validation loader, and a {type(loader).__name__} without sample indices cannot be cut in two: "
            "pass validation=, or a map-style DataLoader as train="
        )
    dataset: Any = loader.dataset  # map-style data sets have a length, which torch's type does not say
    total, shuffle = len(dataset), _shuffles(loader)
    if len(loader) == 0:
        why = (
            f"drop_last=True and fewer samples ({total}) than one batch" if total else "its data set is empty"
        )
        raise TaskError(f"the train loader gives no batch: {why}; give it more samples, or smaller batches")
    count = round(fraction * total)
    if total < 2 or not 0 < count < total:
        raise TaskError(
            f"no validation loader, and holding out {fraction:.0%} of {total} training samples leaves one part empty: "
            "pass validation=, or more data"
        )
    shuffled = torch.randperm(total, generator=torch.Generator().manual_seed(derive_seed(seed, 0x5EED)))
    kept, held = sorted(shuffled[count:].tolist()), sorted(shuffled[:count].tolist())
    return Split(
        train=_on_subset(loader, kept, shuffle=shuffle),
        validation=_on_subset(loader, held, shuffle=False),
        held_out=True,
    )


def _shuffles(loader: DataLoader[Any]) -> bool:
    dataset: Any = loader.dataset
    sampler = loader.sampler
    if type(loader.batch_sampler) is BatchSampler:
        if type(sampler) is SequentialSampler:
            return False
        # num_samples set by hand, or replacement, means that an epoch is not one pass: not ours to reinterpret.
        if type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(dataset):
            return True
    name = type(sampler if type(loader.batch_sampler) is BatchSampler else loader.batch_sampler).__name__
    raise TaskError(
        f"no validation loader, and the train loader's {name} cannot be cut to a part of the data set: pass validation="
    )


def _on_subset(loader: DataLoader[Any], indices: list[int], *, shuffle: bool) -> DataLoader[Any]:
    return DataLoader(
        Subset(loader.dataset, indices),
        batch_size=loader.batch_size,
        shuffle=shuffle,
        drop_last=shuffle and loader.drop_last and len(indices) >= (loader.batch_size or 1),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context if loader.num_workers else None,
        prefetch_factor=loader.prefetch_factor if loader.num_workers else None,
    )
