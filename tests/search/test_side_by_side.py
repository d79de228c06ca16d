"""Trials in threads of this process: the same trainings as one after the other, bit for bit, or none at all."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from lrkit.search import search_lr
from lrkit.search.methods.batches import AtHand, batch_at_hand
from lrkit.search.side_by_side import SideBySide, begun_in_order, fused, measured_pairing, pace, weighed
from lrkit.search.states import FileStates
from lrkit.search.trainer import SharedGraphs, Trainer
from lrkit.search.trials import Proposal, Result, Stop
from lrkit.training import default_plan
from toys import blobs, fingerprint, small_net, toy_task

STEPS = 24
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ENOUGH = 10_000
OUTSIDE = "outside of torch's dropout"


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.updates = 0
        self.notes: list[str] = []

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, steps: int, *, loss: float, lr: float) -> None:
        self.updates += steps

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None: ...


class Noisy(nn.Module):
    """Draws from the generator of the process, which threads share, from some update on."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.net, self.first, self.calls = small_net(dropout=0.0), first, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        drawn = self.training and self.calls > self.first
        return self.net(x + 0.1 * torch.randn_like(x)) if drawn else self.net(x)


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
        assert torch.get_num_threads() == 2, "given back"
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lrkit-pair")]
    finally:
        torch.set_num_threads(before)


def trainer(**changes) -> Trainer:
    task = toy_task(**changes)
    return Trainer(task, default_plan(task), seed=0, reporter=Notes())


def asked(start: int = 0, stop: int = STEPS) -> list[Proposal]:
    """One proposal for each of five rates."""
    return [Proposal(lr, 0, start, stop) for lr in RATES]


def comparable(results) -> dict[float, Result]:
    """By rate, without what the clock says."""
    return {result.lr: dataclasses.replace(result, seconds=0.0) for result in results}


def one_by_one(trainer: Trainer, proposals, states: FileStates) -> dict[float, Result]:
    """The plain runs, on as many threads as each has in pairs: rounding depends on it."""
    found = []
    for proposal in proposals:
        torch.set_num_threads(1)
        found += trainer.run([proposal], states)
    torch.set_num_threads(2)
    return comparable(found)


def test_they_end_as_one_after_the_other_bit_for_bit(tmp_path):
    states = FileStates(tmp_path / "apart")
    first = one_by_one(trainer(), asked(stop=8), states)
    both, beside = SideBySide(trainer()), FileStates(tmp_path / "beside")
    before = fingerprint(torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(np.int64)))
    assert comparable(both.run(asked(stop=8), beside)) == first
    for proposal in asked(stop=8):
        one, two = states.load(proposal.key), beside.load(proposal.key)
        assert one is not None
        assert two is not None
        assert fingerprint(one) == fingerprint(two), "a state can be continued by either"
    assert comparable(both.run(asked(8), beside)) == one_by_one(trainer(), asked(8), states)
    assert before == fingerprint(
        torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(np.int64))
    )
    assert both._trainer.reporter.updates == len(RATES) * STEPS
    assert both._trainer.reporter.notes == []


def test_two_are_under_way_at_once_and_one_that_is_alone_has_all_threads(tmp_path):
    there, alone = [], []
    meeting = threading.Barrier(2)

    def loss(model, batch):
        name = threading.current_thread().name
        if name.startswith("lrkit-pair"):
            there.append((name, torch.get_num_threads()))
            if len(there) <= 2:
                meeting.wait(timeout=30)  # breaks, and fails the test, where they come one after the other
        else:
            alone.append(torch.get_num_threads())
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    both = SideBySide(trainer(loss=loss))
    assert len(list(both.run(asked(), FileStates(tmp_path)))) == len(RATES)
    assert {threads for _, threads in there} == {1}
    assert alone == []
    (result,) = both.run([Proposal(0.5, 0, 0, STEPS, alone=True)], FileStates(tmp_path))
    assert result.steps == STEPS
    assert set(alone) == {2}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_of_an_odd_number_one_is_trained_in_turns_with_the_others(tmp_path, count):
    """So that both threads have work to the end, but for half of a trial at most where all take as long."""
    order = [(trial.proposal.lr, [*trial.stops]) for trial in begun_in_order(asked()[:count])]
    *others, last = RATES[:count]
    if count in (1, 2, 4):
        assert order == [(lr, [STEPS]) for lr in RATES[:count]]
    else:
        assert order == [(last, [STEPS // 2, STEPS]), *((lr, [STEPS]) for lr in others)]
    left: list[tuple[float, int]] = []

    class Watched(SideBySide):
        def _train(self, trial, known, abandoned):
            if trial.run is not None:
                left.append((trial.proposal.lr, trial.run.step))
            return super()._train(trial, known, abandoned)

    found = list(Watched(trainer()).run(asked()[:count], FileStates(tmp_path)))
    assert sorted(result.lr for result in found) == sorted(RATES[:count])
    assert all(result.cost == STEPS for result in found)
    assert left == ([] if count in (1, 2, 4) else [(last, STEPS // 2)])


def test_a_trial_that_diverges_in_its_first_half_is_told_at_once(tmp_path):
    """The others wait in their fourth update until it is."""
    told, calls = threading.Event(), Counter[int]()

    def loss(model, batch):
        calls[id(model)] += 1
        if calls[id(model)] > 3 and not told.wait(timeout=20):
            told.set()  # nobody has: the test fails, and need not wait again
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    fragile = {"model": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "loss": loss}
    proposals = [Proposal(lr, 0, 0, STEPS) for lr in (*RATES, 3e-4, 1e30)]
    running = SideBySide(trainer(**fragile)).run(proposals, FileStates(tmp_path))
    first = next(running)
    assert (first.lr, first.diverged) == (1e30, True)
    assert first.steps < STEPS // 2
    told.set()
    assert len(list(running)) == len(proposals) - 1


def test_who_draws_late_is_trained_one_after_the_other(tmp_path):
    """Nothing is drawn in the updates that are looked at; then it is."""
    late = {"model": lambda: Noisy(first=12)}
    apart = comparable(trainer(**late).run(asked(), FileStates(tmp_path / "a")))
    both = SideBySide(trainer(**late))
    state = torch.get_rng_state()
    assert comparable(both.run(asked(), FileStates(tmp_path / "b"))) == apart
    assert torch.equal(torch.get_rng_state(), state)
    assert both.given_up
    (note,) = both._trainer.reporter.notes
    assert "drawn random numbers" in note
    assert comparable(both.run(asked(), FileStates(tmp_path / "c"))) == apart
    assert len(both._trainer.reporter.notes) == 1, "once found out, it is not tried again"


def test_what_fails_in_threads_alone_is_trained_without(tmp_path):
    def later_afraid(model, batch):
        later_afraid.calls += 1
        return (afraid_of_threads if later_afraid.calls > 30 else calm)(model, batch)

    later_afraid.calls = 0
    both = SideBySide(trainer(loss=later_afraid))
    apart = comparable(trainer(loss=calm).run(asked(), FileStates(tmp_path / "a")))
    assert comparable(both.run(asked(), FileStates(tmp_path / "b"))) == apart
    assert both.given_up


def test_what_fails_everywhere_fails_in_its_own_words(tmp_path):
    def loss(model, batch):
        torch.rand(1)
        raise ValueError("bad batch")

    both, state = SideBySide(trainer(loss=loss)), torch.get_rng_state()
    with pytest.raises(ValueError, match="bad batch"):
        list(both.run(asked(), FileStates(tmp_path)))
    assert torch.equal(torch.get_rng_state(), state)
    (note,) = both._trainer.reporter.notes
    assert "ValueError: bad batch" in note


def test_locks_of_the_tasks_own_do_no_harm(tmp_path):
    """A loss that lets one thread in at a time, while the other one validates."""
    lock = threading.Lock()

    def loss(model, batch):
        with lock:
            return calm(model, batch)

    validation = DataLoader(blobs(2000, seed=9), batch_size=8)
    found = list(
        SideBySide(trainer(loss=loss, validation=validation)).run(asked(stop=12), FileStates(tmp_path))
    )
    assert len(found) == len(RATES)


def test_closed_early_it_gives_up_what_is_under_way(tmp_path):
    calls = 0

    def loss(model, batch):
        nonlocal calls
        calls += 1
        return calm(model, batch)

    both = SideBySide(trainer(loss=loss, steps=50_000))
    first, *others = asked(stop=50_000)
    running = both.run([dataclasses.replace(first, stop=8), *others], FileStates(tmp_path))
    assert next(running).lr == first.lr
    running.close()
    assert calls < 50_000, "what is given up goes no further"


def test_who_sets_the_generators_later_is_found_out(tmp_path):
    """Layers that are checkpointed from some update on leave no trace in the generators."""

    class Later(Recomputed):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) if self.calls > 12 else self.last(self.inner(self.first(x)))

    late = {"model": lambda: Later(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5)))}
    apart = comparable(trainer(**late).run(asked(), FileStates(tmp_path / "a")))
    both = SideBySide(trainer(**late))
    assert comparable(both.run(asked(), FileStates(tmp_path / "b"))) == apart
    assert both.given_up


def test_a_copy_of_the_model_draws_as_any_other(tmp_path):
    """A teacher that is copied while it trains: in eval mode it drops nothing, in training it draws in its turn."""

    class Taught(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls, self.teachers = small_net(dropout=0.5), 0, []

        def forward(self, x):
            self.calls += self.training
            if self.calls == 5 and not self.teachers:
                self.teachers = [copy.deepcopy(self.net).eval(), copy.deepcopy(self.net)]
            told = [teacher(x).detach() for teacher in self.teachers]
            return self.net(x) + sum(told) if self.training else self.net(x)

    taught = {"model": Taught}
    apart = one_by_one(trainer(**taught), asked(), FileStates(tmp_path / "a"))
    both = SideBySide(trainer(**taught))
    assert comparable(both.run(asked(), FileStates(tmp_path / "b"))) == apart
    assert not both.given_up


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_what_was_interrupted_goes_on_bit_for_bit(tmp_path, done):
    """Whoever is left of a batch, and however many, trains on as many threads as it would have had."""
    whole = comparable(SideBySide(trainer()).run(asked(), FileStates(tmp_path / "a")))
    states = FileStates(tmp_path / "b")
    running = SideBySide(trainer()).run(asked(), states)
    first = comparable([next(running) for _ in range(done)])
    running.close()
    left = [proposal for proposal in asked() if proposal.lr not in first]
    assert first | comparable(SideBySide(trainer()).run(left, states)) == whole


def test_in_pairs_updates_are_fused_and_otherwise_the_same(tmp_path):
    adam = {"optimizer": torch.optim.Adam}
    apart = comparable(SideBySide(trainer(**adam)).run(asked(stop=4), FileStates(tmp_path / "a")))
    both = comparable(SideBySide(fused(trainer(**adam))).run(asked(stop=4), FileStates(tmp_path / "b")))
    assert apart.keys() == both.keys()
    for lr, result in both.items():
        assert result.losses == pytest.approx(apart[lr].losses, rel=1e-4)
    assert any(both[lr].losses != apart[lr].losses for lr in both), "or they are not fused"


def test_after_the_deadline_nothing_further_is_begun(tmp_path):
    both = SideBySide(trainer())
    assert list(both.run(asked(), FileStates(tmp_path), deadline=time.monotonic())) == []


def test_after_the_deadline_what_is_half_done_goes_on_to_its_end(tmp_path):
    late = time.monotonic() + 3600.0
    passed = threading.Event()

    class Passing(SideBySide):
        def _train(self, trial, known, abandoned):
            passed.set()
            return super()._train(trial, known, abandoned)

    def now() -> float:
        return late + 1.0 if passed.is_set() else late - 1.0

    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(monotonic=now, perf_counter=time.perf_counter)
        patch.setattr("lrkit.search.side_by_side.time", clock)
        patch.setattr("lrkit.search.trainer.time", clock)
        found = list(Passing(trainer()).run(asked(), FileStates(tmp_path), deadline=late))
    assert sorted(result.lr for result in found) == [RATES[0], RATES[-1]], "the two begun at first"
    assert all(result.steps == STEPS for result in found), "the half of the last one, too"


def test_a_trial_that_diverges_is_a_result(tmp_path):
    proposals = [Proposal(1e-3, 0, 0, STEPS), Proposal(1e30, 0, 0, STEPS)]
    fragile = {"model": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))}
    found = comparable(SideBySide(trainer(**fragile)).run(proposals, FileStates(tmp_path / "a")))
    apart = one_by_one(trainer(**fragile), proposals, FileStates(tmp_path / "b"))
    assert found[1e30].diverged
    assert found.keys() == apart.keys()
    assert found[1e-3] == apart[1e-3]
    assert found[1e30].losses[:-1] == apart[1e30].losses[:-1]


class Recomputed(nn.Module):
    """Sets the process's generator in its backward pass, to draw again what it has drawn."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Dropout(0.2), inner, nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(checkpoint(self.inner, self.first(x), use_reentrant=False))


class Jittered(torch.utils.data.Dataset):
    """A random transform, as image data have."""

    def __init__(self) -> None:
        self._plain = blobs()

    def __len__(self) -> int:
        return len(self._plain)

    def __getitem__(self, index: int):
        sample, label = self._plain[index]
        return sample + 0.1 * random.gauss(0, 1), label


def calm(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def afraid_of_threads(model, batch):
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("created in another thread")
    return calm(model, batch)


def seeding_numpy(model, batch):
    before = np.random.get_state()
    np.random.seed(1)
    np.random.set_state(before)
    return calm(model, batch)


def drawing_forked(model, batch):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        noise = torch.randn_like(batch[0])
    return calm(model, [batch[0] + 0.01 * noise, batch[1]])


class OnePlace:
    """A loader that keeps its own place."""

    def __init__(self) -> None:
        self._loader = DataLoader(blobs(), batch_size=8)

    def __iter__(self):
        return iter(self._loader)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        del state


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": Noisy}, OUTSIDE),
        ({"train": DataLoader(Jittered(), batch_size=8)}, OUTSIDE),
        ({"model": lambda: Recomputed(nn.Linear(4, 8))}, OUTSIDE),
        ({"model": lambda: Recomputed(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5)))}, OUTSIDE),
        ({"loss": drawing_forked}, OUTSIDE),
        ({"model": lambda: nn.Sequential(small_net(), nn.AlphaDropout(0.1))}, OUTSIDE),
        ({"loss": seeding_numpy}, OUTSIDE),
        ({"loss": afraid_of_threads}, "two at a time fail: RuntimeError: created in another thread"),
        ({"train": OnePlace(), "validation": DataLoader(blobs(), batch_size=8)}, "keep a single place"),
        ({"train": DataLoader(blobs(), batch_size=8, num_workers=1)}, "processes of its own"),
        ({"validation": DataLoader(blobs(), batch_size=8, num_workers=1)}, "processes of its own"),
        ({"steps": 5}, "too little to train"),
    ],
)
def test_what_threads_would_train_otherwise_is_told_before(changes, reason):
    state = torch.get_rng_state()
    pairs = measured_pairing(trainer(**changes), asked(), expected_steps=ENOUGH)
    assert not pairs.pays
    assert reason in pairs.reason
    assert torch.equal(torch.get_rng_state(), state)


def test_there_is_nothing_to_measure_without_threads_or_company():
    assert (
        measured_pairing(trainer(), asked()[:1], expected_steps=ENOUGH).reason == "trials begin one at a time"
    )
    assert "too little" in measured_pairing(trainer(), asked(), expected_steps=100).reason
    torch.set_num_threads(1)
    alone = measured_pairing(trainer(), asked(), expected_steps=ENOUGH)
    torch.set_num_threads(2)
    assert (alone.pays, alone.reason) == (False, "torch has one thread")
    plain = trainer()
    fed_back = dataclasses.replace(plain, plan=default_plan(plain.task, schedule="hold() & plateau()"))
    assert "feedback" in measured_pairing(fed_back, asked(), expected_steps=ENOUGH).reason


def test_two_at_a_time_must_be_faster_by_more_than_noise():
    found = weighed(3e-3, 2e-3)
    assert (found.pays, found.seconds) == (True, 2e-3)
    assert found.reason == "3 ms an update in turns, 2 two at a time"
    assert not weighed(2.2e-3, 2e-3).pays
    assert weighed(2.2e-3, 2e-3).seconds is None
    assert not weighed(math.nan, 2e-3).pays


def test_factories_that_seed_are_not_taken_for_drawing(tmp_path):
    def seeding(seed):
        torch.manual_seed(seed)
        return DataLoader(blobs(), batch_size=8, shuffle=True)

    seeds = trainer(train=seeding, validation=DataLoader(blobs(seed=8), batch_size=32))
    state = torch.get_rng_state()
    assert OUTSIDE not in measured_pairing(seeds, asked(), expected_steps=ENOUGH).reason
    both = SideBySide(seeds)
    found = list(both.run([Proposal(1e-3, seed, 0, STEPS) for seed in range(4)], FileStates(tmp_path)))
    assert len(found) == 4
    assert not both.given_up
    assert torch.equal(torch.get_rng_state(), state)


def test_the_pace_is_that_of_both_together():
    """Two that wait for each other come one soon after the other: what counts is how many come in a while."""
    together = [0.0, 0.1, 4.0, 4.1, 8.0, 8.1, 12.0, 12.1, 16.0, 16.1]
    assert pace(together) == pytest.approx(2.0)
    assert pace([0.0, 1.0, 2.0, 3.0, 4.0, 54.0]) > 1.0
    assert pace([float(at) for at in range(9)] + [58.0]) == 1.0, "one that was disturbed"
    assert math.isnan(pace([0.0, 1.0]))


class Waiting(nn.Module):
    """Keeps its thread and no core, so that two of them always end sooner than one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            threading.Event().wait(0.002)
        return self.net(x)


def test_a_search_finds_out_by_itself():
    found = search_lr(toy_task(model=Waiting, steps=130), bracket=(1e-3, 3e-1))
    assert found.route == "side by side"


def test_a_study_keeps_to_the_lanes_it_began_with(tmp_path):
    """And its answer is that of trials one after the other, to rounding."""
    task = toy_task(steps=60, model=lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    arguments = {"bracket": (1e-3, 3e-1), "seed": 3}
    alone = search_lr(task, out=tmp_path / "a", **arguments)
    search_lr(task, out=tmp_path / "b", seconds=0.0, **arguments)
    pinned = {"pays": True, "reason": "as it was", "seconds": 1e-9}
    with sqlite3.connect(tmp_path / "b" / "study.db") as connection:
        (kept,) = connection.execute("select content from documents where name = 'pairs'").fetchone()
        assert json.loads(kept)["reason"] == "there is too little to train for measuring"
        connection.execute("update documents set content = ? where name = 'pairs'", (json.dumps(pinned),))
    connection.close()
    torch.set_num_threads(1)
    assert search_lr(task, out=tmp_path / "b", seconds=0.0, **arguments).route == "loop", "no thread to share"
    torch.set_num_threads(2)
    beside = search_lr(task, out=tmp_path / "b", **arguments)
    assert beside.route == "side by side"
    assert alone.route == "loop"
    assert [(t.lr, t.seed, t.steps) for t in beside.trials] == [(t.lr, t.seed, t.steps) for t in alone.trials]
    assert beside.lr == pytest.approx(alone.lr, rel=0.01)
    assert beside.interval == pytest.approx(alone.interval, rel=0.01)


def test_a_stack_has_to_be_faster_than_pairs(tmp_path):
    """What pairs take is what routes are measured against."""
    work = trainer(model=lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    proposals = asked()[:4]
    slow = work.population(proposals, expected_steps=10**6, plain_seconds=1.0)
    assert slow.route.name != "loop"
    quick = dataclasses.replace(work, graphs=SharedGraphs())
    chosen = quick.population(proposals, expected_steps=10**6, plain_seconds=1e-9)
    assert chosen.route.name == "loop"
    assert "too little" in chosen.route.reason


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
def test_who_is_alone_in_a_batch_is_the_same_however_much_of_it_is_done(count):
    batch = tuple(Proposal(10.0 ** -(i + 1), 0, 0, STEPS) for i in range(count))
    done: tuple[Result, ...] = ()
    while isinstance(at_hand := batch_at_hand(done, lambda known: Stop("all") if known else batch), AtHand):
        assert [p.alone for p in at_hand.batch] == [count == 1] * count
        assert at_hand.left == batch[len(done) :], "the same proposals, alone or not"
        assert [p.alone for p in at_hand.left] == [count == 1] * len(at_hand.left)
        lr = at_hand.left[0].lr
        done += (Result(lr, 0, STEPS, 1.0, diverged=False, cost=STEPS, seconds=0.0),)
    assert len(done) == count
