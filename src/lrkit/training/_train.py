"""train: one whole training under a plan, with its record, its checkpoints and its measurements at the end."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lrkit.errors import StateError, StudyError
from lrkit.files import make_folder
from lrkit.plan import Plan
from lrkit.records import RecordWriter
from lrkit.training.checkpoint import load_checkpoint, save_checkpoint
from lrkit.training.progress import SILENT, Reporter
from lrkit.training.run import DataPart, Run, StepInfo
from lrkit.training.task import Task

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training: the model, what it scores, and what it took.

    metrics: test and, where there is such data, validation figures by name; empty for a run that diverged at once.
    steps: updates done, `losses` one for each (the last is not finite when `diverged`).
    seconds: wall time of this call, which is less than the whole training's after a resume.
    """

    model: nn.Module
    metrics: dict[str, float]
    losses: tuple[float, ...]
    steps: int
    seconds: float
    diverged: bool


def train(
    task: Task,
    plan: Plan,
    *,
    seed: int = 0,
    data: DataPart = "all",
    out: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
    evaluate_every: int | None = None,
    device: str | None = None,
    reporter: Reporter = SILENT,
) -> TrainResult:
    """Train `task` under `plan` to the end of its horizon.

    data: "all" for a final model, "search" to leave the held-out part for validation, which a plan with control needs.
    out: a folder for `record.jsonl` (one row an update) and `checkpoint.pt`; a checkpoint that is there already is
        continued bit for bit, or refused with a StudyError when it belongs to another run.
    checkpoint_seconds: how much work a power cut may cost; saving more often slows small models down for nothing.
    evaluate_every: updates between validations; by default once an epoch where there is validation data.
    A loss that is not finite ends the training: the result says `diverged`.
    """
    started = time.perf_counter()
    run = Run(task, plan, seed=seed, data=data, device=device)
    if out is not None:
        run.state_dict()  # refuses a loader that cannot be resumed now, rather than after the training
    folder = None if out is None else make_folder(Path(out))
    checkpoint = None if folder is None else folder / "checkpoint.pt"
    if checkpoint is not None and checkpoint.exists():
        try:
            run.load_state_dict(load_checkpoint(checkpoint))
        except StateError as error:
            raise StudyError(f"{checkpoint}: {error}; choose another folder or remove it") from error
    validates = data == "search" or task.validation is not None
    every = (
        (evaluate_every or plan.horizon.steps_per_epoch or plan.horizon.steps)
        if validates
        else plan.horizon.steps
    )
    reporter.stage("training", plan.horizon.steps)
    if run.step:
        reporter.advance(run.step, loss=run.losses[-1], lr=float(run.scheduler.get_last_lr()[0]))
    with ExitStack() as stack:
        record = None
        if folder is not None:
            record = stack.enter_context(RecordWriter(folder / "record.jsonl", keep=run.step))
        log = _Log(run, record, reporter)
        saved = time.monotonic()
        while run.step < plan.horizon.steps and not run.diverged:
            due = min(plan.horizon.steps, (run.step // every + 1) * every)
            run.advance(
                due,
                on_step=log,
                grad_norms=record is not None,
                deadline=math.inf if checkpoint is None else saved + checkpoint_seconds,
            )
            validate = validates and run.step == due and not run.diverged
            log.flush(run.evaluate("validation") if validate else {})
            if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
                _save(checkpoint, run, record)
                saved = time.monotonic()
        if checkpoint is not None:
            _save(checkpoint, run, record)
    return TrainResult(
        model=run.model,
        metrics={} if run.diverged else _final_metrics(run, validates=validates),
        losses=tuple(run.losses),
        steps=run.step,
        seconds=time.perf_counter() - started,
        diverged=run.diverged,
    )


class _Log:
    """Rows for the record, one update behind, so that a validation joins the row of the update that it measured."""

    def __init__(self, run: Run, record: RecordWriter | None, reporter: Reporter) -> None:
        self._run, self._record, self._reporter = run, record, reporter
        self._pending: StepInfo | None = None

    def __call__(self, info: StepInfo) -> None:
        self.flush({})
        self._pending = info
        self._reporter.advance(1, loss=info.loss, lr=info.lr[0])

    def flush(self, metrics: dict[str, float]) -> None:
        """Write the row that waits, with what was measured after its update."""
        info, self._pending = self._pending, None
        if info is not None and self._record is not None:
            self._record.write(
                info.step,
                info.loss,
                info.lr,
                grad_norm=info.grad_norm,
                seconds=info.seconds,
                **{**info.metrics, **metrics},
            )


def _save(checkpoint: Path, run: Run, record: RecordWriter | None) -> None:
    # The record first: a checkpoint that knows of more updates than the record would leave a gap after a power cut.
    if record is not None:
        record.flush()
    save_checkpoint(checkpoint, run.state_dict())


def _final_metrics(run: Run, *, validates: bool) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if validates:
        metrics |= run.evaluate("validation")
    if run.task.test is not None:
        metrics |= run.evaluate("test")
    return metrics
