"""CommandExecutor: runs proposals as commands, some at a time, and leaves none behind."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path

from lrkit.errors import LrkitError, NoAnswer, SpecError, StudyError, TaskError
from lrkit.files import make_folder
from lrkit.search.command.command import Command
from lrkit.search.command.processes import Child, Guard
from lrkit.search.command.sources import ERRORS, OUTPUT
from lrkit.search.command.trial import Ending, RunningTrial, tail_of
from lrkit.search.states import States
from lrkit.search.trials import Proposal, Result
from lrkit.training.progress import SILENT, Reporter

__all__ = ["GRACE", "CommandExecutor"]

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL: enough to write a checkpoint."""
_LOOK = 0.05
"""Seconds between two looks at what runs."""
_FAILURES = 3
"""So many failures, and nothing but failures, end a search: what is wrong is not the rate."""


class CommandExecutor:
    """Runs `command` for each proposal, `workers` at a time, each in a folder of its own, `trials/1`, `trials/2` ...

    Every proposal is run from its beginning, for a command has no state to go on from, and until `stop`: there it is
    terminated, and killed `grace` seconds later. A trial that fails counts as diverged, and is noted; `proven` says
    that the command is known to work. One that dies by a signal (want of memory, a crash, somebody's kill) is run
    again, for its setting may not be to blame, and has failed when it dies a second time.
    Raises NoAnswer where the first trials all fail, TaskError where a metric cannot be read, StudyError where the
    folder cannot be written. Nothing is left running then.
    """

    def __init__(
        self,
        command: Command,
        folder: Path,
        *,
        workers: int = 1,
        grace: float = GRACE,
        proven: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        if os.name != "posix":
            raise TaskError(
                "commands as tasks need Linux or macOS: they are ended by signals to process groups"
            )
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise SpecError(f"workers= is a whole number, at least 1, not {workers!r}")
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace < 86_400:
            raise SpecError(f"grace= is a number of seconds from 0 up to a day, not {grace!r}")
        self._command, self._folder, self._workers, self._grace = command, folder, workers, float(grace)
        self._proven, self._failures, self._said_early = proven, 0, False
        self._died: set[Proposal] = set()
        self._reporter = reporter
        self._guard: Guard | None = None

    def run(
        self, proposals: Sequence[Proposal], states: States, *, deadline: float = math.inf
    ) -> Generator[Result]:
        """The results as they come. Closing the generator ends what still runs. See `Executor`."""
        del states
        waiting, running = deque(proposals), list[RunningTrial]()
        try:
            while running or (waiting and time.monotonic() < deadline):
                while waiting and len(running) < self._workers and time.monotonic() < deadline:
                    self._begin(waiting.popleft(), running)
                ended, trouble = self._look(running)
                # Measured ones first: what is wrong with another one of this look must not cost their results.
                for ending in sorted(ended, key=lambda ending: ending.failure is not None):
                    if self._died_first(ending):
                        waiting.append(ending.proposal)
                    else:
                        yield self._judged(ending)
                if trouble is not None:
                    raise trouble
                if not ended:
                    time.sleep(_LOOK)
        finally:
            self._end(running)

    def close(self) -> None:
        """End the guard. What runs was ended with its generator."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _begin(self, proposal: Proposal, running: list[RunningTrial]) -> None:
        if self._guard is None:
            self._guard = Guard(self._grace)
        number, folder = self._new_folder()
        arguments = self._command.filled(proposal, folder)
        child = Child(
            arguments,
            variables=self._command.environment(proposal, folder),
            output=folder / OUTPUT,
            errors=folder / ERRORS,
        )
        self._guard.watch(child.group)
        try:
            trial = RunningTrial(
                proposal,
                number=number,
                folder=folder,
                child=child,
                arguments=arguments,
                reader=self._command.source.reader(folder),
                length=self._command.length,
                grace=self._grace,
            )
        except BaseException:
            child.reap()
            self._guard.forget(child.group)
            raise
        running.append(trial)

    def _new_folder(self) -> tuple[int, Path]:
        parent = make_folder(self._folder / "trials")
        taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
        number = max(taken, default=0) + 1
        return number, make_folder(parent / str(number))

    def _look(self, running: list[RunningTrial]) -> tuple[list[Ending], LrkitError | None]:
        """What has ended, and what went wrong with a trial that has not, if anything did."""
        endings, trouble = list[Ending](), None
        for trial in list(running):
            before = int(trial.place)
            try:
                ending = trial.look()
            except (StudyError, TaskError) as error:
                trouble = error
                continue
            if int(trial.place) > before:
                _, value = trial.reports[-1]
                self._reporter.advance(int(trial.place) - before, loss=value, lr=trial.proposal.lr)
            if ending is not None:
                running.remove(trial)
                self._forget(trial)
                endings.append(ending)
        return endings, trouble

    def _died_first(self, ending: Ending) -> bool:
        """Whether a signal ended this trial, and not before: it is to be run again."""
        if ending.code is None or ending.code >= 0 or ending.proposal in self._died:
            return False
        self._died.add(ending.proposal)
        self._reporter.note(f"{self._told(ending)}; this setting is run again, once")
        return True

    def _judged(self, ending: Ending) -> Result:
        """The result, unless something else than the setting is to blame."""
        result = ending.result
        if ending.early and not self._said_early:
            self._said_early = True
            self._reporter.note(
                "a trial ended by itself before the report at which it was to be stopped: nothing can be pruned "
                "unless the command tells its epoch or step with each report"
            )
        if ending.failure is None:
            self._proven = True
            return result
        told = self._told(ending)
        self._failures += 1
        self._proven |= ending.reported
        # What ends in good order without a report has no metric under this name, whatever the rate.
        if not self._proven and (self._failures >= _FAILURES or ending.code == 0):
            trials = "the first trial" if self._failures == 1 else f"{self._failures} trials, and all"
            raise NoAnswer(f"{trials} failed: {told}: {shlex.join(ending.arguments)}")
        self._reporter.note(f"trial {ending.number} counts as diverged: {told}")
        return result

    def _told(self, ending: Ending) -> str:
        folder = self._folder / "trials" / str(ending.number)
        tail = tail_of(folder)
        return (
            f"the command {ending.failure} at lr {ending.result.lr!r}{': ' + tail if tail else ''} ({folder})"
        )

    def _end(self, running: list[RunningTrial]) -> None:
        """End what still runs; a second Ctrl-C spares the time of grace."""
        try:
            for trial in running:
                trial.terminate()
            patience = time.monotonic() + self._grace
            while any(trial.child.poll() is None for trial in running) and time.monotonic() < patience:
                time.sleep(_LOOK)
        finally:
            for trial in running:
                trial.child.reap()
                self._forget(trial)
                try:
                    trial.give_up()
                except StudyError as error:
                    self._reporter.note(str(error))
            running.clear()

    def _forget(self, trial: RunningTrial) -> None:
        if self._guard is not None:
            self._guard.forget(trial.child.group)
