"""OneCycleLR: up to the peak and far down, with the momentum against it, in runs of any length and past their end."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import lr_scheduler as stock

from lrkit.lr_scheduler.ahead import CHUNK
from lrkit.lr_scheduler.momentum import write_momentum
from lrkit.lr_scheduler.overwriting import Overwriting
from lrkit.lr_scheduler.twin import After, Defects, Group, Watched, as_after, as_defects

__all__ = ["OneCycleLR"]


class OneCycleLR(Overwriting, stock.OneCycleLR):
    """From `max_lr / div_factor` to `max_lr` to that / `final_div_factor`.

    `after="hold"` keeps the last rate past the end, where torch bounces once and then raises. `defects="mended"`
    puts the peak on a whole step, so that every run of 2 steps or more rises to it, and ends three phases in time.
    """

    __slots__ = ("_keys", "_left")

    _keys: tuple[str, str, str, str]  # of a group: lr from and to, momentum from and to
    _left: dict[int, float]  # by step, the share of where it comes from

    total_steps, _schedule_phases, _anneal_func_type = Watched(), Watched(), Watched()

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
        *,
        after: After = "stock",
        defects: Defects = "stock",
    ) -> None:
        self.after, self.defects = as_after(after), as_defects(defects)
        self._forget()
        super().__init__(
            optimizer,
            max_lr,
            total_steps,
            epochs,
            steps_per_epoch,
            pct_start,
            anneal_strategy,
            cycle_momentum,
            base_momentum,
            max_momentum,
            div_factor,
            final_div_factor,
            three_phase,
            last_epoch,
        )

    def _initial_step(self) -> None:
        if self.defects == "mended":
            self._schedule_phases = _on_whole_steps(self._schedule_phases, self.total_steps)
        super()._initial_step()

    def step(self, epoch: Any = None) -> None:
        """One step on; see torch's class."""
        t, groups = self.last_epoch + 1, self.optimizer.param_groups
        left, last = self._left.get(t), groups[-1]
        if left is None or epoch is not None or last is not self._last or last["lr"].__class__ is not float:
            super().step(epoch)
            return
        source, target, back, forth = self._keys
        for group in groups:
            end = group[target]
            group["lr"] = end + (group[source] - end) * left
        if self.cycle_momentum:
            for group in groups:
                end = group[forth]
                momentum = end + (group[back] - end) * left
                if self.use_beta1:
                    write_momentum([group], momentum, in_betas=True)
                else:
                    group["momentum"] = momentum
        self._now = groups[0]["lr"] if self._count == 1 else [group["lr"] for group in groups]
        self.last_epoch = t
        self._step_count += 1

    def _remember(self) -> None:
        super()._remember()
        for group in self.optimizer.param_groups:
            levels = (
                group.get(key) for key in ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")
            )
            if any(isinstance(level, Tensor) for level in levels):
                self._last = None  # what is computed from tensors has to be made plain

    def _rates_at(self, t: int) -> float | list[float] | None:
        left = self._left.get(t)
        if left is None:
            left = self._find(t)
        if left is None:
            return None
        source, target, back, forth = self._keys
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            momenta = [(end := group[forth]) + (group[back] - end) * left for group in groups]
            write_momentum(groups, momenta, in_betas=self.use_beta1)
        return [float((end := group[target]) + (group[source] - end) * left) for group in groups]

    def _find(self, t: int) -> float | None:
        """Read on from step `t`, within its phase; None where torch is to raise, or has an older formula."""
        kind = self.__dict__.get("_anneal_func_type")
        if t < 0 or kind is None or (t > self.total_steps and self.after == "stock"):
            return None
        begin, phases = 0.0, self._schedule_phases
        for phase in phases:
            end = phase["end_step"]
            if t <= end or phase is phases[-1]:
                break
            begin = end
        over = phase is phases[-1]
        stop = t + CHUNK if over and self.after == "hold" else self.total_steps if over else math.floor(end)
        steps = np.arange(t, min(stop + 1, t + CHUNK))
        share = (steps - begin) / (end - begin) if end > begin else np.ones(len(steps))
        if self.after == "hold":
            share = np.minimum(share, 1.0)
        left = 1.0 - share if kind == "linear" else (1.0 + np.cos(np.pi * share)) / 2.0
        self._keys = phase["start_lr"], phase["end_lr"], phase["start_momentum"], phase["end_momentum"]
        self._left = dict(zip(steps.tolist(), left.tolist(), strict=True))
        return self._left[t]

    def _write_rest(self) -> None:
        if self.cycle_momentum:
            self._rates_at(self.last_epoch)  # writes the momentum

    def _late(self, place: int, group: Group) -> None:
        """The peak of all, if all have one; else its own lr is its peak."""
        first, *others = self.optimizer.param_groups[:place]
        same = all(other["max_lr"] == first["max_lr"] for other in others)
        peak = group.setdefault("max_lr", first["max_lr"] if same else float(group["lr"]))
        group["initial_lr"] = peak * (first["initial_lr"] / first["max_lr"])
        group["min_lr"] = peak * (first["min_lr"] / first["max_lr"])
        for key in ("max_momentum", "base_momentum") if self.cycle_momentum else ():
            group.setdefault(key, first[key])
        super()._late(place, group)

    def _forget(self) -> None:
        super()._forget()
        self._left = {}


def _on_whole_steps(phases: list[Any], total: int) -> list[Any]:
    """The same phases with their peak at a step that there is, and the last one at the end of the run."""
    last = total - 1
    peak = min(max(1, math.floor(phases[0]["end_step"] + 0.5)), last)
    if len(phases) == 3:
        peak = min(peak, max(1, last // 2))
    ends = [peak, last] if len(phases) == 2 else [peak, min(2 * peak, last), last]
    return [{**phase, "end_step": float(end)} for phase, end in zip(phases, ends, strict=True)]
