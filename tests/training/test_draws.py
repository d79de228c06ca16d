"""Runs in threads: dropout draws from the run's own generator, as it does in a plain run."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrkit.training import Run
from lrkit.training.draws import own_draws
from toys import fingerprint, toy_plan, toy_task


def run(seed: int = 0, **changes) -> Run:
    task = toy_task(**changes)
    return Run(task, toy_plan(task), seed=seed)


def masked_net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8), nn.Dropout1d(0.2), nn.RReLU(), nn.AlphaDropout(0.3), nn.Dropout(0.5), nn.Linear(8, 3)
    )


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_stretches_in_and_out_of_threads_train_the_same(in_thread):
    """Masks, parameters and the state to go on from, bit for bit."""
    plain, mixed = run(model=masked_net), run(model=masked_net)
    outer = torch.get_rng_state()
    for index, alone in enumerate(in_thread):
        plain.advance(5 * (index + 1))
        mixed.advance(5 * (index + 1), in_thread=alone)
        assert fingerprint(mixed.state_dict()) == fingerprint(plain.state_dict())
    assert torch.equal(torch.get_rng_state(), outer)


def test_runs_in_threads_do_not_disturb_each_other():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    plain, both = [run(seed) for seed in range(4)], [run(seed) for seed in range(4)]
    for one in plain:
        one.advance(24)
    outer, python = torch.get_rng_state(), random.getstate()
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(lambda one: one.advance(24, in_thread=True), both))
    torch.set_num_threads(before)
    assert [fingerprint(one.state_dict()) for one in both] == [fingerprint(one.state_dict()) for one in plain]
    assert torch.equal(torch.get_rng_state(), outer)
    assert random.getstate() == python


def test_modules_are_as_they_were_afterwards():
    own = nn.Dropout(0.5)
    own.forward = forward = lambda x: x + 1
    model = nn.Sequential(nn.Dropout(0.5), own)
    with pytest.raises(TypeError), own_draws(model, torch.get_rng_state()):
        model("no tensor")
    assert "forward" not in model[0].__dict__
    assert own.forward is forward


def test_what_fails_within_a_module_leaves_the_generator_alone():
    outer = torch.get_rng_state()
    model = nn.Sequential(nn.Dropout(0.5))
    with own_draws(model, torch.Generator().manual_seed(3).get_state()) as draws:
        with pytest.raises(TypeError):
            model("no tensor")
        drawn = model(torch.ones(64))
    assert torch.equal(torch.get_rng_state(), outer)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(drawn, nn.functional.dropout(torch.ones(64), 0.5))
        assert torch.equal(draws.state, torch.get_rng_state())
