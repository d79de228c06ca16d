"""Under Ignite's wrapper, which writes `get_lr()` itself: attached as it is by default, and `use_legacy`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from ignite.engine import Engine, Events
from ignite.handlers.param_scheduler import LRScheduler

from convert.stepping import sgd
from peers.hosts import MAKERS, PER_EPOCH, TOTAL, Make, expected


def run(make: Make, *, legacy: bool) -> list[float]:
    """The lr of each update."""
    optimizer, used = sgd(0.5), []

    def update(_: Engine, __: Any) -> None:
        used.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()

    trainer = Engine(update)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says to which event a legacy one belongs, where it is put
        wrapper = LRScheduler(make(optimizer), use_legacy=legacy)
    trainer.add_event_handler(Events.ITERATION_COMPLETED if legacy else Events.ITERATION_STARTED, wrapper)
    trainer.run([0] * PER_EPOCH, max_epochs=TOTAL // PER_EPOCH)
    return used


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_each_update_has_its_own_lr(name: str, legacy: bool) -> None:
    assert run(MAKERS[name], legacy=legacy) == pytest.approx(expected(name, TOTAL), rel=1e-12, abs=1e-15)


def test_torchs_own_cosine_is_wrong_there() -> None:
    """Why the drop-in keeps `get_lr` free of side effects: torch's multiplies whatever lr it finds."""
    from torch.optim.lr_scheduler import CosineAnnealingLR

    used = run(lambda o: CosineAnnealingLR(o, 4), legacy=False)
    assert used[0] == pytest.approx(0.5 * 1.17, rel=1e-2)
