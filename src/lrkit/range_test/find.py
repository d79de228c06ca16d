"""find_lr: repeat a sweep, grow its range where the answer lies at an end, and judge what came out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.errors import SpecError, TaskError, did_you_mean
from lrkit.range_test.grid import Grid
from lrkit.range_test.result import RangeTest, Spacing
from lrkit.range_test.rules import RULES
from lrkit.range_test.sources import LiveModel, Source, TaskMembers
from lrkit.range_test.sweep import Sweep
from lrkit.range_test.verdict import Agreement, Verdict, agree, judge
from lrkit.training.batches import Batch
from lrkit.training.precision import PrecisionName
from lrkit.training.progress import SILENT, Reporter
from lrkit.training.task import Task

__all__ = ["find_lr"]

# How often the sweep may change by itself: one decade at a time upward (the sweep just goes on), three
# downward (it starts again, and mostly ends soon because it diverges again), three times the steps where
# noise hides the fall.
_DEFAULT_STEPS = 100
_EXTENSIONS = 2
_LOWERINGS = 2
_LENGTHENINGS = 1


def find_lr(
    task: Task | None = None,
    *,
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
    loss: Callable[[nn.Module, Batch], Tensor] | None = None,
    train: Iterable[Batch] | Callable[[int], Iterable[Batch]] | None = None,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int | None = None,
    repeats: int = 3,
    seed: int = 0,
    accumulate: int = 1,
    precision: PrecisionName = "float32",
    scaler: torch.amp.GradScaler | None = None,
    group: str | None = None,
    spacing: Spacing = "log",
    rule: str = "kmin",
    device: str | None = None,
    reporter: Reporter = SILENT,
) -> RangeTest:
    """Sweep the learning rate upward in short runs and read off a bracket for it: a bracket, not an optimum.

    Either a `task`, or a `model` with its `optimizer`, its `loss` (`(model, batch) -> scalar`) and the loader
    `train`. The range test answers for the start of a training with this batch size, optimizer and precision;
    the best rate of a whole training lies within the bracket as a rule, and `search_lr` finds it there.
    Nothing is changed: weights, buffers, optimizer, modes, `.grad` and random generators are afterwards as
    they were, also when the loss raises.

    low, high: the rates swept, of the first group or of `group`; the others keep their ratio to it. The range
        grows by itself, by at most 2 decades upward and 6 downward, where the answer lies at an end.
    steps: updates of one sweep. By default 100: over 8 decades 12 a decade, finer than the answer is; and
        once 300 where no fall stands out of the noise. A number that is given is kept.
    repeats: sweeps whose median is the suggestion. On a task they differ in initial weights and data order,
        on a live model in data order alone; `varied` says so. One sweep gives no spread.
    accumulate: micro-batches of one update; a point is the mean loss of its window.
    precision, scaler: autocast around the loss; an update that the scaler skips is no point. A live model's
        scaler is put back too.
    group: the name of the one group to sweep ("group 1" for the second if it has none); the others stay at
        their base rates.
    rule: a key of `RULES`. The bracket is always that of `kmin`, for which it was measured.
    device: where a task's members live; a live model stays where it is.

    Raises SpecError for arguments out of range, TaskError for what cannot be trained; errors of the user's
    own code come through as they are. The loss is read once in each update: on CUDA the host waits for the
    device there.
    """
    grid = Grid(low, high, _DEFAULT_STEPS if steps is None else steps, spacing)
    _check(repeats=repeats, seed=seed, accumulate=accumulate, precision=precision, rule=rule)
    source: Source
    live = {"model": model, "optimizer": optimizer, "loss": loss, "train": train}
    if task is not None:
        _refuse_both(live, scaler)
        source = TaskMembers(task, seed, group, accumulate, precision, device)
    elif model is None or optimizer is None or loss is None or train is None:
        missing = ", ".join(f"{name}=" for name, value in live.items() if value is None)
        raise TaskError(
            f"find_lr needs a task, or model=, optimizer=, loss= and train=: {missing} is missing"
        )
    else:
        source = LiveModel(model, optimizer, loss, train, seed, group, accumulate, precision, scaler, device)
    lengthenings = _LENGTHENINGS if steps is None else 0
    reporter.stage("range test", repeats * grid.steps)
    return _measure(source, grid, lengthenings, repeats=repeats, rule=rule, group=group, reporter=reporter)


def _measure(
    source: Source,
    grid: Grid,
    lengthenings: int,
    *,
    repeats: int,
    rule: str,
    group: str | None,
    reporter: Reporter,
) -> RangeTest:
    grid, sweeps, spent = _sweep_all(
        source, grid, lengthenings, repeats=repeats, rule=rule, reporter=reporter
    )
    lrs = grid.rates(max(sweep.planned for sweep in sweeps))
    verdicts = [_judged(sweep, grid, rule) for sweep in sweeps]
    agreed, varied = agree(verdicts), source.varied
    if repeats > 1 and all(np.array_equal(sweep.losses, sweeps[0].losses) for sweep in sweeps):
        agreed, varied = _without_spread(agreed), "nothing"
    return RangeTest(
        lrs=lrs,
        group_lrs=source.table(lrs),
        losses=tuple(sweep.losses for sweep in sweeps),
        suggestion=agreed.suggestion,
        bracket=agreed.bracket,
        spread=agreed.spread,
        rule=rule,
        suggestions=tuple(v.suggestion if v.status == "found" else None for v in verdicts),
        status=agreed.status,
        reason=agreed.reason if varied != "data order" else f"{agreed.reason}; repeats over data order only",
        steps=spent,
        varied=varied,
        spacing=grid.spacing,
        group=group,
    )


def _sweep_all(
    source: Source, grid: Grid, lengthenings: int, *, repeats: int, rule: str, reporter: Reporter
) -> tuple[Grid, list[Sweep], int]:
    """All repeats on one grid that fits the task; and the updates spent, those of grids that did not fit included."""
    spent = 0
    while True:
        grid, first, lost = _scout(source, grid, rule=rule, reporter=reporter)
        sweeps = [first]
        if not lengthenings or _judged(first, grid, rule).status != "never fell":
            sweeps += [_repeat(source, repeat, grid, reporter) for repeat in range(1, repeats)]
        spent += lost + sum(sweep.steps for sweep in sweeps)
        agreed = agree([_judged(sweep, grid, rule) for sweep in sweeps])
        if not lengthenings or agreed.status != "never fell":
            return grid, sweeps, spent
        grid, lengthenings = grid.lengthened(), lengthenings - 1
        reporter.note(f"{agreed.reason}: sweeping again in {grid.steps} steps")


def _scout(source: Source, grid: Grid, *, rule: str, reporter: Reporter) -> tuple[Grid, Sweep, int]:
    """The first repeat, on a grid that begins low enough; and the updates spent on those that did not."""
    spent = 0
    for _ in range(_LOWERINGS):
        sweep = _repeat(source, 0, grid, reporter)
        verdict = _judged(sweep, grid, rule)
        if verdict.edge != "low":
            return grid, sweep, spent
        grid, spent = grid.lowered(), spent + sweep.steps
        reporter.note(f"{verdict.reason}: sweeping again from {grid.low:.1e}")
    return grid, _repeat(source, 0, grid, reporter), spent


def _repeat(source: Source, repeat: int, grid: Grid, reporter: Reporter) -> Sweep:
    return source.sweep(repeat, grid, extensions=_EXTENSIONS, reporter=reporter)


def _judged(sweep: Sweep, grid: Grid, rule: str) -> Verdict:
    return judge(grid.rates(sweep.planned), sweep.losses, before=sweep.before, ending=sweep.ending, rule=rule)


def _without_spread(agreed: Agreement) -> Agreement:
    reason = f"{agreed.reason}; every repeat saw the same batches in one order: there is no spread to tell"
    return replace(agreed, spread=math.nan, reason=reason)


def _check(*, repeats: int, seed: int, accumulate: int, precision: str, rule: str) -> None:
    for name, value, least in (("repeats", repeats, 1), ("seed", seed, 0), ("accumulate", accumulate, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpecError(f"{name}= must be a whole number of at least {least}, not {value!r}")
    if rule not in RULES:
        raise SpecError(f"unknown rule {rule!r}{did_you_mean(str(rule), RULES)}")
    if precision not in ("float32", "bfloat16", "float16"):
        raise SpecError(f"precision= is 'float32', 'bfloat16' or 'float16', not {precision!r}")


def _refuse_both(live: Mapping[str, object], scaler: object) -> None:
    given = [f"{name}=" for name, value in live.items() if value is not None]
    if scaler is not None:
        given.append("scaler=")
    if given:
        raise TaskError(f"find_lr takes a task or a live model, not both: leave out {', '.join(given)}")
