"""What programs rely on beside the numbers: warnings, errors, subclasses, tensors, other hands on the lr, memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch.optim import SGD

import lrkit.lr_scheduler as twin
from drop_in import CHAINABLE, EVERY, OVERWRITING, advance, lrs, sgd, stock, trace


def fresh(lr: Any = 0.1) -> SGD:
    """An optimizer that was not stepped."""
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def heard(scheduler: Any, *arguments: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler.step(*arguments)
    return [f"{warning.message} ({warning.filename})" for warning in caught]


@pytest.mark.parametrize("name", CHAINABLE.keys() | OVERWRITING.keys() - {"CosineAnnealingWarmRestarts"})
def test_a_step_before_the_optimizers_is_warned_of_where_it_is_called(name: str) -> None:
    make = EVERY[name]
    (theirs,), (ours,) = (heard(make(module, fresh())) for module in (stock, twin))
    assert ours == theirs
    assert "how-to-adjust-learning-rate" in ours
    scheduler = make(twin, fresh())
    scheduler.optimizer.step()
    assert [heard(scheduler) for _ in range(5)] == [[]] * 5


def test_a_step_method_that_was_replaced_is_warned_of() -> None:
    scheduler = twin.StepLR(fresh(), 3)
    scheduler.optimizer.step = lambda: None  # type: ignore[method-assign]  # as a wrapper would
    (said,) = heard(scheduler)
    assert "`optimizer.step()` has been overridden" in said


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "LambdaLR", "OneCycleLR", "CyclicLR"])
def test_an_epoch_is_one_warning_and_the_closed_form(name: str) -> None:
    theirs, ours = (EVERY[name](module, sgd(0.1)) for module in (stock, twin))
    for epoch in (3, 7, 2):
        for scheduler in (theirs, ours):
            (said,) = heard(scheduler, epoch)
            assert said == f"{twin.EPOCH_DEPRECATION_WARNING} ({__file__})"
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer))
        assert ours.last_epoch == theirs.last_epoch == epoch
    assert trace(ours, 5) == [pytest.approx(row) for row in trace(theirs, 5)]


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_said_by_building_loading_and_stepping(name: str) -> None:
    scheduler = EVERY[name](twin, fresh())
    scheduler.optimizer.step()
    advance(scheduler, 3)
    EVERY[name](twin, fresh()).load_state_dict(scheduler.state_dict())


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda m, o: m.LambdaLR(o, [lambda _: 1.0] * 3), ValueError),
        (lambda m, o: m.MultiplicativeLR(o, 3), TypeError),
        (lambda m, o: m.ConstantLR(o, 1.5), ValueError),
        (lambda m, o: m.LinearLR(o, 0.0), ValueError),
        (lambda m, o: m.StepLR(o, 3, last_epoch=4), KeyError),
        (lambda m, o: m.CosineAnnealingWarmRestarts(o, 1.5), ValueError),
        (lambda m, o: m.CyclicLR(o, 0.1, 1.0, mode="square"), ValueError),
        (lambda m, o: m.OneCycleLR(o, 1.0), ValueError),
        (lambda m, o: m.OneCycleLR(o, 1.0, total_steps=5, pct_start=2.0), ValueError),
        (lambda m, o: m.SequentialLR(o, [m.StepLR(o, 3)], [3]), ValueError),
        (lambda m, o: m.SequentialLR(o, [m.ReduceLROnPlateau(o), m.StepLR(o, 3)], [3]), ValueError),
        (lambda m, o: m.ChainedScheduler([]), ValueError),
        (lambda m, o: m.ReduceLROnPlateau(o, factor=1.0), ValueError),
        (lambda m, o: m.SWALR(o, 0.1, anneal_strategy="square"), ValueError),
        (lambda m, o: m.StepLR("no optimizer", 3), TypeError),
    ],
)
def test_errors_are_torchs(build: Any, error: type[Exception]) -> None:
    said = []
    for module in (stock, twin):
        with pytest.raises(error) as caught:
            build(module, fresh())
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", CHAINABLE)
@pytest.mark.parametrize("others", ["StepLR", "CosineAnnealingLR", "LinearLR"])
def test_several_on_one_optimizer_multiply(name: str, others: str) -> None:
    seen = []
    for module in (stock, twin):
        optimizer = sgd(0.1, 0.3)
        pair = [EVERY[key](module, optimizer) for key in (name, others)]
        seen.append([])
        for _ in range(11):
            seen[-1].append(lrs(optimizer))
            for scheduler in pair:
                advance(scheduler)
    assert seen[1] == [pytest.approx(row, rel=1e-10, abs=1e-15) for row in seen[0]]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("at", [1, 2, 6])
def test_a_change_from_outside_counts_as_in_torch(name: str, at: int) -> None:
    seen = []
    for module in (stock, twin):
        scheduler = EVERY[name](module, sgd(0.1, 0.1, 0.3))
        advance(scheduler, at)
        scheduler.optimizer.param_groups[1]["lr"] *= 0.25
        seen.append(trace(scheduler, 6))
        assert scheduler.get_last_lr() == lrs(scheduler.optimizer)
    assert seen[1] == [pytest.approx(row, rel=1e-10, abs=1e-15) for row in seen[0]]


@pytest.mark.parametrize("name", EVERY)
def test_plateau_multiplies_with_any_other(name: str) -> None:
    seen = []
    for module in (stock, twin):
        optimizer = sgd(0.1)
        other, plateau = (
            EVERY[name](module, optimizer),
            module.ReduceLROnPlateau(optimizer, patience=2, factor=0.5),
        )
        seen.append([])
        for step in range(11):
            seen[-1].append(lrs(optimizer))
            advance(other)
            plateau.step(1.0 if step else 2.0)
    assert seen[1] == [pytest.approx(row, rel=1e-10, abs=1e-15) for row in seen[0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EVERY)
def test_a_tensor_stays_the_same_object(name: str, dtype: torch.dtype) -> None:
    """Mixed with plain numbers, too; what is read from a scheduler is a copy."""
    lr = torch.tensor(0.1, dtype=dtype)
    ours, theirs = EVERY[name](twin, sgd(lr, 0.3)), EVERY[name](stock, sgd(0.1, 0.3))
    for _ in range(20):
        assert ours.optimizer.param_groups[0]["lr"] is lr
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-5, abs=1e-7)
        last = ours.get_last_lr()
        assert last[0] is not lr
        assert torch.equal(last[0], lr)
        advance(ours)
        advance(theirs)
    assert (
        "initial_lr" not in ours.optimizer.param_groups[0]
        or ours.optimizer.param_groups[0]["initial_lr"] is not lr
    )


@pytest.mark.parametrize("name", CHAINABLE.keys() | OVERWRITING.keys())
def test_asking_for_the_lr_changes_nothing(name: str) -> None:
    """A host may write what `get_lr` says, count by itself, and never step (Ignite); or ask before each step."""
    if "SWALR" in name:
        pytest.skip("counts by _step_count")
    whole = trace(EVERY[name](stock, sgd(0.1, 0.3)), 15)
    host, asked = EVERY[name](twin, sgd(0.1, 0.3)), EVERY[name](twin, sgd(0.1, 0.3))
    for row in whole if "Restarts" not in name else []:
        host._get_lr_called_within_step = True
        for _ in range(2):
            values = host.get_lr()
        for group, value in zip(host.optimizer.param_groups, values, strict=True):
            group["lr"] = value
        host.last_epoch += 1
        assert lrs(host.optimizer) == pytest.approx(row, rel=1e-11)
    for row in whole:
        with pytest.warns(UserWarning, match="get_last_lr"):
            assert asked.get_lr() == pytest.approx(row, rel=1e-11)
        advance(asked)


def test_a_class_of_the_users_own_computes_its_own_rates() -> None:
    class Halving(twin.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    class Floored(twin.ExponentialLR):
        def get_lr(self) -> list[Any]:
            return [max(rate, 0.05) for rate in super().get_lr()]

    assert trace(Halving(sgd(1.0)), 3) == [[1.0], [0.5], [0.25]]
    assert trace(Floored(sgd(0.1), 0.5), 4) == [[0.1], [0.05], [0.05], [0.05]]


def test_parameters_that_are_changed_count_from_the_next_step() -> None:
    scheduler = twin.ExponentialLR(sgd(1.0), 0.5)
    advance(scheduler, 3)
    scheduler.gamma = 0.1
    advance(scheduler)
    assert scheduler.gamma == 0.1
    assert lrs(scheduler.optimizer) == [pytest.approx(0.1**4)]


def test_lambdas_that_are_replaced_count_from_the_next_step() -> None:
    scheduler = twin.LambdaLR(sgd(1.0), lambda _: 0.5)
    advance(scheduler, 3)
    scheduler.lr_lambdas[0] = lambda _: 0.25
    advance(scheduler)
    assert lrs(scheduler.optimizer) == [0.25]


def test_a_function_of_many_groups_is_called_once_a_step() -> None:
    calls: list[int] = []
    scheduler = twin.LambdaLR(sgd(0.1, 0.2, 0.3), lambda step: calls.append(step) or 0.5)
    advance(scheduler, 4)
    assert calls == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", EVERY)
def test_a_scheduler_dies_when_it_is_forgotten(name: str) -> None:
    gc.collect()
    gc.disable()
    try:
        optimizer = fresh()
        scheduler = EVERY[name](twin, optimizer)
        optimizer.step()
        advance(scheduler, 3)
        gone = weakref.ref(scheduler)
        del scheduler
        assert gone() is None
        gone = weakref.ref(optimizer)
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_the_module_has_every_public_name_of_torchs() -> None:
    assert set(torch.optim.lr_scheduler.__all__) <= set(twin.__all__)
    assert twin.EPOCH_DEPRECATION_WARNING is torch.optim.lr_scheduler.EPOCH_DEPRECATION_WARNING
    assert issubclass(twin._LRScheduler, twin.LRScheduler)


def test_it_is_imported_as_torchs_is_and_lrkit_alone_loads_no_torch() -> None:
    code = (
        "import sys, lrkit; assert 'torch' not in sys.modules;"
        "from lrkit import lr_scheduler; assert lrkit.lr_scheduler is lr_scheduler;"
        "from lrkit.lr_scheduler import StepLR; assert lr_scheduler.StepLR is StepLR"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
