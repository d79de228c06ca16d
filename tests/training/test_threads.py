"""Threads by the size of an update, counted and never timed."""

from __future__ import annotations

import pytest
import torch

from lrkit.training import advised_threads
from lrkit.training.threads import is_dispatch_bound
from toys import fingerprint, random_states, toy_task


def wide_net() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(4, 1500), torch.nn.Linear(1500, 1500), torch.nn.Linear(1500, 3)
    )


def test_a_small_update_gets_one_thread_and_a_large_one_all(two_threads):
    before = fingerprint(random_states())
    assert advised_threads(toy_task()) == 1
    assert advised_threads(toy_task(model=wide_net)) == 2
    assert fingerprint(random_states()) == before


def test_one_thread_stays_one():
    assert torch.get_num_threads() == 1
    assert advised_threads(toy_task(model=wide_net)) == 1


@pytest.mark.usefixtures("one_thread")
def test_what_an_update_is_bound_by_is_told_whatever_the_threads():
    assert is_dispatch_bound(toy_task())
    assert not is_dispatch_bound(toy_task(model=wide_net))
