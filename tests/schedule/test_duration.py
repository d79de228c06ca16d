"""Durations are exact, print as they are read, and turn into steps only through a horizon that can."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit.duration import Duration, Horizon, half_up
from lrkit.errors import HorizonError, SpecError
from strategies import durations, horizons


@given(durations())
def test_printed_form_reads_back(duration: Duration) -> None:
    assert Duration.of(str(duration)) == duration


@given(st.decimals(0, 10**6, places=6))
def test_decimals_are_exact(amount: Decimal) -> None:
    if amount and amount < Decimal("1e-6"):
        return
    assert Duration.of(f"{amount:f}%").amount == Fraction(amount)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (500, "500"),
        (500.0, "500"),
        (np.int64(500), "500"),
        ("500", "500"),
        (" 500 steps ", "500"),
        ("1 step", "1"),
        ("5%", "5%"),
        ("5.0 percent", "5%"),
        ("0.5%", "0.5%"),
        (".5 %", "0.5%"),
        ("3 epochs", "3 epochs"),
        ("1 epoch", "1 epoch"),
        ("1/3 epochs", "1/3 epochs"),
        ("2/4 epochs", "0.5 epochs"),
        ("1e6 samples", "1000000 samples"),
        ("2e9 tokens", "2000000000 tokens"),
        ("1 token", "1 token"),
        (0, "0"),
        ("0%", "0%"),
    ],
)
def test_canonical_forms(value: int | float | str, text: str) -> None:
    assert str(Duration.of(value)) == text


@pytest.mark.parametrize(
    "value",
    [
        True,
        2.5,
        -1,
        float("nan"),
        float("inf"),
        10**16,
        1e16,
        None,
        b"5%",
        [5],
        np.array([5, 6]),
        "",
        "%",
        "epochs",
        "five",
        "-5%",
        "nan",
        "inf",
        "5 %%",
        "5% 5%",
        "5ep",
        "0x10",
        "1_000",
        "2.5 steps",
        "0.5 samples",
        "1e400",
        "1e-400 epochs",
        "1e999999999%",
        "1e-999999999%",
        "1/0 epochs",
        "9" * 5000,
        "\u0665%",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_duration_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(SpecError) as caught:
        Duration.of(value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_unknown_unit_gets_the_nearest_one() -> None:
    with pytest.raises(SpecError, match=r"unknown unit 'epocs' in '3 epocs'; did you mean 'epochs'\?"):
        Duration.of("3 epocs")


@pytest.mark.parametrize("amount", [0.5, True, "5", -1, Fraction(1, 3)])
def test_the_constructor_takes_exact_whole_steps_only(amount: Fraction) -> None:
    with pytest.raises(SpecError):
        Duration(amount, "steps")


@given(st.fractions(0, 10**6))
def test_half_up_is_the_nearest_whole_number(x: Fraction) -> None:
    whole = half_up(x)
    assert Fraction(-1, 2) < whole - x <= Fraction(1, 2)


@given(horizons(), durations())
def test_units_agree_with_their_definition(horizon: Horizon, duration: Duration) -> None:
    per_step = {
        "steps": Fraction(1),
        "percent": Fraction(100, horizon.steps),
        "epochs": Fraction(1, horizon.steps_per_epoch or 0),
        "samples": Fraction(horizon.batch_size or 0),
        "tokens": Fraction(horizon.tokens_per_step or 0),
    }[duration.unit]
    assert horizon.steps_of(duration) * per_step == duration.amount


@pytest.mark.parametrize(
    ("text", "missing"),
    [("3 epochs", "steps_per_epoch"), ("100 samples", "batch_size"), ("100 tokens", "tokens_per_step")],
)
def test_a_unit_that_the_horizon_cannot_convert_names_what_is_missing(text: str, missing: str) -> None:
    with pytest.raises(HorizonError, match=rf"'{text}' needs Horizon\({missing}=\.\.\.\)"):
        Horizon(100).steps_of(Duration.of(text))


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, "10", None, 10**16])
def test_a_horizon_has_at_least_one_whole_step(steps: int) -> None:
    with pytest.raises(HorizonError, match=r"Horizon\(steps="):
        Horizon(steps)


def test_a_horizon_is_a_value() -> None:
    assert Horizon(10, batch_size=4) == Horizon(np.int64(10), batch_size=4)
    assert hash(Horizon(10)) == hash(Horizon(10))
    assert eval(repr(Horizon(10, batch_size=4))) == Horizon(10, batch_size=4)  # noqa: S307 - our own text


class _Loader:
    def __init__(self, batches: int, batch_size: int | None = 32) -> None:
        self.batches, self.batch_size = batches, batch_size

    def __len__(self) -> int:
        return self.batches


class _Stream:
    batch_size = 8

    def __iter__(self) -> Iterator[int]:
        return iter(())


@given(
    batches=st.integers(1, 1000),
    accumulate=st.integers(1, 16),
    epochs=st.integers(1, 20),
    limit=st.none() | st.integers(1, 1000),
    world_size=st.integers(1, 8),
)
def test_the_horizon_of_a_loader_counts_updates(
    batches: int, accumulate: int, epochs: int, limit: int | None, world_size: int
) -> None:
    """Against a loop that counts: an update closes each full window, and the last window of an epoch in any case."""
    updates = 0
    seen = list(range(batches))[:limit]
    for k in seen:
        updates += (k + 1) % accumulate == 0 or k == seen[-1]
    horizon = Horizon.of(
        _Loader(batches), epochs=epochs, accumulate=accumulate, limit=limit, world_size=world_size
    )
    assert horizon.steps_per_epoch == updates
    assert horizon.steps == epochs * updates
    assert horizon.batch_size == 32 * accumulate * world_size


def test_part_of_an_epoch_is_rounded_half_up() -> None:
    assert Horizon.of(_Loader(7), epochs=0.5).steps == 4
    assert Horizon.of(_Loader(10), epochs=0.1).steps == 1
    assert Horizon.of(_Loader(7), epochs=0.01).steps == 1


def test_the_batch_size_may_be_that_of_the_batch_sampler_or_unknown() -> None:
    loader = _Loader(5, batch_size=None)
    assert Horizon.of(loader, steps=3).batch_size is None
    loader.batch_sampler = _Loader(5, 16)  # type: ignore[attr-defined]
    assert Horizon.of(loader, steps=3).batch_size == 16


def test_a_stream_needs_steps() -> None:
    assert Horizon.of(_Stream(), steps=50) == Horizon(50, batch_size=8)
    with pytest.raises(
        HorizonError, match="a _Stream has no length, so epochs=2 is no number of steps: give steps="
    ):
        Horizon.of(_Stream(), epochs=2)


def test_an_empty_loader_is_an_error() -> None:
    with pytest.raises(HorizonError, match="the _Loader is empty"):
        Horizon.of(_Loader(0), epochs=1)


@pytest.mark.parametrize("arguments", [{}, {"epochs": 1, "steps": 1}])
def test_epochs_or_steps_but_not_both(arguments: dict[str, int]) -> None:
    with pytest.raises(HorizonError, match="exactly one of epochs= and steps="):
        Horizon.of(_Loader(5), **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"epochs": float("nan")},
        {"epochs": True},
        {"epochs": "2"},
        {"steps": 0},
        {"epochs": 1, "accumulate": 0},
        {"epochs": 1, "world_size": 0},
        {"epochs": 1, "limit": 0},
        {"epochs": 1, "limit": 1.5},
    ],
    ids=str,
)
def test_counts_are_checked_at_the_door(arguments: dict[str, int]) -> None:
    with pytest.raises(HorizonError):
        Horizon.of(_Loader(5), **arguments)


def test_torch_loaders_of_both_kinds() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(100))
    loader = torch.utils.data.DataLoader(data, batch_size=8, drop_last=True)
    assert Horizon.of(loader, epochs=2, accumulate=5) == Horizon(6, steps_per_epoch=3, batch_size=40)

    class Endless(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[int]:
            return iter(range(5))

    with pytest.raises(HorizonError, match="has no length"):
        Horizon.of(torch.utils.data.DataLoader(Endless()), epochs=1)
