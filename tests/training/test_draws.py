"""Runs in threads: dropout draws from the run's own generator, as it does in a plain run."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lrkit.training import Run
from lrkit.training.draws import own_draws
from toys import fingerprint, toy_plan, toy_task


def run(seed: int = 0, **changes) -> Run:
    task = toy_task(**changes)
    return Run(task, toy_plan(task), seed=seed)


def masked_net() -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(4, 8),
        nn.Unflatten(1, (4, 2)),
        nn.Dropout1d(0.2),
        nn.Unflatten(2, (2, 1)),
        nn.Dropout2d(0.1),
        nn.Unflatten(3, (1, 1)),
        nn.Dropout3d(0.1),
        nn.Flatten(),
        nn.Dropout(0.0),
        nn.Dropout(0.5, inplace=True),
        nn.Linear(8, 3),
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


@pytest.mark.usefixtures("one_thread")
def test_runs_in_threads_do_not_disturb_each_other():
    plain, both = [run(seed) for seed in range(4)], [run(seed) for seed in range(4)]
    for one in plain:
        one.advance(24)
    outer, python = torch.get_rng_state(), random.getstate()
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(lambda one: one.advance(24, in_thread=True), both))
    assert [fingerprint(one.state_dict()) for one in both] == [fingerprint(one.state_dict()) for one in plain]
    assert torch.equal(torch.get_rng_state(), outer)
    assert random.getstate() == python


def test_torchs_functions_are_as_they_were_afterwards():
    names = ("dropout", "dropout1d", "dropout2d", "dropout3d")
    plain = [getattr(functional, name) for name in names]
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="within"):
        _fail_within(state)
    assert [getattr(functional, name) for name in names] == plain
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _draw_within(state), range(64)))
    assert [getattr(functional, name) for name in names] == plain


def _fail_within(state: torch.Tensor) -> None:
    with own_draws(state):
        raise RuntimeError("within")


def _draw_within(state: torch.Tensor) -> None:
    with own_draws(state):
        functional.dropout(torch.ones(8), 0.5)


def test_threads_that_are_not_within_draw_from_the_process():
    state = torch.Generator().manual_seed(3).get_state()
    with torch.random.fork_rng(), own_draws(state) as generator, ThreadPoolExecutor(1) as pool:
        torch.manual_seed(3)
        there = pool.submit(functional.dropout, torch.ones(64), 0.5).result()
        assert torch.equal(generator.get_state(), state)
        assert not torch.equal(torch.get_rng_state(), state)
        assert torch.equal(functional.dropout(torch.ones(64), 0.5), there)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout, (16, 8)),
        (nn.Dropout, (0, 8)),
        (nn.Dropout1d, (16, 8, 4)),
        (nn.Dropout2d, (16, 8, 4, 4)),
        (nn.Dropout3d, (4, 8, 2, 2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_masks_are_torchs_own(layer, shape, p, dtype):
    model, batch = layer(p), torch.randn(shape, dtype=dtype)
    state = torch.Generator().manual_seed(3).get_state()
    outer = torch.get_rng_state()
    with own_draws(state) as generator:
        drawn, again = model(batch), model(batch)
        model.eval()
        assert torch.equal(model(batch), batch)
        model.train()
    assert torch.equal(torch.get_rng_state(), outer)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(drawn, model(batch))
        assert torch.equal(again, model(batch))
        assert torch.equal(generator.get_state(), torch.get_rng_state())


def test_what_is_taken_in_another_way_stays_torchs():
    """Without a batch, features are counted from the front: torch's own function draws from the process's generator."""
    outer = torch.get_rng_state()
    with torch.random.fork_rng(), own_draws(outer) as generator:
        nn.Dropout1d(0.5)(torch.randn(8, 4))
        assert torch.equal(generator.get_state(), outer)
        assert not torch.equal(torch.get_rng_state(), outer)
