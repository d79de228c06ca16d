"""One trial that runs: what its reports decide, and how it comes to its end.

runs -> decided (its rung is reached, a value is not finite, or it ended by itself) -> terminated -> killed -> gone
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lrkit.errors import StudyError
from lrkit.files import atomic_write, json_text
from lrkit.search.command.processes import Child
from lrkit.search.command.reports import Clock, Length, Report
from lrkit.search.command.sources import ERRORS, OUTPUT, Reader
from lrkit.search.command.tail import last_lines
from lrkit.search.trials import Proposal, Result

__all__ = ["Ending", "RunningTrial", "tail_of"]

_TAIL = 3
"""Lines of output that a message shows."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A trial that is over. `arguments` are the command as it was run, `failure` says what went wrong, `code` is the
    exit code where it ended by itself.
    """

    proposal: Proposal
    number: int
    arguments: tuple[str, ...]
    result: Result
    reported: bool
    code: int | None = None
    failure: str | None = None
    early: bool = False
    """Whether it ended well before its rung."""


@dataclass(frozen=True, slots=True)
class _Decision:
    objective: float
    steps: int
    code: int | None = None
    failure: str | None = None
    early: bool = False


class RunningTrial:
    """A command that trains `proposal`, in its own `folder`, from the beginning to `proposal.stop`."""

    def __init__(
        self,
        proposal: Proposal,
        *,
        number: int,
        folder: Path,
        child: Child,
        arguments: Sequence[str],
        reader: Reader,
        length: Length,
        grace: float,
    ) -> None:
        self.proposal, self.child = proposal, child
        self.reports: list[tuple[float, float]] = []
        """Place and value of each."""
        self._number, self._folder, self._arguments = number, folder, arguments
        self._reader, self._length, self._grace = reader, length, grace
        self._clock = Clock(length.unit)
        self._began = time.monotonic()
        self._decision: _Decision | None = None
        self._patience = math.inf
        self._write("running")

    @property
    def place(self) -> float:
        """How much of the training is done by the last report, in the unit of its length."""
        return self.reports[-1][0] if self.reports else 0.0

    def look(self) -> Ending | None:
        """Read what is new and act on it; the ending once the command is gone.

        Raises TaskError where the metric cannot be read.
        """
        code = self.child.poll()
        if self._decision is None:
            self._decision = self._decide(code)
            if self._decision is not None and code is None:
                self.terminate()
        if code is None:
            if time.monotonic() >= self._patience:
                self.child.signal(signal.SIGKILL)
            return None
        assert self._decision is not None
        self.child.reap()
        return self._ending(self._decision)

    def terminate(self) -> None:
        """Ask the command to end; it is killed after the time of grace."""
        self.child.signal(signal.SIGTERM)
        self._patience = time.monotonic() + self._grace

    def give_up(self) -> None:
        """Write down that nothing came of it, once its process is gone."""
        self._write("interrupted")

    def _decide(self, code: int | None) -> _Decision | None:
        pruned = self.proposal.stop < self._length.full
        for report in self._new_reports(ended=code is not None):
            place = self._clock.place(report)
            self.reports.append((place, report.value))
            if not math.isfinite(report.value):
                return _Decision(math.nan, self._whole(place))
            if pruned and place >= self.proposal.stop:
                return _Decision(report.value, self.proposal.stop)
        if code is None:
            return None
        if code == 0 and self.reports:
            return _Decision(self.reports[-1][1], self.proposal.stop, code, early=pruned)
        return _Decision(math.nan, self._whole(self.place), code, self._failure(code))

    def _new_reports(self, *, ended: bool) -> Sequence[Report]:
        return self._reader.read(ended=ended)[len(self.reports) :]

    def _whole(self, place: float) -> int:
        return max(1, min(self.proposal.stop, math.ceil(place)))

    def _failure(self, code: int) -> str:
        if code < 0:
            what = f"was ended by {_signal_name(-code)}"
        elif code > 0:
            what = f"exited with code {code}"
        else:
            hint = self._reader.hint()
            what = "ended without a report of the metric" + (f" ({hint})" if hint else "")
        return what

    def _ending(self, decision: _Decision) -> Ending:
        diverged = not math.isfinite(decision.objective)
        failed = decision.failure is not None
        status = "failed" if failed else "diverged" if diverged else "measured"
        self._write(status, code=decision.code, objective=decision.objective)
        metrics = [("trial", float(self._number))]
        if failed:
            metrics.append(("failed", 1.0))
        result = Result(
            lr=self.proposal.lr,
            seed=self.proposal.seed,
            steps=decision.steps,
            objective=decision.objective,
            diverged=diverged,
            cost=max(decision.steps, min(self._length.full, math.ceil(self.place))),
            seconds=time.monotonic() - self._began,
            metrics=tuple(metrics),
            values=self.proposal.values,
        )
        return Ending(
            self.proposal,
            self._number,
            tuple(self._arguments),
            result,
            bool(self.reports),
            decision.code,
            decision.failure,
            decision.early,
        )

    def _write(self, status: str, **more: Any) -> None:
        row = {
            **asdict(self.proposal),
            "values": dict(self.proposal.values),
            "unit": self._length.unit,
            "command": list(self._arguments),
            "status": status,
            "reports": self.reports,
            **more,
        }
        path = self._folder / "trial.json"
        try:
            atomic_write(path, json_text(row) + "\n")
        except OSError as error:
            raise StudyError(f"cannot write {path}: {error.strerror or error}") from error


def tail_of(folder: Path) -> str:
    """The last lines of a trial's errors, or of its output where there are none, as one line."""
    lines = last_lines(folder / ERRORS, _TAIL) or last_lines(folder / OUTPUT, _TAIL)
    return " | ".join(line[:200] for line in lines)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
