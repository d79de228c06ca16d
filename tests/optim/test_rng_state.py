"""RngState holds every global generator, in memory and as a file that loads with weights_only."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch

from lrkit.errors import StateError
from lrkit.optim import RngState


def draws() -> list[Any]:
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.standard_normal(),
        torch.rand(3).tolist(),
        torch.randn(1).item(),
    ]


@pytest.fixture(autouse=True)
def own_generators() -> Any:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


@pytest.mark.parametrize("spent", range(4))
def test_what_is_drawn_after_restore_was_drawn_after_capture(spent: int) -> None:
    """Also with half of a pair of normal numbers still in store."""
    for _ in range(spent):
        draws()
    random.gauss(0, 1)
    np.random.standard_normal()
    state = RngState.capture()
    expected = [draws() for _ in range(3)]
    for _ in range(2):
        state.restore()
        assert [draws() for _ in range(3)] == expected


def test_through_a_file() -> None:
    state = RngState.capture()
    expected = draws()
    file = io.BytesIO()
    torch.save(state.to_dict(), file)
    file.seek(0)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    RngState.from_dict(torch.load(file, weights_only=True)).restore()
    assert draws() == expected


def test_another_kind_of_numpy_generator() -> None:
    own = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        state = RngState.from_dict(RngState.capture().to_dict())
        expected = np.random.rand(3).tolist()
        state.restore()
        assert np.random.rand(3).tolist() == expected
    finally:
        np.random.set_bit_generator(own)


def test_a_saved_state_is_not_a_view_of_the_living_one() -> None:
    state = RngState.capture()
    saved = state.to_dict()
    expected = draws()
    saved["torch_cpu"].zero_()
    state.restore()
    assert draws() == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: {k: v for k, v in s.items() if k != "numpy"},
        lambda s: {**s, "python": None},
        lambda s: {**s, "version": 7},
        lambda s: {**s, "torch_cpu": "bytes"},
        lambda s: [],
    ],
)
def test_what_is_no_state_is_refused(damage: Any) -> None:
    with pytest.raises(StateError, match="random generators"):
        RngState.from_dict(damage(RngState.capture().to_dict()))
