"""Updates over a stack of members: by a rule of torch's optimizers, or by the user's own optimizer at lr 1.

Both change the stacked parameters in place, read each member's rates for the step, and can leave members behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lrkit.training.population.fused import fused_rows
from lrkit.training.population.rules import RULES, Coefficients, Floats, Rule
from lrkit.training.population.start import GroupStart, MemberStart
from lrkit.training.population.unfit import Unfit
from lrkit.training.run import Run

__all__ = ["RuleUpdate", "Update", "stacked_groups"]

Tensors = dict[str, Tensor]

_AHEAD = 256  # steps whose coefficients are computed at once: numpy's fixed cost is spread thin


class Update(Protocol):
    """How a stack of members moves. Row i of every stacked tensor is member i of the stack."""

    pure: bool  # whether `apply` is tensor operations alone, which can be traced and compiled

    def coefficients(self, step: int) -> list[Tensor]:
        """What the update number `step` needs beside tensors: a tensor for each parameter group."""

    def state(self) -> dict[str, Tensors]:
        """The state tensors by parameter: live ones."""

    def apply(
        self, parameters: Tensors, gradients: Tensors, state: dict[str, Tensors], coefficients: list[Tensor]
    ) -> None:
        """Move `parameters` by one update, in place."""

    def advance(self, gradients: Tensors, step: int, *, live: Sequence[bool]) -> None:
        """Move the stack's own parameters by the update number `step`, in the quickest way outside a graph.

        Rows that are not `live` may be left where they are.
        """

    def inherit(self, sources: Sequence[tuple[Any, int]]) -> None:
        """Take row i of the state from `sources[i]`: an update of the same kind, and a row of it."""

    def give(self, run: Run, row: int, *, done: int) -> None:
        """Write row `row` after `done` updates into the optimizer of `run`, as its own steps would have left it."""

    def take(self, runs: Sequence[Run]) -> None:
        """Take row i of the state from the optimizer of `runs[i]`. Raises Unfit where that cannot be a row."""

    def structure(self) -> Any:
        """What a compiled `apply` has baked in: two updates that are equal in it can share one."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain data."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""


def stacked_groups(starts: Sequence[MemberStart]) -> list[list[GroupStart]]:
    """The groups of all members, group by group. Raises Unfit where members differ in more than numbers."""
    first = starts[0]
    for start in starts[1:]:
        if start.optimizer is not first.optimizer or len(start.groups) != len(first.groups):
            raise Unfit("the members' optimizers differ in class or groups")
        for mine, theirs in zip(start.groups, first.groups, strict=True):
            if (
                mine.names != theirs.names
                or dict(mine.flags) != dict(theirs.flags)
                or mine.numbers.keys() != theirs.numbers.keys()
            ):
                raise Unfit("the members' optimizers differ in more than numbers")
    return [list(group) for group in zip(*(start.groups for start in starts), strict=True)]


class RuleUpdate:
    """The update of one of torch's optimizers by its written rule: every number may differ between members."""

    pure = True

    def __init__(self, starts: Sequence[MemberStart], parameters: Tensors) -> None:
        self._rule: Rule = RULES[starts[0].optimizer]
        self._groups = [_RuleGroup(self._rule, groups) for groups in stacked_groups(starts)]
        if not parameters:
            raise Unfit("the optimizer moves no parameter")
        if any(p.dtype not in (torch.float32, torch.float64) for p in parameters.values()):
            raise Unfit("a parameter is neither float32 nor float64")
        first = next(iter(parameters.values()))
        self._device = first.device
        self._dtype = max((p.dtype for p in parameters.values()), key=lambda dtype: dtype.itemsize)
        self._state = {
            name: group.fresh_state(parameters[name]) for group in self._groups for name in group.names
        }
        self._parameters = parameters
        self._ahead: list[Floats] = []
        self._start = -1
        self._fused = fused_rows(self._rule, stacked_groups(starts), parameters, self._state)

    def coefficients(self, step: int) -> list[Tensor]:
        """For each group a tensor (coefficients, members), in the parameters' precision."""
        if not self._start <= step < self._start + _AHEAD or self._start < 0:
            self._start = step
            self._ahead = [group.moving(step, step + _AHEAD) for group in self._groups]
        rows = [torch.from_numpy(ahead[step - self._start]) for ahead in self._ahead]
        return [row.to(dtype=self._dtype).to(self._device) for row in rows]

    def state(self) -> dict[str, Tensors]:
        """Moments and sums by parameter."""
        return self._state

    def apply(
        self, parameters: Tensors, gradients: Tensors, state: dict[str, Tensors], coefficients: list[Tensor]
    ) -> None:
        """Move `parameters` by one update, in place."""
        for group, rows in zip(self._groups, coefficients, strict=True):
            for name in group.names:
                parameter = parameters[name]
                values = group.values(rows, parameter)
                self._rule.apply(parameter, gradients[name], state[name], values, group.flags)

    def advance(self, gradients: Tensors, step: int, *, live: Sequence[bool]) -> None:
        """See Update."""
        if self._fused is None:
            self.apply(self._parameters, gradients, self._state, self.coefficients(step))
        else:
            self._fused.advance(gradients, step, live)

    def inherit(self, sources: Sequence[tuple[Any, int]]) -> None:
        """See Update."""
        for name, tensors in self._state.items():
            for key, tensor in tensors.items():
                tensor.copy_(torch.stack([update.state()[name][key][row] for update, row in sources]))

    def give(self, run: Run, row: int, *, done: int) -> None:
        """See Update."""
        parameters = dict(run.model.named_parameters())
        for group in self._groups:
            for name in group.names if done else ():
                kept = {key: self._state[name][key][row].clone() for key in group.kept_by(row)}
                state = group.counts(row, done) | kept
                if state:
                    run.optimizer.state[parameters[name]] = state

    def take(self, runs: Sequence[Run]) -> None:
        """See Update."""
        for row, run in enumerate(runs):
            parameters = dict(run.model.named_parameters())
            for group in self._groups:
                for name in group.names:
                    found = run.optimizer.state.get(parameters[name], {})
                    for key in group.kept_by(row) if run.step else ():
                        if not isinstance(found.get(key), Tensor):
                            raise Unfit(f"a member's optimizer has no {key} of {name}")
                        self._state[name][key][row] = found[key]

    def structure(self) -> Any:
        """See Update."""
        return [group.structure() for group in self._groups]

    def state_dict(self) -> dict[str, Any]:
        """The state tensors by parameter."""
        return {name: dict(tensors) for name, tensors in self._state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state tensors, in place."""
        for name, tensors in self._state.items():
            for key, tensor in tensors.items():
                tensor.copy_(state[name][key])


class _RuleGroup:
    """One parameter group of a stack: which coefficients are one number for all, and which are a row of a tensor."""

    def __init__(self, rule: Rule, groups: Sequence[GroupStart]) -> None:
        self._rule, self._groups = rule, groups
        first = groups[0]
        missing = [name for name in rule.numbers if name not in first.numbers]
        if missing:
            raise Unfit(f"the optimizer's group lacks {missing[0]}")
        self.names = first.names
        self.flags = {name: bool(first.flags.get(name, False)) for name in rule.flags}
        self._numbers = {name: np.array([g.numbers[name] for g in groups]) for name in rule.numbers}
        trial = self._coefficients(0, 3)
        # One number where members agree and time does not matter: cheaper, and what torch itself computes with.
        self._steady = {name: float(v[0, 0]) for name, v in trial.items() if self._is_steady(name, v)}
        self._moving = [name for name in trial if name not in self._steady]

    def fresh_state(self, parameter: Tensor) -> Tensors:
        """The state of one stacked parameter before the first update."""
        state = {}
        for name in self._rule.state(self.flags, self._numbers):
            state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            source = (self._rule.start or {}).get(name)
            if source is not None:
                state[name] += _column(self._numbers[source], parameter)
        return state

    def kept_by(self, row: int) -> tuple[str, ...]:
        """The state tensors that the optimizer of this member alone would keep."""
        return self._rule.state(self.flags, self._numbers_of(row))

    def counts(self, row: int, done: int) -> Tensors:
        """What torch keeps for a parameter of this member beside them."""
        counted = self._rule.counts(done, self._numbers_of(row))
        # torch counts in float32 unless the default is float64.
        dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
        return {name: torch.tensor(float(value[0]), dtype=dtype) for name, value in counted.items()}

    def _numbers_of(self, row: int) -> dict[str, Floats]:
        return {name: values[row : row + 1] for name, values in self._numbers.items()}

    def moving(self, start: int, stop: int) -> Floats:
        """The coefficients of the steps from `start` on: (steps, coefficients, members)."""
        table = self._coefficients(start, stop)
        shape = (stop - start, len(self._groups))
        rows = [np.broadcast_to(table[name], shape) for name in self._moving]
        return np.stack(rows, axis=1) if rows else np.empty((stop - start, 0, len(self._groups)))

    def structure(self) -> Any:
        """The names, flags and numbers that are the same for every member and step."""
        return (self.names, self.flags, self._steady, self._moving)

    def values(self, rows: Tensor, parameter: Tensor) -> Coefficients:
        """The coefficients by name, shaped to be broadcast over a stacked parameter."""
        shape = (-1, *[1] * (parameter.ndim - 1))
        tensors = {
            name: rows[index].to(parameter.dtype).view(shape) for index, name in enumerate(self._moving)
        }
        return self._steady | tensors

    def _coefficients(self, start: int, stop: int) -> dict[str, Floats]:
        t = np.arange(start + 1.0, stop + 1.0)[:, None]
        lr = np.stack([group.lrs(start, stop) for group in self._groups], axis=1)
        table = self._rule.coefficients(t, lr, self._numbers)
        return {name: np.atleast_2d(values) for name, values in table.items()}

    def _is_steady(self, name: str, values: Floats) -> bool:
        # Of one row by construction: what comes from hyperparameters alone does not know of steps.
        return values.shape[0] == 1 and bool((values == values[0, 0]).all())


def _column(values: Floats, parameter: Tensor) -> Tensor:
    column = torch.from_numpy(values).to(parameter.dtype).to(parameter.device)
    return column.view(-1, *[1] * (parameter.ndim - 1))
