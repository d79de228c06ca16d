"""Run: one training of a task under a plan, which can be stopped at any update, saved, and continued bit for bit.

It owns its random numbers: they are swapped in while it works and out afterwards, so that the caller's generators are
left alone and two runs can take turns. Files, progress bars and what to do with a finished model are not here.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.errors import MetricError, StateError, TaskError
from lrkit.optim import Scheduler
from lrkit.optim.rng import RngState
from lrkit.plan import Plan
from lrkit.training.batches import Batch, BatchStream, move_to
from lrkit.training.build import build_model, choose_device, planned_optimizer, scalar_loss
from lrkit.training.control import observation_intervals, settled_plan
from lrkit.training.data import resolve_loader, search_split, training_loader
from lrkit.training.draws import own_draws
from lrkit.training.measurement import Measurement
from lrkit.training.metrics import measure
from lrkit.training.precision import Precision
from lrkit.training.seeding import derive_seed, seed_everything, seeded, unshared
from lrkit.training.task import Task

__all__ = ["DataPart", "Run", "StepInfo"]

DataPart = Literal["search", "all"]

# A grad-scaler halves its scale at each skipped update: after this many in a row float16 holds no gradient any more.
_SKIPS_ALLOWED = 50


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What one update did: its index, its loss (mean over the accumulated batches), the lr of each group it used,
    the gradients' norm before clipping (None unless asked for), how long it took in seconds and, where the plan's
    controllers were told then, the validation metrics by name.
    """

    step: int
    loss: float
    lr: tuple[float, ...]
    grad_norm: float | None
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Run:
    """One training of `task` under `plan`: `seed` draws the initial weights, the batch order and the dropout masks.

    data: "search" trains on the part that a search uses, "all" on everything (see `Task`).
    A plan with control is evaluated on the validation data as often as its controllers ask (once an epoch unless they
    say otherwise), and they are given what was measured. Raises TaskError or PlanError when the two do not fit.
    """

    def __init__(
        self, task: Task, plan: Plan, *, seed: int = 0, data: DataPart = "search", device: str | None = None
    ) -> None:
        self.task, self.plan, self.seed, self.data = task, plan, seed, data
        self.device = choose_device(device or task.device)
        self.losses: list[float] = []
        self.diverged = False
        split = search_split(task, seed=seed) if data == "search" else None
        self._loader = training_loader(task, seed=seed) if split is None else split.train
        self._validation = None if split is None else split.validation
        with seeded(derive_seed(seed, 0)):
            self.model: nn.Module = build_model(task).to(self.device).train()
            self.optimizer: Optimizer = planned_optimizer(task, plan.optimizer, self.model)
            seed_everything(derive_seed(seed, 1))
            self._rng = RngState.capture()
        watched = settled_plan(task, plan, data)
        self._intervals = observation_intervals(watched)
        self._measured: tuple[int, Measurement] | None = None  # what controllers were told last, and when
        self.scheduler = _scheduler(watched, self.optimizer)
        self._precision = Precision(plan.training.precision, self.device)
        self._stream = BatchStream(self._loader, seed=derive_seed(seed, 2))

    @property
    def step(self) -> int:
        """How many updates are done."""
        return self.scheduler.done

    def advance(
        self,
        until: int,
        *,
        on_step: Callable[[StepInfo], None] | None = None,
        grad_norms: bool = False,
        deadline: float = math.inf,
        in_thread: bool = False,
    ) -> None:
        """Train up to update `until` (exclusive), or until the loss is not finite: then `diverged` is set.

        With a `deadline`, in seconds of `time.monotonic`, it stops after the first update that ends later.
        With `in_thread`, several runs can advance at once, on the CPU: the process's generators are left alone, and
        dropout draws from the run's own (see `own_draws`). The same is trained, unless the task draws elsewhere.

        An update that a grad-scaler skips is tried again on the next batches and does not count. `on_step` is called
        after each update. If it, the task's code or Ctrl-C interrupts, the run stands after the last whole update or
        within the one under way: continue from a saved state, not from here.
        """
        step, skipped = self.step, 0
        with self._own_draws() if in_thread else self._own_rng():
            self.model.train()
            while step < until and not self.diverged:
                watched = None if on_step is None else (time.perf_counter(), self._rates())
                loss, norm = self._update(grad_norms=grad_norms)
                before, step = step, self.scheduler.done
                if step == before and not self.diverged:
                    skipped += 1
                    self.diverged = skipped > _SKIPS_ALLOWED
                    continue
                skipped = 0
                self.losses.append(loss)
                metrics = self._observe() if self._intervals else {}
                if watched is not None and on_step is not None:
                    started, rates = watched
                    on_step(StepInfo(before, loss, rates, norm, time.perf_counter() - started, metrics))
                if deadline < math.inf and time.monotonic() >= deadline:
                    return

    def evaluate(self, which: Literal["validation", "test", "train"]) -> dict[str, float]:
        """`{"<which> loss": ..., "<which> <metric>": ...}` on that data, in eval mode; the run itself is not changed.

        Raises TaskError where the task has no such data.
        """
        return dict(self.measure(which).values)

    def measure(self, which: Literal["validation", "test", "train"]) -> Measurement:
        """What `evaluate` gives, and of which parts of the data it is made."""
        task = self.task
        if which == "validation" and self._measured is not None and self._measured[0] == self.step:
            return self._measured[1]
        if which == "train":
            loader = self._loader
        elif which == "test":
            if task.test is None:
                raise TaskError(f"task {task.name!r} has no test data: pass test=")
            loader = resolve_loader(task.test, task.seed, which="test")
        elif self._validation is not None:
            loader = self._validation
        elif task.validation is not None:
            loader = resolve_loader(task.validation, task.seed, which="validation")
        else:
            raise TaskError(f"task {task.name!r} trains on all of its data here: no validation data is left")
        with seeded(derive_seed(self.seed, 3, self.step)), self._precision.forward():
            return measure(
                self.model, loader, loss=task.loss, metrics=task.metrics, device=self.device, which=which
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as tensors and plain data.

        The tensors are the live ones: save them, or copy them, before the run goes on. Raises TaskError for a loader
        that cannot say where it stands.
        """
        return {
            "version": 1,
            "of": self._identity(),
            "model": self.model.state_dict(),
            "buffers": _unsaved_buffers(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self._precision.state_dict(),
            "stream": self._stream.state_dict(),
            "rng": self._rng.to_dict(),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "diverged": self.diverged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises StateError when it is another run's, naming what differs."""
        mine, theirs = self._identity(), dict(state.get("of", {}))
        if state.get("version") != 1:
            raise StateError(
                f"this checkpoint has format {state.get('version')!r}; this lrkit reads format 1"
            )
        theirs.setdefault("control", [])  # checkpoints of before there was any
        different = [key for key in mine if mine[key] != theirs.get(key)]
        if different:
            told = ", ".join(f"{key} {theirs.get(key)!r} there, {mine[key]!r} here" for key in different)
            raise StateError(f"this checkpoint belongs to another run: {told}")
        self.model.load_state_dict(state["model"])
        for name, value in state["buffers"].items():
            self.model.get_buffer(name).copy_(value)
        # An optimizer takes over the very tensors that it loads, and `state` is not this run's to change.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.scheduler.load_state_dict(state["scheduler"])
        self._precision.load_state_dict(state["scaler"])
        self._stream.load_state_dict(state["stream"])
        self._rng = RngState.from_dict(state["rng"])
        self._measured = None
        self.losses = state["losses"].tolist()
        self.diverged = bool(state["diverged"])

    def _identity(self) -> dict[str, Any]:
        """What two runs must share for a state of one to be a state of the other."""
        plan = self.plan
        return {
            "task": self.task.name,
            "seed": self.seed,
            "split seed": self.task.seed,
            "data": self.data,
            "optimizer": plan.optimizer.name,
            "options": repr(dict(plan.optimizer.options)),
            "groups": repr(dict(plan.groups)),
            "floor": plan.floor,
            "lr": plan.lr,
            "schedule": str(plan.schedule),
            "control": list(plan.control),
            "steps": plan.horizon.steps,
            "accumulate": plan.training.accumulate,
            "clip_norm": plan.training.clip_norm,
            "precision": plan.training.precision,
        }

    @contextmanager
    def _own_rng(self) -> Iterator[None]:
        outer = RngState.capture()
        self._rng.restore()
        try:
            yield
        finally:
            self._rng = RngState.capture()
            outer.restore()

    @contextmanager
    def _own_draws(self) -> Iterator[None]:
        with own_draws(self._rng.torch_cpu) as generator:
            try:
                yield
            finally:
                self._rng = replace(self._rng, torch_cpu=generator.get_state())

    def _rates(self) -> tuple[float, ...]:
        """The lr of each group for the next update."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return tuple(rates if all(type(lr) is float for lr in rates) else self.scheduler.get_last_lr())

    def _update(self, *, grad_norms: bool) -> tuple[float, float | None]:
        """One update: the mean loss of its micro-batches, and the gradients' norm where it is wanted or clipped by."""
        self._clear()
        with unshared():  # data sets are seldom made for threads
            window = self._stream.window(self.plan.training.accumulate)
        loss = math.fsum([self._backward(batch, len(window)) for batch in window]) / len(window)
        if not math.isfinite(loss):
            self.diverged = True
            return loss, None
        clip = self.plan.training.clip_norm
        norm = None
        if clip is not None or grad_norms:
            self._precision.unscale(self.optimizer)
            norm = self._grad_norm(clip)
        self._precision.step(self.optimizer)
        return loss, norm

    def _clear(self) -> None:
        """Drop the gradients, as torch's own zero_grad does after opening a range for the profiler."""
        if type(self.optimizer).zero_grad is not Optimizer.zero_grad:
            self.optimizer.zero_grad(set_to_none=True)
            return
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _observe(self) -> dict[str, float]:
        """Give the controllers what they wait for, if it is time; what was measured, or nothing."""
        if self.diverged or not any(self.step % interval == 0 for interval in self._intervals):
            return {}
        measurement = self.measure("validation")
        self._measured = (self.step, measurement)
        metrics = dict(measurement.values)
        try:
            self.scheduler.observe(metrics)
        except MetricError:  # NaN, where the plan does not say what that is: as with the loss
            self.diverged = True
        return metrics

    def _backward(self, batch: Batch, share: int) -> float:
        task, precision = self.task, self._precision
        batch = move_to(batch, self.device)
        with precision.forward():
            loss = task.loss(self.model, batch)
        if not (type(loss) is Tensor and loss.ndim == 0 and loss.requires_grad):
            loss = scalar_loss(task.name, loss, batch)
        precision.backward(loss if share == 1 else loss / share)
        return loss.item()

    def _grad_norm(self, clip: float | None) -> float:
        parameters = [
            p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if clip is not None:
            return float(nn.utils.clip_grad_norm_(parameters, clip))
        gradients = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in parameters]
        norms = torch._foreach_norm(gradients)
        return float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms])))


def _scheduler(plan: Plan, optimizer: Optimizer) -> Scheduler:
    if plan.groups:
        return Scheduler.from_plan(plan, optimizer)
    return Scheduler(optimizer, plan.schedule, plan.horizon, control=plan.control, floor=plan.floor)


def _unsaved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that a module keeps out of its state_dict: the next update may depend on them all the same."""
    saved = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name not in saved}
