"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch has one thread for as long as the test lasts."""
    yield from _threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch has two threads for as long as the test lasts."""
    yield from _threads(2)


def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
