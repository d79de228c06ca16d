"""One training: exact in its count, exact in its resume, silent towards the caller's generators."""

from __future__ import annotations

import itertools
import math
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrkit
from lrkit.errors import StateError, StudyError, TaskError
from lrkit.training import Run, load_checkpoint, load_task, save_checkpoint, search_split, train
from toys import blobs, fingerprint, random_states, small_net, toy_plan, toy_task

CLASSIFY = lrkit.supervised(nn.functional.cross_entropy)


def weights_after(run: Run) -> str:
    return fingerprint(run.model.state_dict(), run.optimizer.state_dict(), run.losses)


@settings(max_examples=12, deadline=None)
@given(
    stop=st.integers(0, 24),
    accumulate=st.integers(1, 3),
    clip=st.sampled_from([None, 0.5]),
    precision=st.sampled_from(["float32", "bfloat16", "float16"]),
)
def test_a_run_resumed_anywhere_equals_the_unbroken_one(tmp_path_factory, stop, accumulate, clip, precision):
    task = toy_task()
    plan = toy_plan(task, accumulate=accumulate, clip_norm=clip, precision=precision)
    whole = Run(task, plan, seed=3)
    whole.advance(24)
    first = Run(task, plan, seed=3)
    first.advance(stop)
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    save_checkpoint(path, first.state_dict())
    torch.manual_seed(5)
    second = Run(task, plan, seed=3)
    second.load_state_dict(load_checkpoint(path))
    assert second.step == stop
    second.advance(24)
    assert weights_after(second) == weights_after(whole)
    assert second.evaluate("validation") == whole.evaluate("validation")


def test_a_run_leaves_the_callers_generators_alone_and_does_not_depend_on_them():
    task, prints = toy_task(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = fingerprint(random_states())
        run = Run(task, toy_plan(task), seed=3)
        run.advance(7)
        run.evaluate("validation")
        assert fingerprint(random_states()) == before
        run.advance(24)
        prints.append(weights_after(run))
    assert prints[0] == prints[1]
    other = Run(task, toy_plan(task), seed=4)
    other.advance(24)
    assert weights_after(other) != prints[0]


def test_an_evaluation_in_between_changes_nothing():
    task = toy_task()
    plain, watched = Run(task, toy_plan(task), seed=0), Run(task, toy_plan(task), seed=0)
    plain.advance(20)
    for step in range(21):
        watched.advance(step)
        watched.evaluate("train")
    assert weights_after(plain) == weights_after(watched)


def test_two_runs_can_take_turns():
    task = toy_task()
    alone = Run(task, toy_plan(task), seed=0)
    alone.advance(20)
    one, two = Run(task, toy_plan(task), seed=0), Run(task, toy_plan(task, lr=0.1), seed=1)
    for step in range(21):
        one.advance(step)
        two.advance(step)
    assert weights_after(one) == weights_after(alone)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_the_loop_is_the_plain_loop(accumulate):
    """Against a loop written out by hand, on the very same batches."""
    task = toy_task(model=lambda: small_net(dropout=0.0))
    plan = toy_plan(task, accumulate=accumulate, clip_norm=0.3)
    run = Run(task, plan, seed=2)
    twin = small_net(dropout=0.0)
    twin.load_state_dict(run.model.state_dict())
    optimizer = torch.optim.AdamW(twin.parameters(), lr=plan.lr)
    curve = plan.schedule.over(plan.horizon)
    from lrkit.training import BatchStream, derive_seed, search_split

    stream = BatchStream(search_split(task).train, seed=derive_seed(2, 2))
    for step in range(15):
        optimizer.param_groups[0]["lr"] = plan.lr * curve(step)
        optimizer.zero_grad()
        window = stream.window(accumulate)
        for x, y in window:
            (nn.functional.cross_entropy(twin(x), y) / len(window)).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.3)
        optimizer.step()
    run.advance(15)
    assert fingerprint(run.model.state_dict()) == fingerprint(twin.state_dict())


class Exploding(nn.Module):
    """The loss is NaN from the tenth forward pass on."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        self.calls += self.training
        return self.net(x) * (math.nan if self.calls > 9 else 1.0)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_harms_the_weights():
    task = toy_task(model=Exploding)
    run = Run(task, toy_plan(task), seed=0)
    run.advance(24)
    assert run.diverged
    assert run.step == 9
    assert len(run.losses) == 10
    assert math.isnan(run.losses[-1])
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    result = train(task, toy_plan(task), data="search")
    assert result.diverged
    assert result.metrics == {}


def overflowing(model: nn.Module, batch) -> torch.Tensor:
    overflowing.calls += 1
    loss = CLASSIFY(model, batch)
    return loss * 1e38 if overflowing.calls % 3 == 0 else loss


def test_updates_that_a_grad_scaler_skips_do_not_count():
    overflowing.calls = 0
    task = toy_task(loss=overflowing, optimizer=torch.optim.SGD)
    plan = toy_plan(task, precision="float16")
    run = Run(task, plan, seed=0)
    rates = []
    run.advance(24, on_step=lambda info: rates.append(info.lr[0]))
    assert run.step == 24
    assert overflowing.calls > 24
    curve = plan.schedule.over(plan.horizon)
    assert rates == [plan.lr * curve(step) for step in range(24)]


def test_a_state_of_another_run_is_refused_by_name():
    task = toy_task()
    state = Run(task, toy_plan(task), seed=0).state_dict()
    with pytest.raises(StateError, match="seed 0 there, 1 here"):
        Run(task, toy_plan(task), seed=1).load_state_dict(state)
    with pytest.raises(StateError, match="lr"):
        Run(task, toy_plan(task, lr=1.0), seed=0).load_state_dict(state)
    with pytest.raises(StateError, match="format"):
        Run(task, toy_plan(task), seed=0).load_state_dict({"version": 99})


def test_metrics_are_weighted_by_samples_and_whole_sets_are_whole():
    class Squares:
        """Root of the mean square: no mean of batch values gives it."""

        def reset(self):
            self.sum, self.count = 0.0, 0

        def update(self, output, target):
            self.sum += float((output.argmax(-1) - target).float().square().sum())
            self.count += len(target)

        def compute(self):
            return math.sqrt(self.sum / self.count)

    task = toy_task(
        metrics={
            "rms": lrkit.supervised(Squares()),
            "mean": lrkit.supervised(lambda out, target: target.float().mean()),
        },
        test=torch.utils.data.DataLoader(blobs(11, seed=4), batch_size=4),
    )
    run = Run(task, toy_plan(task), seed=0)
    run.advance(5)
    measured = run.evaluate("test")
    x, y = blobs(11, seed=4).tensors
    run.model.eval()
    with torch.no_grad():
        output = run.model(x)
    assert measured["test loss"] == pytest.approx(float(nn.functional.cross_entropy(output, y)), rel=1e-6)
    assert measured["test mean"] == pytest.approx(float(y.float().mean()), rel=1e-6)
    assert measured["test rms"] == pytest.approx(
        float((output.argmax(-1) - y).float().square().mean().sqrt())
    )


def test_what_a_task_lacks_is_said():
    task = toy_task(test=None)
    with pytest.raises(TaskError, match="no test data"):
        Run(task, toy_plan(task)).evaluate("test")
    with pytest.raises(TaskError, match="no validation data is left"):
        Run(task, toy_plan(task), data="all").evaluate("validation")


def test_training_writes_a_record_and_a_checkpoint_and_goes_on_where_it_was_cut(tmp_path):
    task = toy_task()
    plan = toy_plan(task)
    whole = train(task, plan, seed=1, data="search", out=tmp_path / "whole")

    class Cut(Exception):
        pass

    def cut_loss(model, batch):
        cut_loss.calls += 1
        if cut_loss.calls == 20:
            raise Cut
        return CLASSIFY(model, batch)

    cut_loss.calls = 0
    broken = toy_task(loss=cut_loss)
    with pytest.raises(Cut):
        train(broken, plan, seed=1, data="search", out=tmp_path / "cut", checkpoint_seconds=0)
    resumed = train(task, plan, seed=1, data="search", out=tmp_path / "cut")
    assert fingerprint(resumed.model.state_dict()) == fingerprint(whole.model.state_dict())
    assert resumed.metrics == whole.metrics
    rows = [(tmp_path / name / "record.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    assert len(rows[0]) == len(rows[1]) == 24
    with pytest.raises(StudyError, match="another run"):
        train(task, plan, seed=2, data="search", out=tmp_path / "cut")


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_damaged_checkpoint_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage)
    with pytest.raises(StudyError, match="cannot read the checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_never_runs_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    path = tmp_path / "checkpoint.pt"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(StudyError, match="cannot read the checkpoint"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    import errno
    import os

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match="No space left"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def calls_of(work) -> int:
    """How many Python functions `work` calls: what an update costs beside arithmetic, on any machine."""
    count = 0

    def watch(frame, event, argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("watched", [False, True])
def test_an_update_calls_no_more_than_the_bare_loop_over_the_same_loader(watched):
    task = load_task("digits")
    run = Run(task, toy_plan(task))
    model = task.model().train()
    optimizer = task.optimizer(model.parameters(), lr=1e-3)
    batches = iter(search_split(task).train)

    def bare(updates):
        for batch in itertools.islice(batches, updates):
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()
            optimizer.step()
            loss.item()

    def mine(updates):
        run.advance(run.step + updates, on_step=(lambda info: None) if watched else None)

    bare(3), mine(3)
    # The difference between two lengths: what an update calls, without what an advance does once.
    each = {work: calls_of(partial(work, 18)) - calls_of(partial(work, 8)) for work in (bare, mine)}
    assert each[mine] <= each[bare]
