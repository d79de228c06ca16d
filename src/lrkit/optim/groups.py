"""Hyperparameters of parameter groups: how a target is named, read and written. Knows nothing of schedules.

A target is written `"lr"`, `"weight_decay"`, `"betas[0]"` (an entry of a tuple) or, for one group alone,
`"lr@head"` (the group whose `name` is "head").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lrkit.errors import SpecError, did_you_mean

__all__ = ["Group", "Target", "group_names", "remember", "scalars_of"]

# A param_group as torch has it: values of any kind under string keys.
Group = dict[str, Any]

_TARGET = re.compile(r"(?P<key>[^\[\]@\s]+)(?:\[(?P<index>\d{1,3})\])?(?:@(?P<group>.+))?")


@dataclass(frozen=True, slots=True)
class Target:
    """One scalar hyperparameter, of every group or of the one named `group`; `parse` reads its `str`."""

    key: str
    index: int | None = None
    group: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `"lr"`, `"betas[0]"` or `"lr@head"`; SpecError otherwise."""
        match = _TARGET.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise SpecError(
                f"{text!r} names no hyperparameter: write 'lr', 'betas[0]' or 'lr@<name of a group>'"
            )
        index = match["index"]
        return cls(match["key"], None if index is None else int(index), match["group"])

    @property
    def everywhere(self) -> Target:
        """The same hyperparameter of any group."""
        return replace(self, group=None)

    @property
    def memo(self) -> str:
        """The group's key for the base value: `initial_lr`, as torch has it, and so for the others."""
        return f"initial_{self.everywhere}"

    def read(self, group: Group) -> float:
        """The value now, as a float; a tensor on a device is waited for."""
        value = group[self.key]
        return float(value if self.index is None else value[self.index])

    def write(self, group: Group, value: float) -> None:
        """Set the value: tensors are filled in place, tuples are replaced, no device is waited for."""
        found = group[self.key]
        place = found if self.index is None else found[self.index]
        if isinstance(place, torch.Tensor):
            # In place: a captured CUDA graph and a compiled step keep reading this very tensor.
            with torch.no_grad():
                place.fill_(value)
        elif self.index is None:
            group[self.key] = value
        else:
            entries = list(found)
            entries[self.index] = value
            group[self.key] = entries if isinstance(found, list) else tuple(entries)

    def in_place(self, group: Group) -> bool:
        """Whether writing takes more than an assignment: into a tensor, or into an entry of a tuple."""
        return self.index is not None or isinstance(group[self.key], torch.Tensor)

    def base(self, group: Group) -> float:
        """What a schedule multiplies: the base value that a scheduler left there, else the value itself."""
        return float(group[self.memo]) if self.memo in group else self.read(group)

    def check(self, group: Group, name: str) -> None:
        """Raise SpecError, with the nearest right name, unless the group has such a scalar."""
        choices = scalars_of(group)
        if str(self.everywhere) not in choices:
            raise SpecError(
                f"{str(self.everywhere)!r} is no scalar hyperparameter of {name!r}"
                f"{did_you_mean(str(self.everywhere), choices)}"
            )

    def __str__(self) -> str:
        index = "" if self.index is None else f"[{self.index}]"
        return f"{self.key}{index}" + ("" if self.group is None else f"@{self.group}")


def remember(groups: Sequence[Group], targets: Iterable[Target]) -> Callable[[], None]:
    """Note what writing to `targets` and noting their base values changes; calling what it gives puts it back."""
    notes: list[tuple[Group, str, bool, Any]] = []
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []
    for group in groups:
        for target in targets:
            notes += [(group, key, key in group, group.get(key)) for key in (target.key, target.memo)]
            found = group.get(target.key)
            entries = found if isinstance(found, tuple | list) else (found,)
            copies += [(x, x.detach().clone()) for x in entries if isinstance(x, torch.Tensor)]

    def put_back() -> None:
        for group, key, was_there, value in notes:
            if was_there:
                group[key] = value
            else:
                group.pop(key, None)
        with torch.no_grad():
            for tensor, copy in copies:
                tensor.copy_(copy)

    return put_back


def scalars_of(group: Mapping[str, Any]) -> list[str]:
    """The targets that a group offers: its numbers, one-element tensors, and entries of tuples of them."""
    found: list[str] = []
    for key, value in group.items():
        if key in ("params", "param_names") or key.startswith("initial_"):
            continue
        if _is_scalar(value):
            found.append(key)
        elif isinstance(value, tuple | list):
            found += [f"{key}[{i}]" for i, entry in enumerate(value) if _is_scalar(entry)]
    return found


def group_names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each group: its `name`, else "group 0", "group 1", ...; doubles get their place added."""
    names = [str(group.get("name") or f"group {i}") for i, group in enumerate(groups)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names)]


def _is_scalar(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, int | float) and not isinstance(value, bool)
