"""`schedule_of` reads a scheduler of torch at work: its schedule gives the very rates that stepping it would."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as stock
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import SWALR

import drop_in
from lrkit import Scheduler, lr_scheduler
from lrkit.convert import schedule
from lrkit.convert._to_torch import to_torch
from lrkit.convert.live import schedule_of
from lrkit.convert.members import natural_length
from lrkit.errors import HorizonError, SpecError
from lrkit.schedule import absolute, cosine, linear, warmup

Make = Callable[[Optimizer], LRScheduler]

CHAINABLE: dict[str, Make] = {
    "StepLR": lambda o: stock.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: stock.MultiStepLR(o, [2, 2, 7], 0.5),
    "ConstantLR": lambda o: stock.ConstantLR(o, 0.3, 4),
    "ConstantLR, no steps": lambda o: stock.ConstantLR(o, 0.3, 0),
    "LinearLR": lambda o: stock.LinearLR(o, 0.1, 0.7, 6),
    "ExponentialLR": lambda o: stock.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: stock.PolynomialLR(o, 30, 2.0),
    "CosineAnnealingLR": lambda o: stock.CosineAnnealingLR(o, 30),
    "CosineAnnealingLR, floor": lambda o: stock.CosineAnnealingLR(o, 30, eta_min=0.01),
    "MultiplicativeLR": lambda o: stock.MultiplicativeLR(o, lambda t: 0.99 - 0.001 * t),
    "chain": lambda o: stock.ChainedScheduler([stock.LinearLR(o, 0.1, 1.0, 5), stock.ExponentialLR(o, 0.9)]),
}
ABSOLUTE: dict[str, Make] = {
    "LambdaLR": lambda o: stock.LambdaLR(o, lambda t: 1.0 / (1 + t)),
    "CosineAnnealingWarmRestarts": lambda o: stock.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "CyclicLR": lambda o: stock.CyclicLR(o, 0.1, 1.0, 3, 4, mode="triangular2"),
    "CyclicLR, scaled": lambda o: stock.CyclicLR(
        o, 0.1, 1.0, 3, scale_fn=lambda x: 0.9**x, scale_mode="iterations"
    ),
    "OneCycleLR": lambda o: stock.OneCycleLR(o, 1.0, total_steps=30),
    "OneCycleLR, three": lambda o: stock.OneCycleLR(
        o, 1.0, total_steps=30, three_phase=True, anneal_strategy="linear"
    ),
    "sequence": lambda o: stock.SequentialLR(
        o,
        [stock.LinearLR(o, 0.1, 1.0, 5), stock.CosineAnnealingLR(o, 20), stock.ExponentialLR(o, 0.9)],
        [5, 9],
    ),
    "sequence with a product": lambda o: stock.SequentialLR(
        o, [stock.StepLR(o, 3), stock.MultiplicativeLR(o, lambda t: 0.9)], [5]
    ),
}
EVERY = CHAINABLE | ABSOLUTE


def optimizer_of(*lrs: float) -> SGD:
    return SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs], momentum=0.9)


def rates(scheduler: LRScheduler, steps: int, place: int = 0) -> list[float]:
    group, seen = scheduler.optimizer.param_groups[place], []
    for _ in range(steps):
        seen.append(float(group["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def told(scheduler: LRScheduler, steps: int, place: int | None = None) -> list[float]:
    group = scheduler.optimizer.param_groups[place or 0]
    base = float(group["initial_lr"])
    schedule = schedule_of(scheduler, group=place)
    curve = schedule.over(natural_length(schedule), base_lr=base)
    return [base * curve(step) for step in range(steps)]


@pytest.mark.parametrize("taken", [0, 1, 2, 5, 7, 8, 11])
@pytest.mark.parametrize("name", EVERY)
def test_the_rest_of_a_run_is_what_stepping_gives(name: str, taken: int) -> None:
    scheduler = EVERY[name](optimizer_of(0.1))
    rates(scheduler, taken)
    expected = told(scheduler, 18)
    assert rates(scheduler, 18) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("taken", [0, 3, 8])
@pytest.mark.parametrize("name", EVERY)
def test_a_rate_changed_from_outside_goes_on_as_in_torch(name: str, taken: int) -> None:
    scheduler = EVERY[name](optimizer_of(0.1))
    rates(scheduler, taken)
    scheduler.optimizer.param_groups[0]["lr"] *= 0.37
    expected = told(scheduler, 1 if "sequence" in name else 18)
    assert rates(scheduler, len(expected)) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("steps", [0.0, 2.5, 3.0, 9.0, 10.25, 363.0])
def test_warm_restarts_are_read_in_the_middle_of_an_epoch(steps: float) -> None:
    scheduler = stock.CosineAnnealingWarmRestarts(optimizer_of(0.1), 3, 3)
    scheduler.step(steps)
    expected = told(scheduler, 40)
    assert rates(scheduler, 40) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("taken", [0, 1, 3, 6, 8])
def test_swalr_starts_from_the_rate_that_it_found(taken: int) -> None:
    optimizer = optimizer_of(0.5)
    rates(stock.ExponentialLR(optimizer, 0.9), 4)
    averaging = SWALR(optimizer, 0.05, anneal_epochs=6, anneal_strategy="linear")
    rates(averaging, taken)
    expected = told(averaging, 12)
    assert rates(averaging, 12) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("taken", [0, 4, 9])
@pytest.mark.parametrize("name", drop_in.EVERY)
def test_lrkits_own_classes_of_the_same_names_are_read_as_well(name: str, taken: int) -> None:
    scheduler = drop_in.EVERY[name](lr_scheduler, optimizer_of(0.1))
    rates(scheduler, taken)
    if name == "ChainedScheduler, floor" or (name == "ChainedScheduler, sequence" and taken < 5):
        with pytest.raises(SpecError, match="no product of schedules"):
            schedule_of(scheduler)
        return
    expected = told(scheduler, 12)
    assert rates(scheduler, 12) == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_a_cosine_that_holds_is_read_as_one() -> None:
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer_of(0.1), 5, after="hold")
    assert str(schedule_of(scheduler)) == "cosine(5, to=0)"


def test_what_has_not_begun_has_a_text() -> None:
    optimizer = optimizer_of(0.1)
    warm, decay = stock.LinearLR(optimizer, 0.1, 1.0, 5), stock.CosineAnnealingLR(optimizer, 95)
    schedule = schedule_of(stock.SequentialLR(optimizer, [warm, decay], [5]))
    assert str(schedule) == "(linear(5, to=1, start=0.1) >> cosine(95, to=0, start=1)).after(continue)"


def test_groups_that_differ_are_read_one_by_one() -> None:
    scheduler = stock.LambdaLR(optimizer_of(0.1, 0.2), [lambda t: 0.9**t, lambda t: 0.5**t])
    with pytest.raises(SpecError, match="groups 0 and 1 go different ways"):
        schedule_of(scheduler)
    expected = [told(scheduler, 2, place)[1] for place in (0, 1)]
    scheduler.optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx(expected)


def test_groups_that_go_the_same_way_give_one_schedule_for_all() -> None:
    optimizer = optimizer_of(0.1, 0.4)
    scheduler = stock.CosineAnnealingLR(optimizer, 20, eta_min=0.01)
    rates(scheduler, 3)
    schedule = schedule_of(scheduler)
    for place, base in enumerate((0.1, 0.4)):
        curve = schedule.over(17, base_lr=base)
        again = copy.deepcopy(scheduler)
        assert rates(again, 17, place) == pytest.approx([base * curve(t) for t in range(17)])


def test_a_group_added_later_goes_on_from_its_own_rate() -> None:
    optimizer = optimizer_of(0.1)
    scheduler = stock.ExponentialLR(optimizer, 0.9)
    rates(scheduler, 4)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 3.0})
    curve = schedule_of(scheduler, group=1).over(5)
    assert rates(scheduler, 5, 1) == pytest.approx([3.0 * curve(t) for t in range(5)])


def test_what_no_schedule_says_is_refused_with_a_remedy() -> None:
    optimizer = optimizer_of(0.1)

    class Own(stock.StepLR):
        def get_lr(self) -> list[float]:
            return [0.5 for _ in self.optimizer.param_groups]

    with pytest.raises(SpecError, match=r"control=\[plateau\(.*mode=.?max.?, factor=0\.5, patience=3"):
        schedule_of(stock.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=3))
    with pytest.raises(SpecError, match=r"lrkit's own Scheduler"):
        schedule_of(Scheduler(optimizer, "hold()", 3))
    with pytest.raises(SpecError, match="'Own' computes rates of its own"):
        schedule_of(Own(optimizer, 3))
    with pytest.raises(SpecError, match="neither the name of a peer's schedule nor a live scheduler"):
        schedule_of(42)
    with pytest.raises(SpecError, match="groups 0 to 0"):
        schedule_of(stock.StepLR(optimizer, 3), group=1)


def test_reading_a_scheduler_needs_no_torch() -> None:
    code = "import sys, lrkit.convert.live, lrkit.convert._to_torch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_to_torch_gives_a_stock_scheduler_with_the_schedules_rates() -> None:
    schedule = warmup(3) >> cosine(to=absolute(0.01))
    optimizer = optimizer_of(0.1, 0.4)
    scheduler = to_torch(schedule, optimizer, 12)
    assert type(scheduler) is stock.LambdaLR
    curves = [schedule.over(12, base_lr=base) for base in (0.1, 0.4)]
    for step in range(15):
        assert scheduler.get_last_lr() == [0.1 * curves[0](step), 0.4 * curves[1](step)]
        optimizer.step()
        scheduler.step()
    restored = to_torch(schedule, optimizer_of(0.1, 0.4), 12)
    restored.load_state_dict(scheduler.state_dict())
    assert restored.last_epoch == 15


def test_to_torch_ends_where_the_schedule_ends() -> None:
    optimizer = optimizer_of(0.1)
    scheduler = to_torch(linear(to=0).after("error"), optimizer, 2)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    with pytest.raises(HorizonError):
        scheduler.step()


def test_one_group_of_several_can_be_asked_for_by_the_public_door() -> None:
    optimizer = optimizer_of(0.1, 0.2)
    scheduler = stock.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5**t])
    with pytest.raises(SpecError, match="read each with group="):
        schedule(scheduler)
    assert schedule(scheduler, group=1).over(3).chunk(0, 3).tolist() == [1.0, 0.5, 0.25]
    with pytest.raises(SpecError, match="leave out base_lr"):
        schedule(scheduler, base_lr=1.0)


def test_what_is_no_schedule_is_not_turned_into_torch() -> None:
    for wrong in ((3, optimizer_of(0.1)), ("hold()", None)):
        with pytest.raises(SpecError, match=r"to_torch\(\) takes"):
            to_torch(*wrong, 10)
