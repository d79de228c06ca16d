"""Measuring a model on a loader: the loss and the task's metrics, as means over samples or over the whole set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lrkit.errors import TaskError
from lrkit.training.batches import Batch, count_samples, move_to
from lrkit.training.measurement import Measurement, PartialSums, measured

__all__ = ["BatchMetric", "Metric", "WholeSetMetric", "measure", "supervised"]

BatchMetric = Callable[[nn.Module, Batch], float | Tensor]


@runtime_checkable
class WholeSetMetric(Protocol):
    """A metric that is no mean over samples (F1, R2, AUC): collects with `update`, answers with `compute`."""

    def update(self, model: nn.Module, batch: Batch) -> None:
        """Take in one batch."""

    def compute(self) -> float | Tensor:
        """The metric over all that was taken in."""

    def reset(self) -> None:
        """Forget all that was taken in."""


Metric = BatchMetric | WholeSetMetric


def supervised(criterion: Any) -> Any:
    """Adapt what takes `(output, target)` to batches that are `(input, target)` pairs.

    A criterion or function becomes `(model, batch) -> value`: `supervised(torch.nn.CrossEntropyLoss())` is a loss. An
    object with `update`, `compute` and `reset` (every torchmetrics metric) becomes the like over `(model, batch)`.
    Further items of a batch are refused, since what they mean is not for lrkit to guess.

    >>> loss = supervised(torch.nn.MSELoss())
    >>> loss(nn.Identity(), (torch.zeros(3), torch.ones(3)))
    tensor(1.)
    """
    if all(hasattr(criterion, name) for name in ("update", "compute", "reset")):
        return _SupervisedMetric(criterion)
    return _Supervised(criterion)


class _Supervised:
    """`(output, target) -> value` over `(input, target)` batches; an object, so that it can be sent to a process."""

    def __init__(self, criterion: Any) -> None:
        self._criterion = criterion

    def __call__(self, model: nn.Module, batch: Batch) -> Any:
        inputs, target = _pair(batch)
        return self._criterion(model(inputs), target)


class _SupervisedMetric:
    """A whole-set metric over `(output, target)`, fed from `(input, target)` batches."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def update(self, model: nn.Module, batch: Batch) -> None:
        inputs, target = _pair(batch)
        if isinstance(self._metric, nn.Module):
            self._metric.to(target.device)  # torchmetrics keep their sums on a device
        self._metric.update(model(inputs), target)

    def compute(self) -> Any:
        return self._metric.compute()

    def reset(self) -> None:
        self._metric.reset()


def _pair(batch: Batch) -> tuple[Any, Any]:
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        shape = (
            f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        )
        raise TaskError(
            f"supervised() needs batches that are (input, target) pairs, not a {shape}: write (model, batch) -> scalar"
        )
    return batch[0], batch[1]


def measure(
    model: nn.Module,
    loader: Iterable[Batch],
    *,
    loss: Callable[[nn.Module, Batch], Tensor],
    metrics: Mapping[str, Metric],
    device: torch.device,
    which: str,
) -> Measurement:
    """`<which> loss` and `<which> <metric>` over one pass, in eval mode, without gradients.

    Losses and batch metrics are weighted by the samples of each batch, so that a short last batch counts for what it
    is. Every module's train/eval mode is as found afterwards. Raises TaskError on an empty loader.
    """
    means: dict[str, Any] = {"loss": loss}
    means |= {name: metric for name, metric in metrics.items() if not isinstance(metric, WholeSetMetric)}
    whole = {name: metric for name, metric in metrics.items() if isinstance(metric, WholeSetMetric)}
    sums = PartialSums()
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        for whole_metric in whole.values():
            whole_metric.reset()
        with torch.no_grad():
            for batch in loader:
                batch = move_to(batch, device)
                sums.add(count_samples(batch), [float(mean(model, batch)) for mean in means.values()])
                for whole_metric in whole.values():
                    whole_metric.update(model, batch)
    finally:
        for module, training in modes:
            module.training = training
    if not sums.samples:
        raise TaskError(f"the {which} loader gave no batch: is its data set empty?")
    found = measured(which, list(means), sums.shares(), sums.parts())
    values = found.values | {f"{which} {name}": float(metric.compute()) for name, metric in whole.items()}
    ordered = [f"{which} {name}" for name in ["loss", *metrics]]
    return Measurement({key: values[key] for key in ordered}, found.parts)
