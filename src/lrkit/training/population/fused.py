"""The update member by member, by torch's own fused kernels for the CPU: quicker there than operations over the stack.

A fused kernel reads and writes every number once, and takes one call for all parameters of a member; operations over
the stack pass over memory about ten times, and cost a call each for every parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrkit.training.population.rules import Rule
from lrkit.training.population.start import GroupStart

__all__ = ["FusedRows", "fused_rows"]

Tensors = Mapping[str, Tensor]

_AHEAD = 256  # steps whose rates are computed at once


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One member's part of a parameter group: views of its rows, and its numbers."""

    start: GroupStart
    parameters: Sequence[Tensor]
    states: Sequence[Tensors]


class FusedRows:
    """Moves the rows of a stack by a rule's fused kernel."""

    def __init__(
        self,
        rule: Rule,
        groups: Sequence[Sequence[GroupStart]],
        parameters: Tensors,
        state: Mapping[str, Tensors],
    ) -> None:
        self._rule = rule
        self._groups = [
            [
                _Row(
                    start,
                    [parameters[name][row] for name in start.names],
                    [{key: tensor[row] for key, tensor in state[name].items()} for name in start.names],
                )
                for row, start in enumerate(starts)
            ]
            for starts in groups
            if starts[0].names
        ]
        self._flags = [
            {name: bool(rows[0].start.flags.get(name, False)) for name in rule.flags} for rows in self._groups
        ]
        self._from = -1
        self._rates: list[list[list[float]]] = []  # by group, step and member

    def advance(self, gradients: Tensors, step: int, live: Sequence[bool]) -> None:
        """Move the rows that are `live` by the update number `step`."""
        assert self._rule.fused is not None
        rates = self._rates_at(step)
        t = torch.tensor(step + 1.0)
        for rows, flags, lrs in zip(self._groups, self._flags, rates, strict=True):
            # The kernel takes memory as it lies.
            names = rows[0].start.names
            own = zip(*(gradients[name].contiguous().unbind() for name in names), strict=True)
            for row, lr, gradient, alive in zip(rows, lrs, own, live, strict=True):
                if alive:
                    self._rule.fused(row.parameters, gradient, row.states, lr, row.start.numbers, flags, t)

    def _rates_at(self, step: int) -> list[list[float]]:
        if self._from < 0 or not self._from <= step < self._from + _AHEAD:
            self._from = step
            self._rates = [
                np.stack([row.start.lrs(step, step + _AHEAD) for row in rows], axis=1).tolist()
                for rows in self._groups
            ]
        return [rates[step - self._from] for rates in self._rates]


def fused_rows(
    rule: Rule, groups: Sequence[Sequence[GroupStart]], parameters: Tensors, state: Mapping[str, Tensors]
) -> FusedRows | None:
    """The rows of this stack for a fused kernel, None where the rule has none or the tensors do not suit it."""
    tensors = [*parameters.values(), *(tensor for own in state.values() for tensor in own.values())]
    suits = all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)
    if rule.fused is None or not suits or len({t.dtype for t in tensors}) != 1:
        return None
    return FusedRows(rule, groups, parameters, state)
