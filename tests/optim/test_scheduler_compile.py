"""Compiled training steps: every update is counted, lrs arrive, nothing is compiled again."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim import SGD, AdamW, Optimizer

from lrkit.optim import Scheduler
from lrkit.spec import parse

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
