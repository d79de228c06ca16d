"""Compiled training steps: every update is counted, lrs arrive, nothing is compiled again."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim import SGD, AdamW, Optimizer

from lrkit.errors import LrkitError
from lrkit.optim import Scheduler
from lrkit.schedule import Curve
from lrkit.spec import CATALOG, Entry, parse

SPEC = "warmup(20%) >> cosine(to=0)"

# torch's own: its compiler meets torch.jit on the way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Profiler record function")


def optimizer_of(kind: str, groups: int) -> Optimizer:
    tensor = kind.startswith("tensor")
    parameters = [
        {"params": [nn.Parameter(torch.ones(2))], "lr": torch.tensor(0.5) if tensor else 0.5}
        for _ in range(groups)
    ]
    return AdamW(parameters, capturable=True) if kind == "tensor adamw" else SGD(parameters, momentum=0.9)


@pytest.mark.parametrize("kind", ["float sgd", "tensor sgd", "tensor adamw"])
def test_a_compiled_step_counts_and_is_compiled_once(kind: str) -> None:
    steps, groups = 100, 2
    curve = parse(SPEC).over(steps)
    torch._dynamo.reset()
    optimizer = optimizer_of(kind, groups)
    scheduler = Scheduler(optimizer, SPEC, steps)
    counter = CompileCounter()

    @torch.compile(backend=counter)
    def update() -> None:
        optimizer.step()

    frames = []
    for t in range(steps):
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(2)
            assert float(group["lr"]) == pytest.approx(0.5 * curve(t), rel=1e-7)
        update()
        scheduler.step()
        frames.append(counter.frame_count)
    assert scheduler.done == steps
    # The optimizer's own state appears in the first update and its lr becomes a variable in the second.
    assert frames[-1] == frames[3]
    torch._dynamo.reset()


def test_a_group_added_later_is_seen_by_a_compiled_step() -> None:
    curve = parse(SPEC).over(20)
    torch._dynamo.reset()
    optimizer = optimizer_of("tensor sgd", 1)
    Scheduler(optimizer, SPEC, 20)
    update = torch.compile(optimizer.step, backend="eager")
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append(float(opt.param_groups[-1]["lr"])))
    for t in range(6):
        if t == 3:
            optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": torch.tensor(0.25)})
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(2)
        update()
    bases = [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert seen == pytest.approx([base * curve(t) for t, base in enumerate(bases)], rel=1e-7)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "entries",
    [CATALOG[:4], pytest.param(CATALOG, marks=pytest.mark.slow)],
    ids=["a few schedules", "the whole catalog"],
)
def test_the_update_stays_one_graph_under_any_schedule_with_and_without_control(
    entries: tuple[Entry, ...],
) -> None:
    """Capturable, with a tensor lr. Once a Scheduler is there, 100 steps compile nothing and break no graph.

    torch breaks its own `Optimizer.step` once around the update; the update itself is one graph with a Scheduler as
    it is without.
    """
    steps = 100
    torch._dynamo.reset()
    optimizer = optimizer_of("tensor adamw", 2)
    places = [group["lr"] for group in optimizer.param_groups]
    counter = CompileCounter()

    @torch.compile(backend=counter)
    def update() -> None:
        optimizer.step()

    def follow(spec: str, curve: Curve, control: list[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # phases that round to no step
            scheduler = Scheduler(optimizer, spec, steps, control=control)
        gain, compiled = 1.0, None
        for t in range(steps):
            for group in optimizer.param_groups:
                group["params"][0].grad = torch.ones(2)
            lrs = [float(group["lr"]) for group in optimizer.param_groups]
            assert lrs == pytest.approx([0.5 * gain * curve(t)] * 2, rel=1e-6, abs=1e-12)
            update()
            if t == 2:
                compiled = counts(
                    counter
                )  # guards on the new hooks; the graph is there since the first schedule
            if control and t % 20 == 19:
                (action,) = scheduler.observe(1.0)
                gain *= action.factors[0]
        assert counts(counter) == compiled
        assert gain <= 0.5**3 if control else gain == 1.0
        scheduler.close()
        for group, place in zip(optimizer.param_groups, places, strict=True):
            assert group["lr"] is place
            place.fill_(0.5)

    # Each Scheduler's hooks are guarded on anew, and torch gives up after 8 such frames.
    with torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=1000):
        for entry in entries:
            curve = fitting(entry.example, steps)
            assert curve is not None, entry.name
            follow(entry.example, curve, [])
            follow(entry.example, curve, ["plateau(patience=0, factor=0.5)"])
    assert counter.frame_count == 1
    torch._dynamo.reset()


def counts(counter: CompileCounter) -> tuple[int, int, int]:
    """Graphs compiled, frames looked at, and graph breaks so far."""
    found = torch._dynamo.utils.counters
    return counter.frame_count, found["frames"]["total"], sum(found["graph_break"].values())


def fitting(spec: str, steps: int) -> Curve | None:
    """The curve of `spec`, or None where it does not fit so short a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse(spec).over(steps)
        except LrkitError:
            return None
