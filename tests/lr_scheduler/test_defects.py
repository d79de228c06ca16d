"""What torch gets wrong: each defect is shown by torch itself, and is right here, or right when it is asked for."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch

import lrkit.lr_scheduler as twin
from drop_in import advance, half, lrs, sgd, stock, trace
from lrkit.errors import SpecError


def rates(scheduler: Any, steps: int, place: int = 0) -> list[float]:
    return [row[place] for row in trace(scheduler, steps)]


def test_a_cosine_climbs_again_unless_told_to_hold() -> None:
    assert rates(stock.CosineAnnealingLR(sgd(1.0), 4), 9)[-1] == pytest.approx(1.0)
    assert rates(twin.CosineAnnealingLR(sgd(1.0), 4), 9)[-1] == pytest.approx(1.0)
    held = rates(twin.CosineAnnealingLR(sgd(1.0), 4, eta_min=0.1, after="hold"), 9)
    assert held[:5] == pytest.approx(rates(stock.CosineAnnealingLR(sgd(1.0), 4, eta_min=0.1), 5))
    assert held[4:] == [0.1] * 5


@pytest.mark.parametrize(("strategy", "bounce"), [("cos", 0.0495), ("linear", -0.1429)])
def test_one_cycle_bounces_at_its_end_and_then_raises_unless_told_to_hold(
    strategy: str, bounce: float
) -> None:
    for module in (stock, twin):
        scheduler = module.OneCycleLR(sgd(1.0), 1.0, total_steps=10, anneal_strategy=strategy)
        advance(scheduler, 10)
        assert lrs(scheduler.optimizer) == [pytest.approx(bounce, abs=1e-4)]
        with pytest.raises(ValueError, match="Tried to step 11 times"):
            advance(scheduler)
    held = twin.OneCycleLR(sgd(1.0), 1.0, total_steps=10, anneal_strategy=strategy, after="hold")
    assert rates(held, 25)[9:] == pytest.approx([4e-6] * 16)
    assert held.optimizer.param_groups[0]["momentum"] == pytest.approx(0.95)


def test_a_guard_that_is_one_step_too_wide_stops_one_cycle_at_its_minimum() -> None:
    """Accelerate steps a scheduler while `_step_count <= total_steps`."""
    scheduler = twin.OneCycleLR(sgd(1.0), 1.0, total_steps=10, after="hold")
    while scheduler._step_count <= scheduler.total_steps:
        advance(scheduler)
    assert lrs(scheduler.optimizer) == [pytest.approx(4e-6)]


@pytest.mark.parametrize(("total", "share"), [(5, 1.0), (5, 0.2), (1, 1.0)])
def test_one_cycle_does_not_divide_by_zero(total: int, share: float) -> None:
    def steps(module: Any) -> list[float]:
        scheduler = module.OneCycleLR(sgd(1.0), 1.0, total_steps=total, pct_start=share)
        return [*rates(scheduler, total), *lrs(scheduler.optimizer)]

    with pytest.raises(ZeroDivisionError):
        steps(stock)
    assert all(3.9e-6 <= rate <= 1.0 for rate in steps(twin))


@pytest.mark.parametrize("total", [2, 3, 4, 5, 7, 10, 11])
def test_every_one_cycle_rises_when_mended(total: int) -> None:
    if total in (2, 3):
        first, *others = rates(stock.OneCycleLR(sgd(1.0), 1.0, total_steps=total), total)
        assert max(others) < first
    first, *others = rates(twin.OneCycleLR(sgd(1.0), 1.0, total_steps=total, defects="mended"), total)
    assert first == pytest.approx(0.04)
    assert max(others) == pytest.approx(1.0)
    assert total == 2 or others[-1] == pytest.approx(4e-6)


def test_three_phases_come_to_their_end_when_mended() -> None:
    def last(module: Any, **more: str) -> float:
        return rates(
            module.OneCycleLR(sgd(1.0), 1.0, total_steps=20, pct_start=0.6, three_phase=True, **more), 20
        )[-1]

    assert last(stock) == last(twin) > 0.04
    assert last(twin, defects="mended") == pytest.approx(4e-6)


@pytest.mark.parametrize("period", [1, 5, 17, 59])
def test_a_warm_restart_is_at_the_peak(period: int) -> None:
    """121 periods are the end of the fifth cycle: torch's logarithm says the fourth."""
    theirs = stock.CosineAnnealingWarmRestarts(sgd(1.0), period, 3)
    ours = twin.CosineAnnealingWarmRestarts(sgd(1.0), period, 3)
    for scheduler in (theirs, ours):
        scheduler.step(121 * period)
    assert lrs(theirs.optimizer) == [pytest.approx(0.0, abs=1e-12)]
    assert lrs(ours.optimizer) == [1.0]
    assert (ours.T_cur, ours.T_i) == (0, 243 * period)


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_jumping_to_an_epoch_is_stepping_there(growth: int) -> None:
    stepped = rates(twin.CosineAnnealingWarmRestarts(sgd(1.0), 3, growth), 130)
    for epoch in range(130):
        jumped = twin.CosineAnnealingWarmRestarts(sgd(1.0), 3, growth)
        jumped.step(epoch)
        assert lrs(jumped.optimizer) == [stepped[epoch]]


def test_warm_restarts_built_in_the_middle_find_their_cycle() -> None:
    stepped = rates(twin.CosineAnnealingWarmRestarts(sgd(1.0), 3, 2), 30)
    optimizer = sgd(1.0)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    theirs = stock.CosineAnnealingWarmRestarts(copy.deepcopy(optimizer), 3, 2, last_epoch=12)
    ours = twin.CosineAnnealingWarmRestarts(optimizer, 3, 2, last_epoch=12)
    assert rates(ours, 17) == stepped[13:]
    assert lrs(theirs.optimizer) != [pytest.approx(stepped[13])]


def test_after_a_fraction_of_an_epoch_a_plain_step_goes_to_the_next_whole_one_when_mended() -> None:
    def peak_after(module: Any, **more: str) -> float:
        scheduler = module.CosineAnnealingWarmRestarts(sgd(1.0), 10, **more)
        scheduler.step(7.5)
        return max(rates(scheduler, 12)[1:])

    assert peak_after(stock) == peak_after(twin) < 1.0  # the restart is missed for ever
    assert peak_after(twin, defects="mended") == 1.0


@pytest.mark.parametrize("nested", ["ChainedScheduler", "SequentialLR"])
def test_joints_may_stand_in_any_place_of_a_sequence(nested: str) -> None:
    def build(m: Any, o: Any) -> Any:
        if nested == "ChainedScheduler":
            return m.ChainedScheduler([m.LinearLR(o, 0.1, 1.0, 3), m.ExponentialLR(o, 0.5)])
        return m.SequentialLR(o, [m.ConstantLR(o, 0.5, 9), m.ExponentialLR(o, 0.5)], [2])

    def second(m: Any) -> Any:
        optimizer = sgd(1.0)
        return m.SequentialLR(optimizer, [m.ConstantLR(optimizer, 0.1, 9), build(m, optimizer)], [4])

    def first(m: Any) -> Any:
        optimizer = sgd(1.0)
        return m.SequentialLR(optimizer, [build(m, optimizer), m.ConstantLR(optimizer, 0.1, 9)], [4])

    alone = rates(build(stock, sgd(1.0)), 4)
    with pytest.raises(NotImplementedError):
        rates(second(stock), 6)
    assert rates(second(twin), 8) == pytest.approx([0.1] * 4 + alone)
    assert rates(first(stock), 4) != pytest.approx(alone)
    assert rates(first(twin), 6) == pytest.approx([*alone, 0.1, 0.1])


def test_a_member_that_rewrites_the_initial_lr_does_not_lower_the_warmup_when_mended() -> None:
    def warmup(module: Any, **more: str) -> list[float]:
        optimizer = sgd(1.0)
        members = [module.LinearLR(optimizer, 0.1, 1.0, 4), module.OneCycleLR(optimizer, 1.0, total_steps=20)]
        return rates(module.SequentialLR(optimizer, members, [5], **more), 8)

    assert warmup(stock)[:5] == pytest.approx([0.004, 0.013, 0.022, 0.031, 0.04])
    assert warmup(twin) == pytest.approx(warmup(stock))
    mended = warmup(twin, defects="mended")
    assert mended[:5] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert mended[5:] == pytest.approx(warmup(stock)[5:])


def test_a_product_begins_at_the_base_lr_when_mended() -> None:
    def entered(module: Any, **more: str) -> float:
        optimizer = sgd(1.0)
        members = [module.ConstantLR(optimizer, 0.5, 9), module.MultiplicativeLR(optimizer, lambda _: 0.9)]
        return rates(module.SequentialLR(optimizer, members, [3], **more), 4)[-1]

    assert entered(stock) == entered(twin) == pytest.approx(0.45)
    assert entered(twin, defects="mended") == 1.0


@pytest.mark.parametrize("done", range(12))
def test_a_sequence_built_in_the_middle_goes_on(done: int) -> None:
    """As for other classes, last_epoch=k stands at step k + 1; mended, it is the number of updates done."""

    def build(lr: float, **more: Any) -> Any:
        optimizer = sgd(lr)
        optimizer.param_groups[0]["initial_lr"] = 1.0
        members = [
            twin.LinearLR(optimizer, 0.1, 1.0, 3),
            twin.ChainedScheduler([twin.CosineAnnealingLR(optimizer, 9), twin.ExponentialLR(optimizer, 0.9)]),
            twin.CosineAnnealingWarmRestarts(optimizer, 3),
        ]
        return twin.SequentialLR(optimizer, members, [3, 8], **more)

    whole = rates(build(1.0), 20)
    assert rates(build(1.0, last_epoch=done), 19 - done) == pytest.approx(whole[done + 1 :])
    assert rates(build(1.0, last_epoch=done, defects="mended"), 20 - done) == pytest.approx(whole[done:])


def test_no_steps_of_warmup_are_no_warmup_when_mended() -> None:
    for build, after in (
        (lambda m, **more: m.ConstantLR(sgd(1.0), 0.3, 0, **more), 1.0),
        (lambda m, **more: m.LinearLR(sgd(1.0), 0.3, 0.8, 0, **more), 0.8),
    ):
        assert rates(build(stock), 4) == rates(build(twin), 4) == [0.3] * 4
        assert rates(build(twin, defects="mended"), 4) == [after] * 4


def test_a_constant_factor_of_zero_ends() -> None:
    with pytest.raises(ZeroDivisionError):
        rates(stock.ConstantLR(sgd(0.1), 0.0, 3), 5)
    assert rates(twin.ConstantLR(sgd(0.1), 0.0, 3), 5) == [0.0, 0.0, 0.0, 0.1, 0.1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_constant_negative_metric_is_no_improvement_when_mended(mode: str) -> None:
    def after(module: Any, metric: float, **more: Any) -> float:
        optimizer = sgd(1.0)
        scheduler = module.ReduceLROnPlateau(optimizer, mode, patience=2, **more)
        for _ in range(8):
            scheduler.step(metric)
        return lrs(optimizer)[0]

    assert after(stock, -1.0) == after(twin, -1.0) == 1.0
    assert after(twin, -1.0, defects="mended") == after(stock, 1.0) == pytest.approx(0.01)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_mended_threshold_is_torchs_for_positive_metrics(mode: str) -> None:
    metrics = [
        3.0,
        2.5,
        2.49,
        2.4899,
        2.6,
        2.3,
        2.3,
        2.3,
        2.3,
        2.3,
        2.1,
        5.0,
        5.2,
        5.20001,
        5.2,
        5.2,
        5.2,
        5.2,
    ]
    schedulers = [
        stock.ReduceLROnPlateau(sgd(1.0), mode, patience=2, cooldown=1),
        twin.ReduceLROnPlateau(sgd(1.0), mode, patience=2, cooldown=1, defects="mended"),
    ]
    for metric in metrics:
        for scheduler in schedulers:
            scheduler.step(metric)
        assert lrs(schedulers[0].optimizer) == lrs(schedulers[1].optimizer)


def test_a_state_of_cyclic_lr_is_loaded_twice() -> None:
    for module in (stock, twin):
        scheduler = module.CyclicLR(sgd(), 0.1, 1.0)
        state = scheduler.state_dict()
        scheduler.load_state_dict(state)
        if module is stock:
            with pytest.raises(KeyError):
                scheduler.load_state_dict(state)
        else:
            scheduler.load_state_dict(state)


LATE = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, half),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda _: 0.9),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 5),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.1, 1.0, 3),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 1.0, total_steps=20),
}


def added(scheduler: Any, lr: float) -> Any:
    scheduler.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr})
    return scheduler


@pytest.mark.parametrize("name", LATE)
def test_a_group_added_later_joins(name: str) -> None:
    theirs, ours = (LATE[name](module, sgd(0.1)) for module in (stock, twin))
    for scheduler in (theirs, ours):
        advance(scheduler, 3)
        added(scheduler, 0.1)
    with pytest.raises((ValueError, KeyError)):
        advance(theirs)
    advance(ours)
    first, late = zip(*trace(ours, 6), strict=True)
    ratio = [b / a for a, b in zip(first, late, strict=True)]
    assert ratio == pytest.approx([ratio[0]] * 6)
    assert ours.get_last_lr() == lrs(ours.optimizer)
    assert len(ours.base_lrs) == 2


def test_a_group_added_later_goes_on_from_its_own_lr_or_joins_the_schedule_when_mended() -> None:
    def late(module: Any, **more: str) -> float:
        scheduler = module.LinearLR(sgd(0.1), 0.1, 1.0, 5, **more)
        advance(scheduler)
        advance(added(scheduler, 1e-3), 6)
        return lrs(scheduler.optimizer)[1]

    assert late(stock) == pytest.approx(late(twin)) == pytest.approx(3.57e-3, rel=1e-3)
    assert late(twin, defects="mended") == pytest.approx(1e-3)


def test_functions_of_their_own_leave_no_function_for_a_late_group() -> None:
    scheduler = added(twin.LambdaLR(sgd(0.1, 0.2), [half, lambda _: 1.0]), 0.3)
    with pytest.raises(ValueError, match="shorter"):
        advance(scheduler)


@pytest.mark.parametrize("n", range(1, 9))
def test_last_epoch_is_the_number_of_updates_done_when_mended(n: int) -> None:
    """torch stands one step further, and what the optimizer holds decides what the lr will be."""

    def resumed(module: Any, lr: float, **more: str) -> list[float]:
        optimizer = sgd(lr)
        optimizer.param_groups[0]["initial_lr"] = 1.0
        return rates(module.LinearLR(optimizer, 0.1, 1.0, 8, last_epoch=n, **more), 14 - n)

    whole = rates(stock.LinearLR(sgd(1.0), 0.1, 1.0, 8), 14)
    for lr in (whole[n], 1.0):
        assert resumed(twin, lr) == pytest.approx(resumed(stock, lr))
        assert resumed(twin, lr, defects="mended") == pytest.approx(whole[n:])
    assert n > 6 or resumed(stock, 1.0)[-1] != pytest.approx(1.0)


@pytest.mark.parametrize("longer", ["stock", "mended"])
def test_a_run_that_is_prolonged_has_the_length_it_was_asked_for_when_mended(longer: str) -> None:
    scheduler = twin.CosineAnnealingLR(sgd(1.0), 5)
    advance(scheduler, 5)
    again = twin.CosineAnnealingLR(sgd(1.0), 10, defects=longer)
    again.load_state_dict(scheduler.state_dict())
    if longer == "stock":
        assert again.T_max == 5
        assert rates(again, 5)[-1] > 0.9
    else:
        assert again.T_max == 10
        assert rates(again, 6) == pytest.approx(rates(stock.CosineAnnealingLR(sgd(1.0), 10), 11)[5:])


def test_an_unknown_word_gets_the_nearest_one() -> None:
    with pytest.raises(SpecError, match="mended"):
        twin.StepLR(sgd(), 3, defects="mend")
    with pytest.raises(SpecError, match="hold"):
        twin.CosineAnnealingLR(sgd(), 3, after="hld")


@pytest.mark.parametrize(
    "name", [name for name in twin.__all__ if hasattr(getattr(stock, name, None), "step")]
)
def test_signatures_are_torchs_with_more_keywords(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(module, name).__init__).parameters for module in (stock, twin))
    assert list(ours)[: len(theirs)] == list(theirs)
    for key, parameter in theirs.items():
        assert ours[key].default == parameter.default
    for key in list(ours)[len(theirs) :]:
        assert ours[key].kind is inspect.Parameter.KEYWORD_ONLY
        assert ours[key].default == "stock"
