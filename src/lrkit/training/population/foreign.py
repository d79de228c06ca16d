"""An optimizer without a written rule: it runs itself, at lr 1, over the stacked parameters; its step is then scaled.

Exact for every update that is linear in lr and elementwise, whoever wrote it. Whether it is so is not known here: it
is found out by comparing with a plain run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.training.population.start import MemberStart
from lrkit.training.population.unfit import Unfit
from lrkit.training.population.updates import Tensors, stacked_groups
from lrkit.training.run import Run

__all__ = ["ForeignUpdate"]


class ForeignUpdate:
    """The user's own optimizer over a stack; of its hyperparameters only the lr may differ between members."""

    pure = False

    def __init__(
        self,
        starts: Sequence[MemberStart],
        parameters: Tensors,
        build: Callable[[], tuple[nn.Module, Optimizer]],
    ) -> None:
        self._starts = stacked_groups(starts)
        for members in self._starts:
            if any(dict(start.numbers) != dict(members[0].numbers) for start in members):
                raise Unfit(
                    f"the members' {starts[0].optimizer.__name__} differ in more than lr, and lrkit has no rule for it"
                )
        model, self._optimizer = build()
        owners = {id(p): name for name, p in model.named_parameters()}
        # The very tensors of the stack, as leaves of their own: the optimizer writes into the members' storage.
        self._leaves = {name: nn.Parameter(tensor) for name, tensor in parameters.items()}
        for group in self._optimizer.param_groups:
            group["params"] = [
                self._leaves[owners[id(p)]] for p in group["params"] if owners[id(p)] in self._leaves
            ]
            group["lr"] = 1.0
        self._size = len(starts)

    def coefficients(self, step: int) -> list[Tensor]:
        """For each group its lrs, (1, members)."""
        first = next(iter(self._leaves.values()))
        rates = [
            np.stack([start.lrs(step, step + 1) for start in members], axis=1) for members in self._starts
        ]
        return [torch.from_numpy(rate).to(dtype=first.dtype).to(first.device) for rate in rates]

    def state(self) -> dict[str, Tensors]:
        """Nothing to hand around: the optimizer holds its own."""
        return {}

    @torch.no_grad()
    def apply(
        self, parameters: Tensors, gradients: Tensors, state: dict[str, Tensors], coefficients: list[Tensor]
    ) -> None:
        """Move `parameters` by one update, in place."""
        before = {name: tensor.clone() for name, tensor in parameters.items()}
        for name, leaf in self._leaves.items():
            leaf.grad = gradients[name]
        with torch.enable_grad():
            self._optimizer.step()
        for members, rates in zip(self._starts, coefficients, strict=True):
            for name in members[0].names:
                rate = rates[0].to(before[name].dtype).view(-1, *[1] * (before[name].ndim - 1))
                moved = parameters[name]
                moved.sub_(before[name]).mul_(rate).add_(before[name])

    def advance(self, gradients: Tensors, step: int, *, live: Sequence[bool]) -> None:
        """See Update."""
        del live  # one optimizer for all
        self.apply(dict(self._leaves), gradients, {}, self.coefficients(step))

    def inherit(self, sources: Sequence[tuple[Any, int]]) -> None:
        """See Update. State of one entry for each member goes row by row, the rest is the first source's."""
        first = sources[0][0]
        for name, leaf in self._leaves.items():
            old = first._optimizer.state.get(first._leaves[name], {})
            self._optimizer.state[leaf] = {
                key: torch.stack(
                    [update._optimizer.state[update._leaves[name]][key][row] for update, row in sources]
                )
                if isinstance(value, Tensor) and value.ndim and value.shape[0] == first._size
                else (value.clone() if isinstance(value, Tensor) else value)
                for key, value in old.items()
            }

    def give(self, run: Run, row: int, *, done: int) -> None:
        """See Update. What the optimizer has noted in its groups goes along, its lr apart."""
        del done  # its own state counts
        parameters = dict(run.model.named_parameters())
        for name, leaf in self._leaves.items():
            state = self._optimizer.state.get(leaf)
            if state is not None:
                run.optimizer.state[parameters[name]] = {
                    key: self._row_of(value, row) for key, value in state.items()
                }
        for theirs, mine in zip(run.optimizer.param_groups, self._optimizer.param_groups, strict=True):
            theirs.update({key: value for key, value in mine.items() if key not in ("params", "lr")})

    def take(self, runs: Sequence[Run]) -> None:
        """See Update. Of what is not a tensor like its parameter, members must have the same."""
        parameters = [dict(run.model.named_parameters()) for run in runs]
        for name, leaf in self._leaves.items():
            rows = [run.optimizer.state.get(own[name], {}) for run, own in zip(runs, parameters, strict=True)]
            if any(row.keys() != rows[0].keys() for row in rows):
                raise Unfit(f"the members' optimizers keep different things of {name}")
            self._optimizer.state[leaf] = {
                key: _stacked(f"{key} of {name}", [row[key] for row in rows], leaf) for key in rows[0]
            }
        for mine, theirs in zip(self._optimizer.param_groups, runs[0].optimizer.param_groups, strict=True):
            mine.update({key: theirs[key] for key in mine if key not in ("params", "lr")})

    def _row_of(self, value: Any, row: int) -> Any:
        if not isinstance(value, Tensor):
            return value
        return (value[row] if value.ndim and value.shape[0] == self._size else value).clone()

    def structure(self) -> Any:
        """See Update."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's own state."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the optimizer's own state."""
        self._optimizer.load_state_dict(dict(state))
        for group in self._optimizer.param_groups:
            group["lr"] = 1.0


def _stacked(what: str, values: Sequence[Any], leaf: Tensor) -> Any:
    """One value for all members, or a stack of their tensors. Raises Unfit for tensors of another shape."""
    first = values[0]
    if not isinstance(first, Tensor):
        if any(value != first for value in values):
            raise Unfit(f"the members' optimizers differ in {what}")
        return first
    if leaf.ndim == 1:
        raise Unfit(f"{what} may be its own or shared by all: the parameter is one number, too")
    if first.shape == leaf.shape[1:]:
        return torch.stack(list(values))
    if first.ndim or any(not torch.equal(value, first) for value in values):
        raise Unfit(f"the members' optimizers differ in {what}, which is not like its parameter")
    return first.clone()
