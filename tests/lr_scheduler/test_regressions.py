"""What once differed from torch without a reason: one test for each, against torch itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import lrkit.lr_scheduler as twin
from drop_in import EVERY, adam, advance, lrs, sgd, stock, trace


def alike(run: Callable[[Any], list[Any]]) -> None:
    """The same numbers with torch's module as with ours."""
    theirs, ours = run(stock), run(twin)
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_restarts_as_first_member_of_a_sequence_start_at_their_start() -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0)
        members = [m.CosineAnnealingWarmRestarts(optimizer, 3), m.ConstantLR(optimizer)]
        return trace(m.SequentialLR(optimizer, members, [5]), 9)

    alike(run)


def test_restarts_refuse_a_negative_epoch() -> None:
    said = []
    for module in (stock, twin):
        scheduler = module.CosineAnnealingWarmRestarts(sgd(1.0), 3)
        with pytest.raises(ValueError, match="non-negative") as caught:
            scheduler.step(-2)
        said.append((str(caught.value), scheduler.last_epoch))
    assert said[0] == said[1]


@pytest.mark.parametrize("floor", [0.0, 0.001])
@pytest.mark.parametrize("cosine_first", [False, True])
def test_a_chain_passes_the_bottoms_of_a_cosine(floor: float, cosine_first: bool) -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0, 0.3)
        members = [m.ExponentialLR(optimizer, 0.9), m.CosineAnnealingLR(optimizer, 5, eta_min=floor)]
        return trace(m.ChainedScheduler(members[::-1] if cosine_first else members), 40)

    alike(run)


@pytest.mark.parametrize("bottom", [5, 15, 95])
@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_an_lr_by_hand_at_the_bottom_of_a_cosine_goes_on_from_there(bottom: int, floor: float) -> None:
    def run(m: Any) -> list[Any]:
        scheduler = m.CosineAnnealingLR(sgd(1.0, 0.3), 5, eta_min=floor)
        advance(scheduler, bottom)
        scheduler.optimizer.param_groups[0]["lr"] = 0.05
        return trace(scheduler, 25)

    alike(run)


@pytest.mark.parametrize("patience", [0, 1, 2, 4])
def test_a_plateau_beside_a_cosine(patience: int) -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0)
        wave = m.CosineAnnealingLR(optimizer, 5, eta_min=0.001)
        plateau = m.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, min_lr=0.01)
        seen = []
        for _ in range(35):
            seen.append(lrs(optimizer))
            advance(wave)
            plateau.step(1.0)
        return seen

    alike(run)


def test_a_group_added_at_the_bottom_of_a_cosine_joins_the_wave() -> None:
    """With its own lr as base; torch raises ValueError."""
    scheduler = twin.CosineAnnealingLR(sgd(1.0), 5)
    advance(scheduler, 5)
    scheduler.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.05})
    for first, second in trace(scheduler, 25)[1:]:
        assert second == pytest.approx(0.05 * first, abs=1e-15)


@pytest.mark.parametrize("floor", [0.0, 0.01])
@pytest.mark.parametrize("order", [1, -1])
def test_beyond_its_bottom_a_cosine_forgets_what_another_did(order: int, floor: float) -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0)
        pair = [m.StepLR(optimizer, 4), m.CosineAnnealingLR(optimizer, 5, eta_min=floor)][::order]
        seen = []
        for _ in range(40):
            seen.append(lrs(optimizer))
            for scheduler in pair:
                advance(scheduler)
        return seen

    alike(run)


@pytest.mark.parametrize("taken", [4, 5, 6, 15])
def test_a_moved_cosine_is_resumed_at_its_bottom(taken: int) -> None:
    first = twin.CosineAnnealingLR(sgd(1.0, 0.3), 5)
    advance(first, 2)
    first.optimizer.param_groups[0]["lr"] *= 0.5
    advance(first, taken - 2)
    second = twin.CosineAnnealingLR(sgd(7.0, 7.0), 5)
    second.load_state_dict(first.state_dict())
    assert trace(second, 20) == trace(first, 20)


def test_beyond_its_bottom_a_mended_cosine_keeps_what_another_did() -> None:
    optimizer = sgd(1.0)
    pair = [twin.StepLR(optimizer, 4), twin.CosineAnnealingLR(optimizer, 5, defects="mended")]
    seen = []
    for _ in range(8):
        for scheduler in pair:
            advance(scheduler)
        seen += lrs(optimizer)
    assert seen[5:7] == pytest.approx([0.1 * 0.0954915, 0.1 * 0.3454915], rel=1e-6)


def momenta(optimizer: Any) -> list[float]:
    return [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]


def cyclic(m: Any, o: Any) -> Any:
    return m.CyclicLR(o, 0.1, 1.0, 4)


def scaled(m: Any, o: Any) -> Any:
    return m.CyclicLR(o, 0.1, 1.0, 4, scale_fn=lambda cycle: 0.5**cycle)


def one_cycle(m: Any, o: Any) -> Any:
    return m.OneCycleLR(o, 1.0, total_steps=20)


def one_then_cyclic(m: Any, o: Any) -> Any:
    return m.SequentialLR(o, [one_cycle(m, o), cyclic(m, o)], [9])


@pytest.mark.parametrize("taken", [0, 1, 5, 8, 9, 13])
@pytest.mark.parametrize("kind", [sgd, adam])
@pytest.mark.parametrize("make", [cyclic, scaled, one_cycle, one_then_cyclic])
def test_a_state_that_is_loaded_writes_its_momentum(make: Any, kind: Any, taken: int) -> None:
    first, theirs, second = make(twin, kind(0.1)), make(stock, kind(0.1)), make(twin, kind(7.0))
    advance(first, taken)
    advance(theirs, taken)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        assert momenta(second.optimizer) == pytest.approx(momenta(theirs.optimizer), rel=1e-12)
        assert lrs(second.optimizer) == lrs(first.optimizer)
        for scheduler in (first, theirs, second):
            advance(scheduler)
    assert momenta(second.optimizer) == momenta(first.optimizer)


@pytest.mark.parametrize("name", ["StepLR", "MultiplicativeLR"])
def test_an_lr_by_hand_counts_though_it_is_one_that_was_once_asked_for(name: str) -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(0.1)
        if name == "StepLR":
            scheduler = m.StepLR(optimizer, 2, 0.1)
        else:
            scheduler = m.MultiplicativeLR(optimizer, lambda t: 0.1 if t % 2 == 0 else 1.0)
        asked = scheduler.get_last_lr()
        for _ in range(2):
            with pytest.warns(UserWarning, match="get_last_lr"):
                scheduler.get_lr()
            advance(scheduler)
        advance(scheduler)
        optimizer.param_groups[0]["lr"] = asked[0]
        return trace(scheduler, 6)

    alike(run)


@pytest.mark.parametrize("name", EVERY)
def test_a_tensor_that_was_edited_in_place_is_left_as_it_is(name: str) -> None:
    """Torch's never writes a loaded lr; here it is written, unless another hand has been there."""
    found = []
    for module in (stock, twin):
        scheduler = EVERY[name](module, sgd(torch.tensor(0.1, dtype=torch.float64)))
        state = scheduler.state_dict()
        scheduler.optimizer.param_groups[0]["lr"].fill_(0.77)
        scheduler.load_state_dict(state)
        found += lrs(scheduler.optimizer)
    assert found == [0.77, 0.77]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialLR", (0.9,)),
        ("StepLR", (2, 0.5)),
        ("LinearLR", (0.5, 1.0, 8)),
        ("PolynomialLR", (9, 2.0)),
        ("CosineAnnealingLR", (5,)),
        ("CosineAnnealingLR", (4, 0.01)),
    ],
)
@pytest.mark.parametrize("at", [0, 3, 5, 6])
def test_what_a_subclass_makes_of_its_parents_rates_stays_made(
    name: str, arguments: tuple[Any, ...], at: int
) -> None:
    def run(m: Any) -> list[Any]:
        class Halving(getattr(m, name)):  # type: ignore[misc]  # whichever it is
            def get_lr(self) -> list[Any]:
                rates = super().get_lr()
                return [rate / 2 for rate in rates] if self.last_epoch == at else rates

        plain = trace(Halving(sgd(1.0, 0.3), *arguments), 22)
        tensors = trace(Halving(sgd(torch.tensor(1.0, dtype=torch.float64), 0.3), *arguments), 22)
        return plain + tensors

    alike(run)


@pytest.mark.parametrize("at", [0, 1, 3, 5, 6, 12])
@pytest.mark.parametrize("rates", [(1.0,), (1.0, 0.3)])
def test_another_floor_counts_from_where_the_lr_is(at: int, rates: tuple[float, ...]) -> None:
    def run(m: Any) -> list[Any]:
        scheduler = m.CosineAnnealingLR(sgd(*rates), 5)
        before = trace(scheduler, at)
        scheduler.eta_min = 0.5
        return before + trace(scheduler, 25)

    alike(run)


def test_another_floor_counts_in_a_chain() -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0)
        members = [m.ExponentialLR(optimizer, 0.9), m.CosineAnnealingLR(optimizer, 5)]
        chain = m.ChainedScheduler(members)
        before = trace(chain, 7)
        members[1].eta_min = 0.2
        return before + trace(chain, 18)

    alike(run)


@pytest.mark.parametrize("three", [False, True])
def test_the_shortest_one_cycle_comes_down_when_mended(three: bool) -> None:
    minimum = trace(stock.OneCycleLR(sgd(1.0), 1.0, total_steps=10, three_phase=three), 10)[-1]
    scheduler = twin.OneCycleLR(sgd(1.0), 1.0, total_steps=2, three_phase=three, defects="mended")
    assert trace(scheduler, 2) == [[pytest.approx(0.04)], [1.0]]
    assert lrs(scheduler.optimizer) == pytest.approx(minimum)


@pytest.mark.parametrize("period", [1, 2, 5])
@pytest.mark.parametrize("change", [None, 1, 3, 4])
def test_a_chain_comes_to_a_bottom_from_wherever_it_was(period: int, change: int | None) -> None:
    def run(m: Any) -> list[Any]:
        optimizer = sgd(1.0, 0.3)
        members = [m.LinearLR(optimizer, 0.5, 1.0, 6), m.CosineAnnealingLR(optimizer, period)]
        chain = m.ChainedScheduler(members)
        seen = []
        for step in range(20):
            seen.append(lrs(optimizer))
            if step == change:
                optimizer.param_groups[0]["lr"] = 0.2
            advance(chain)
        return seen

    alike(run)
