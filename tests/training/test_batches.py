"""Batches of any shape, and the stream that orders them."""

from __future__ import annotations

import random
from collections import UserDict, defaultdict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from lrkit.errors import TaskError
from lrkit.training import BatchStream, count_samples, derive_seed, move_to
from lrkit.training.seeding import seed_everything
from toys import fingerprint, random_states

Pair = namedtuple("Pair", "x y")


@dataclass
class Sample:
    x: torch.Tensor
    label: str


class Custom:
    def __init__(self, device="cpu"):
        self.device = device

    def to(self, device):
        return Custom(str(device))

    def __len__(self):
        return 7


def numbers(count: int, **options) -> DataLoader:
    return DataLoader(TensorDataset(torch.arange(count)), **options)


def flat(batches) -> list[int]:
    return [int(x) for (batch,) in batches for x in batch]


def test_tensors_move_within_any_nesting_and_the_rest_stays():
    x = torch.ones(2)
    batch = {"a": [x, (x, "text")], "b": Pair(x, 3), "c": Sample(x, "cat"), "d": Custom()}
    moved = move_to(batch, torch.device("meta"))
    assert moved["a"][0].is_meta
    assert moved["a"][1] == (moved["a"][1][0], "text")
    assert type(moved["b"]) is Pair
    assert moved["b"].x.is_meta
    assert moved["b"].y == 3
    assert moved["c"].x.is_meta
    assert moved["c"].label == "cat"
    assert moved["d"].device == "meta"
    assert not batch["a"][0].is_meta, "the loader's own batch is not changed"


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (torch.zeros(5, 2), 5),
        ({"id": "x", "image": torch.zeros(4, 1)}, 4),
        (("name", [torch.zeros(3)]), 3),
        (Sample(torch.zeros(6, 2), "cat"), 6),
        (torch.tensor(1.0), 1),
        (Custom(), 7),
    ],
)
def test_samples_are_counted_on_the_first_tensor_or_by_length(batch, samples):
    assert count_samples(batch) == samples


def test_a_batch_that_cannot_be_counted_is_an_error_with_the_remedy():
    with pytest.raises(TaskError, match="__len__"):
        count_samples(object())


@given(
    samples=st.integers(1, 30),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_an_epoch_visits_every_sample_once_and_the_stream_never_ends(samples, batch_size, drop_last, seed):
    loader = numbers(samples, batch_size=batch_size, shuffle=True, drop_last=drop_last)
    stream = BatchStream(loader, seed=seed)
    if len(loader) == 0:
        with pytest.raises(TaskError, match="no batch"):
            next(stream)
        return
    for _ in range(3):
        seen = flat(next(stream) for _ in range(len(loader)))
        assert len(set(seen)) == len(seen)
        assert len(seen) == (samples - samples % batch_size if drop_last else samples)


@given(seed=st.integers(0, 2**40), stop=st.integers(0, 20))
def test_a_stream_resumes_at_any_batch(seed, stop):
    loader = numbers(13, batch_size=3, shuffle=True)
    whole = BatchStream(loader, seed=seed)
    for _ in range(stop):
        next(whole)
    resumed = BatchStream(loader, seed=seed + 1)
    resumed.load_state_dict(whole.state_dict())
    assert flat(next(resumed) for _ in range(12)) == flat(next(whole) for _ in range(12))


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    loader = numbers(50, batch_size=10, shuffle=True, generator=torch.Generator().manual_seed(1))
    before = loader.generator.get_state()
    first = flat(next(BatchStream(loader, seed=5)) for _ in range(1))
    torch.manual_seed(999)
    again = BatchStream(loader, seed=5)
    epochs = [flat(next(again) for _ in range(5)) for _ in range(2)]
    assert epochs[0][:10] == first
    assert epochs[0] != epochs[1]
    assert epochs[0] != flat(next(BatchStream(loader, seed=6)) for _ in range(5))
    assert torch.equal(loader.generator.get_state(), before)


def test_drawing_an_epoch_leaves_the_global_generators_alone():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    sampler = WeightedRandomSampler(torch.ones(9), 9)
    stream = BatchStream(numbers(9, batch_size=2, sampler=sampler), seed=0)
    before = fingerprint(random_states())
    for _ in range(11):
        next(stream)
    assert fingerprint(random_states()) == before


@given(accumulate=st.integers(1, 7))
def test_windows_end_with_the_epoch(accumulate):
    stream = BatchStream(numbers(11, batch_size=2), seed=0)
    sizes = []
    while sum(sizes) < 6:
        sizes.append(len(stream.window(accumulate)))
    assert sum(sizes) == 6
    assert len(sizes) == -(-6 // accumulate)
    assert all(size == accumulate for size in sizes[:-1])


def test_a_list_of_batches_is_a_loader_with_a_place():
    stream = BatchStream(["a", "b", "c"], seed=0)
    assert [next(stream) for _ in range(4)] == ["a", "b", "c", "a"]
    resumed = BatchStream(["a", "b", "c"], seed=0)
    resumed.load_state_dict(stream.state_dict())
    assert next(resumed) == "b"


class Counting:
    """A loader in the manner of torchdata: it keeps its own place."""

    def __init__(self, count: int):
        self.count, self.place = count, 0

    def __iter__(self):
        while self.place < self.count:
            self.place += 1
            yield self.place
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def test_a_loader_with_a_state_resumes_by_it():
    stream = BatchStream(Counting(5), seed=0)
    first = [next(stream) for _ in range(7)]
    assert first == [1, 2, 3, 4, 5, 1, 2]
    resumed = BatchStream(Counting(5), seed=0)
    resumed.load_state_dict(stream.state_dict())
    assert [next(resumed) for _ in range(4)] == [3, 4, 5, 1]


def test_streams_that_share_a_loader_with_a_state_begin_where_it_was_found():
    loader = Counting(5)
    loader.load_state_dict({"place": 2})
    first = BatchStream(loader, seed=0)
    assert [next(first) for _ in range(2)] == [3, 4]
    assert next(BatchStream(loader, seed=0)) == 3


def test_mappings_of_any_kind_move_and_keep_their_kind():
    moved = move_to(defaultdict(list, x=torch.ones(2)), torch.device("meta"))
    assert moved["x"].is_meta
    assert moved["absent"] == []
    assert move_to(UserDict(x=torch.ones(2)), torch.device("meta"))["x"].is_meta


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(4))


def test_any_other_iterable_trains_but_does_not_resume():
    stream = BatchStream(DataLoader(Endless(), batch_size=2), seed=0)
    assert len([next(stream) for _ in range(5)]) == 5
    with pytest.raises(TaskError, match="StatefulDataLoader"):
        stream.state_dict()


def test_a_used_up_generator_and_an_empty_loader_say_what_they_are():
    stream = BatchStream((x for x in [1, 2]), seed=0)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(TaskError, match="cannot start again"):
        next(stream)
    with pytest.raises(TaskError, match="no batch"):
        next(BatchStream([], seed=0))
    with pytest.raises(TaskError, match="iterable of batches"):
        BatchStream("data.csv", seed=0)


def test_seeds_made_from_parts_do_not_collide_by_sums():
    seeds = {derive_seed(seed, epoch) for seed in range(40) for epoch in range(40)}
    assert len(seeds) == 1600


class Noisy:
    """Samples with noise from the global generator, fetched one by one."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return torch.rand(2), index


class NoisyTogether(Noisy):
    def __getitems__(self, indices):
        return [(torch.rand(2), index) for index in reversed(indices)]


class Chance:
    """Batches whose sizes come from numpy's global generator."""

    def __iter__(self):
        return iter([list(range(size)) for size in np.random.randint(1, 4, 5)])

    def __len__(self):
        return 5


@pytest.mark.parametrize("data", [Noisy(), NoisyTogether()])
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 4, "collate_fn": list},
        {"batch_sampler": [[4, 1], [7], [0, 2, 3]]},
    ],
)
def test_batches_are_those_of_torchs_own_loader(data, options):
    loader = DataLoader(data, **options)
    torch.manual_seed(2)
    stream = BatchStream(loader, seed=0)
    mine = [next(stream) for _ in range(len(loader))]
    torch.manual_seed(2)
    walk = iter(loader)
    torch.manual_seed(2)  # a walk begins with a draw of its own
    assert fingerprint(mine) == fingerprint(list(walk))


def test_a_sampler_that_draws_from_numpy_is_seeded_and_leaves_numpy_alone():
    loader = DataLoader(TensorDataset(torch.arange(5)), batch_sampler=Chance())
    found = []
    for outer in (1, 2):
        np.random.seed(outer)
        before = random_states()
        stream = BatchStream(loader, seed=4)
        found.append([flat([next(stream)]) for _ in range(20)])
        assert fingerprint(random_states()) == fingerprint(before)
    assert found[0] == found[1]
    assert len(set(map(len, found[0]))) > 1


def test_a_sample_that_fails_once_does_not_end_the_epoch():
    class Flaky(Noisy):
        failed = False

        def __getitem__(self, index):
            if index == 5 and not self.failed:
                self.failed = True
                raise OSError("the disk is away")
            return index

    stream = BatchStream(DataLoader(Flaky(), batch_size=2), seed=0)
    assert [next(stream).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(OSError, match="away"):
        next(stream)
    assert next(stream).tolist() == [6, 7]


def test_seeding_is_torchs_own():
    torch.manual_seed(11)
    wanted = fingerprint(torch.get_rng_state(), torch.initial_seed(), torch.rand(3))
    seed_everything(11)
    assert fingerprint(torch.get_rng_state(), torch.initial_seed(), torch.rand(3)) == wanted
