"""How long-running work tells a person where it stands: a small protocol, silence, and a rich progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["SILENT", "Reporter", "RichReporter"]


class Reporter(Protocol):
    """What the range test, the search and the training tell about themselves. Never asked for an answer."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins that will take `total` steps as far as is known; it ends the one before."""

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        """`steps` more steps are done; the newest had this training loss at this learning rate."""

    def note(self, text: str) -> None:
        """One line that a person should read."""

    def close(self) -> None:
        """Nothing more comes."""


class _Silent:
    def stage(self, name: str, total: int) -> None: ...

    def advance(self, steps: int, *, loss: float, lr: float) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


SILENT: Reporter = _Silent()


class RichReporter:
    """A progress bar on standard error: stage, loss, lr, steps a second, time left.

    Off a terminal it draws nothing and prints the notes alone, so that logs stay readable.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """Begin a bar of its own for the stage; the bar of the one before stays, complete."""
        if not self._console.is_terminal:
            return
        progress = self._begun()
        self._complete()
        self._task = progress.add_task(name, total=total, loss="", lr="", speed="")

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        """Move the bar; rich itself limits how often the screen is drawn."""
        if self._progress is None or self._task is None:
            return
        speed = self._progress.tasks[self._task].finished_speed or self._progress.tasks[self._task].speed
        self._progress.update(
            self._task,
            advance=steps,
            loss=f"loss {loss:.4g}",
            lr=f"lr {lr:.2e}",
            speed=f"{speed:,.0f} steps/s" if speed else "",
        )

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        from rich.markup import escape

        self._console.print(escape(text), soft_wrap=True)

    def close(self) -> None:
        """Stop drawing and leave the finished bars on the screen."""
        if self._progress is not None:
            self._complete()
            self._progress.stop()
            self._progress = None

    def _begun(self) -> Progress:
        if self._progress is None:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=28),
                TaskProgressColumn(),
                TextColumn("{task.fields[loss]:<14}{task.fields[lr]:<13}{task.fields[speed]:>15}"),
                TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=10.0,
            )
            self._progress.start()
        return self._progress

    def _complete(self) -> None:
        # A stage may need fewer steps than it announced (a pruned search): full is full.
        if self._progress is not None and self._task is not None:
            done = self._progress.tasks[self._task].completed
            self._progress.update(self._task, total=max(done, 1), completed=max(done, 1))
            self._task = None
