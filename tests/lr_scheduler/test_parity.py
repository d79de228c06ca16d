"""The drop-in gives torch's own rates, momenta and fields, step after step; torch itself is the oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lrkit.lr_scheduler as twin
from drop_in import EVERY, adam, advance, both, lrs, sgd, stock


@pytest.mark.parametrize(
    "rates", [(0.1,), (0.1, 0.1, 0.1), (0.1, 0.5, 0.02)], ids=["one", "alike", "different"]
)
@pytest.mark.parametrize("name", EVERY)
def test_rates_are_torchs(name: str, rates: tuple[float, ...]) -> None:
    theirs, ours = both(EVERY[name], *rates)
    for _ in range(50):
        expected = lrs(theirs.optimizer)
        assert lrs(ours.optimizer) == pytest.approx(expected, rel=1e-11, abs=1e-16)
        assert ours.get_last_lr() == lrs(ours.optimizer)
        assert getattr(ours, "last_epoch", None) == getattr(theirs, "last_epoch", None)
        assert getattr(ours, "_step_count", None) == getattr(theirs, "_step_count", None)
        advance(theirs)
        advance(ours)


@pytest.mark.parametrize("name", ["CyclicLR", "CyclicLR, exponential", "OneCycleLR", "OneCycleLR, three"])
@pytest.mark.parametrize("make", [sgd, adam])
def test_momentum_cycles_as_torchs(name: str, make: type) -> None:
    theirs, ours = EVERY[name](stock, make(0.1, 0.3)), EVERY[name](twin, make(0.1, 0.3))
    key = "betas" if make is adam else "momentum"
    for _ in range(50):
        for their_group, our_group in zip(
            theirs.optimizer.param_groups, ours.optimizer.param_groups, strict=True
        ):
            assert our_group[key] == pytest.approx(their_group[key], rel=1e-13)
        advance(theirs)
        advance(ours)


@pytest.mark.parametrize("name", EVERY)
def test_fields_are_torchs(name: str) -> None:
    """Every field of torch's class has its value here, and a state has no other keys."""
    theirs, ours = both(EVERY[name], 0.1, 0.3)
    for _ in range(12):
        advance(theirs)
        advance(ours)
    expected, found = theirs.state_dict(), ours.state_dict()
    assert found.keys() - {"_lrkit_spans"} == expected.keys()
    for key, value in expected.items():
        if not callable(value) and key not in ("_schedulers", "_last_lr"):
            assert found[key] == value, key


@pytest.mark.parametrize("name", EVERY)
def test_a_class_is_a_kind_of_torchs(name: str) -> None:
    ours = EVERY[name](twin, sgd())
    kind = name.partition(",")[0]
    assert type(ours).__name__ == kind
    assert isinstance(ours, getattr(stock, kind))
    assert isinstance(ours, torch.optim.lr_scheduler.LRScheduler)


@given(
    st.sampled_from(
        ["step", "milestones", "constant", "linear", "exponential", "polynomial", "cosine", "restarts"]
    ),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_rates_are_torchs_for_any_parameters(kind: str, data: st.DataObject) -> None:
    share, n = st.floats(0.01, 1.0), st.integers(1, 60)
    draw = data.draw
    arguments = {
        "step": lambda: ("StepLR", (draw(n), draw(share))),
        "milestones": lambda: ("MultiStepLR", (draw(st.lists(st.integers(0, 60), max_size=5)), draw(share))),
        "constant": lambda: ("ConstantLR", (draw(share), draw(st.integers(0, 60)))),
        "linear": lambda: ("LinearLR", (draw(share), draw(share), draw(st.integers(0, 60)))),
        "exponential": lambda: ("ExponentialLR", (draw(share),)),
        "polynomial": lambda: ("PolynomialLR", (draw(n), draw(st.floats(0.2, 4.0)))),
        "cosine": lambda: ("CosineAnnealingLR", (draw(st.integers(2, 60)), draw(st.floats(0.0, 0.3)))),
        "restarts": lambda: (
            "CosineAnnealingWarmRestarts",
            (draw(n), draw(st.integers(1, 4)), draw(st.floats(0.0, 0.3))),
        ),
    }[kind]()
    name, values = arguments
    rates = draw(st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=3))
    theirs, ours = both(lambda m, o: getattr(m, name)(o, *values), *rates)
    peak = max(rates)
    for _ in range(75):
        # The recursive forms lose digits where they pass a rate near 0.
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-9, abs=1e-12 * peak)
        advance(theirs)
        advance(ours)


@given(
    st.integers(4, 60),
    st.floats(0.05, 0.95),
    st.sampled_from(["cos", "linear"]),
    st.booleans(),
    st.lists(st.floats(0.01, 10.0), min_size=1, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_one_cycle_is_torchs_up_to_its_bounce(
    total: int, rise: float, strategy: str, three: bool, peaks: list[float]
) -> None:
    assume(abs(rise * total - 1) > 1e-6)  # there torch divides by 0
    theirs, ours = both(
        lambda m, o: m.OneCycleLR(
            o, peaks, total_steps=total, pct_start=rise, anneal_strategy=strategy, three_phase=three
        ),
        *peaks,
    )
    # At the end itself the third phase of torch's, over before it began, is of no sense.
    for _ in range(total - (three and rise > 0.5)):
        advance(theirs)
        advance(ours)
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-11, abs=1e-14)
        pairs = zip(theirs.optimizer.param_groups, ours.optimizer.param_groups, strict=True)
        assert all(mine["momentum"] == pytest.approx(his["momentum"], rel=1e-12) for his, mine in pairs)
    for scheduler in (theirs, ours) if not three else ():
        with pytest.raises(ValueError, match="Tried to step"):
            advance(scheduler)


@given(
    st.one_of(st.integers(1, 30), st.floats(0.7, 30.0)),
    st.one_of(st.none(), st.integers(1, 30), st.floats(0.7, 30.0)),
    st.sampled_from(["triangular", "triangular2", "exp_range"]),
    st.floats(0.8, 1.01),
)
@settings(max_examples=50, deadline=None)
def test_cycles_are_torchs(up: float, down: float | None, mode: str, gamma: float) -> None:
    theirs, ours = both(
        lambda m, o: m.CyclicLR(o, [0.1, 0.2], [1.0, 0.5], up, down, mode=mode, gamma=gamma), 1.0, 1.0
    )
    for _ in range(70):
        assert lrs(ours.optimizer) == pytest.approx(lrs(theirs.optimizer), rel=1e-11, abs=1e-15)
        advance(theirs)
        advance(ours)


def test_a_long_recursion_of_torchs_drifts_and_ours_does_not() -> None:
    steps = 20_000
    theirs, ours = both(lambda m, o: m.LinearLR(o, 1.0, 0.0, steps))
    advance(theirs, steps - 1)
    advance(ours, steps - 1)
    exact = theirs._get_closed_form_lr()[0]
    assert lrs(ours.optimizer) == pytest.approx([exact], rel=1e-13)
    assert abs(lrs(theirs.optimizer)[0] / exact - 1) > 1e-13
