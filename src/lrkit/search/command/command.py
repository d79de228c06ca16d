"""A command as a task: the template of its arguments, where its metric is read from, and how long it trains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lrkit.errors import SpecError, TaskError
from lrkit.search.command.reports import Length
from lrkit.search.command.sources import Source
from lrkit.search.command.template import Template, environment
from lrkit.search.space import Space
from lrkit.search.trials import Proposal, Value

__all__ = ["Command"]

_OWN = ("lr", "seed", "epochs", "steps", "out")


@dataclass(frozen=True, slots=True)
class Command:
    """What is run for each trial.

    `space` names what is set beside the lr. With `variables`, all values reach the command as environment variables
    too, and none has to stand among its arguments.
    Raises SpecError where the template leaves out or invents a name, TaskError where there is no such program.
    """

    template: Template
    source: Source
    length: Length
    space: Space
    variables: bool = False

    def __post_init__(self) -> None:
        taken = next((name for name in self.space if name in _OWN), None)
        if taken is not None:
            raise SpecError(
                f"the parameter {taken!r} has a name that lrkit sets itself ({', '.join(_OWN)}): rename it"
            )
        for unit in ("epochs", "steps"):
            if unit in self.template.names and (unit != self.length.unit or not self.length.known):
                raise SpecError(f"the command asks for {{{unit}}}: give --{unit}")
        if self.source.in_folder and "out" not in self.template.names and not self.variables:
            raise SpecError(
                f"{self.source} is looked for in each trial's folder: tell the command to write there, with {{out}}"
            )
        known = ["lr", *self.space, "seed", "out", self.length.unit]
        self.template.check(known, needed=[] if self.variables else ["lr", *self.space])
        program = self.template.arguments[0]
        if "{" not in program and shutil.which(program) is None:
            there = " (it is there, but may not be executed)" if os.path.exists(program) else ""
            raise TaskError(f"there is no program {program!r} to run{there}")

    def filled(self, proposal: Proposal, out: Path) -> tuple[str, ...]:
        """The arguments for one trial, whose folder is `out`."""
        return self.template.fill(self._values(proposal, out))

    def environment(self, proposal: Proposal, out: Path) -> dict[str, str]:
        """What is added to the environment: without it, Python would hold back what is printed until its end."""
        return {"PYTHONUNBUFFERED": "1", **self.values_as_variables(proposal, out)}

    def values_as_variables(self, proposal: Proposal, out: Path) -> dict[str, str]:
        """The values of one trial as environment variables; none where they go by the arguments alone."""
        return environment(self._values(proposal, out)) if self.variables else {}

    def _values(self, proposal: Proposal, out: Path) -> Mapping[str, Value]:
        length: dict[str, Value] = {self.length.unit: self.length.full} if self.length.known else {}
        return {
            "lr": proposal.lr,
            **dict(proposal.values),
            "seed": proposal.seed,
            "out": str(out.absolute()),
            **length,
        }
