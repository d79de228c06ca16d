"""Schedules compared on a small task: fair, resumable, honest about what it cannot tell."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

import lrkit
from comparisons import assert_same_answer
from lrkit.errors import LrkitError, NoAnswer, SpecError, StudyError
from lrkit.plot import comparison_figure
from lrkit.schedule import linear
from lrkit.search import search_lr
from lrkit.training import default_plan, search_split
from lrkit.tuning import convex_bound
from lrkit.tuning.comparing import _compare, crew, jobs
from lrkit.tuning.comparing.course import foreseen_bracket
from lrkit.tuning.comparing.given import figure_of
from lrkit.tuning.comparing.jobs import FinalJob, SearchJob
from toys import blobs, fingerprint, random_states, toy_task

SPECS = ["cosine=cosine(to=0)", "hold()", "reactive=hold() & plateau(patience=1)"]
CALL = {"seeds": 2, "steps": 40, "plots": False}


def task(**changes):
    return toy_task(model=toy_task(steps=40).model, **({"steps": None, "epochs": None} | changes))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "run"
    before = fingerprint(random_states())
    comparison = lrkit.compare_schedules(task(), SPECS, out=out, **CALL | {"plots": True})
    assert fingerprint(random_states()) == before, "the caller's random generators are left alone"
    return comparison


@pytest.fixture(scope="module")
def found():
    """The search of one schedule."""
    return search_lr(task(), steps=40, bracket=(1e-3, 1e-1), schedule="hold()", budget=80)


@pytest.fixture
def quick(found, monkeypatch):
    """Searches that give an answer at once: for what comes before and after them."""

    def answer(task, *, plan, budget, seed, bracket, range_test, out, device, reporter):
        return dataclasses.replace(found, lr=0.02, interval=(0.01, 0.04), member_steps=budget)

    monkeypatch.setattr(jobs, "search_lr", answer)


def test_it_ranks_every_schedule_at_a_rate_of_its_own(compared):
    assert [one.standing.rank for one in compared.schedules] == [1, 2, 3]
    assert {one.name for one in compared.schedules} == {"cosine", "hold()", "reactive"}
    means = [one.standing.mean for one in compared.schedules]
    assert means == sorted(means)
    assert compared.metric == "test loss"
    for one in compared.schedules:
        assert one.interval[0] < one.lr < one.interval[1]
        assert one.standing.mean == pytest.approx(sum(one.values) / 2)
        assert set(one.metrics) == {"loss", "accuracy"}
    assert compared.best.name in compared.verdict


def test_the_folder_holds_answer_studies_and_figure_and_no_models(compared):
    written = json.loads((compared.out / "comparison.json").read_text())
    assert written["version"] == 1
    assert written["result"]["verdict"] == compared.verdict
    assert (compared.out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(compared.out.glob("*/study.db"))) == 3
    assert len(list(compared.out.glob("*/final-*/record.jsonl"))) == 6
    assert not list(compared.out.rglob("checkpoint.pt"))


def test_the_same_call_trains_nothing_and_says_the_same(compared, monkeypatch):
    monkeypatch.setattr(crew, "do_job", lambda *args: pytest.fail("a job was done twice"))
    monkeypatch.setattr(
        _compare, "find_lr", lambda *args, **kwargs: pytest.fail("the range test was done twice")
    )
    again = lrkit.compare_schedules(task(), SPECS, out=compared.out, **CALL)
    assert again == compared


def test_every_search_has_the_same_budget_and_uses_no_more(monkeypatch):
    asked = []
    search = jobs.search_lr

    def noting(*args, budget, range_test, seed, **kwargs):
        shared = 0 if range_test is None else range_test.steps
        asked.append((budget - shared, seed))
        found = search(*args, budget=budget, range_test=range_test, seed=seed, **kwargs)
        assert found.member_steps - shared <= budget - shared
        return found

    monkeypatch.setattr(jobs, "search_lr", noting)
    comparison = lrkit.compare_schedules(task(), SPECS[1:], budget=150, **CALL)
    assert asked == [(150, 0)] * 2
    assert all(0 < one.updates <= 150 for one in comparison.schedules)
    assert comparison.budget == 150


def test_the_others_are_searched_around_the_first_ones_rate_times_the_bounds_ratio(compared):
    rows = {one.name: one for one in compared.schedules}
    cosine, hold = (convex_bound(lrkit.parse(text).over(40)) for text in ("cosine(to=0)", "hold()"))
    assert rows["cosine"].bracket is None
    low, high = rows["hold()"].bracket
    assert math.sqrt(low * high) == pytest.approx(rows["cosine"].lr * hold.rate / cosine.rate, rel=0.01)
    assert 10**0.99 < high / low < 10**1.61
    # What the feedback will do is not known beforehand: anything from nothing to cooling the run down.
    assert rows["reactive"].bracket[0] == pytest.approx(low, rel=0.01)
    assert rows["reactive"].bracket[1] > 2 * high


def test_what_feedback_did_to_the_first_schedule_is_not_known_either():
    plain, reactive = (
        default_plan(task(), steps=40, schedule=text) for text in ("hold()", "hold() & plateau()")
    )
    found = {"lr": 0.1, "status": "settled"}
    low, high = foreseen_bracket(found, plain, plain)
    assert (low, high) == pytest.approx((0.1 / 10**0.5, 0.1 * 10**0.5), rel=0.01)
    reference = foreseen_bracket(found, reactive, plain)
    assert reference[0] < low / 2
    assert reference[1] == pytest.approx(high)
    wider = foreseen_bracket(found | {"status": "not settled"}, plain, plain)
    assert wider == pytest.approx((0.1 / 10**0.8, 0.1 * 10**0.8), rel=0.01)


class Unread:
    """Test data that nobody may look at yet."""

    def __iter__(self):
        raise RuntimeError("the test data were read")


def test_rates_are_chosen_without_a_look_at_the_test_data(tmp_path, quick):
    with pytest.raises(RuntimeError, match="were read"):
        lrkit.compare_schedules(task(test=Unread()), SPECS, out=tmp_path, **CALL)
    done = json.loads((tmp_path / "comparison.json").read_text())["schedules"]
    assert all(one["search"] is not None and one["finals"] == [] for one in done.values())


def test_final_trainings_share_seeds_and_use_all_data_but_where_feedback_watches_some(quick, monkeypatch):
    calls = []
    train = jobs.train

    def noting(task, plan, *, seed, data, **kwargs):
        calls.append((str(plan.schedule), bool(plan.control), seed, data))
        return train(task, plan, seed=seed, data=data, **kwargs)

    monkeypatch.setattr(jobs, "train", noting)
    lrkit.compare_schedules(task(), SPECS, **CALL)
    assert {seed for *_, seed, _ in calls} == {1000, 1001}
    assert len(calls) == 6
    assert {data for _, control, _, data in calls if not control} == {"all"}
    assert {data for _, control, _, data in calls if control} == {"search"}
    calls.clear()
    lrkit.compare_schedules(task(), SPECS, equal_data=True, **CALL)
    assert {data for *_, data in calls} == {"search"}


def test_without_test_data_the_validation_data_decide(quick):
    comparison = lrkit.compare_schedules(task(test=None), SPECS[:2], **CALL)
    assert comparison.metric == "validation loss"
    assert {one.data for one in comparison.schedules} == {"search"}


def test_another_figure_and_its_direction(quick):
    comparison = lrkit.compare_schedules(task(), SPECS[:2], metric="accuracy", direction="max", **CALL)
    assert comparison.metric == "test accuracy"
    means = [one.standing.mean for one in comparison.schedules]
    assert means == sorted(means, reverse=True)


def test_a_loss_that_is_to_be_high_is_refused():
    judged = task(objective="accuracy", direction="max")
    assert figure_of(judged, "loss", None) == figure_of(judged, "loss", "min") == ("loss", "min")
    with pytest.raises(SpecError, match="better towards 'min'"):
        figure_of(judged, "loss", "max")


def test_one_seed_is_an_answer_without_significance(quick):
    comparison = lrkit.compare_schedules(task(), SPECS[:2], **CALL | {"seeds": 1})
    assert "one seed" in comparison.verdict
    assert all(one.standing.p is None and one.standing.sd is None for one in comparison.schedules)
    assert comparison_figure(comparison.to_dict()) is not None


def test_wrong_schedules_are_named_at_once_and_nothing_is_trained_or_written(tmp_path, monkeypatch):
    monkeypatch.setattr(_compare, "find_lr", lambda *args, **kwargs: pytest.fail("something was trained"))
    bad = ["cosne(to=0)", "hold()", "a=linear(to=0", "b=hold() & plateu()", "hold()", "c=hold(7 epochs)"]
    with pytest.raises(SpecError) as caught:
        lrkit.compare_schedules(task(), bad, out=tmp_path / "run", **CALL)
    for words in ["4 of 6", "cosne", "did you mean 'cosine'", "'a':", "'b':", "twice"]:
        assert words in str(caught.value)
    with pytest.raises(SpecError, match=r"1 of 2.*'c'"):
        lrkit.compare_schedules(
            task(), ["hold()", "c=hold(1000) >> linear(to=0)"], out=tmp_path / "run", **CALL
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("specs", "changes", "words"),
    [
        (["hold()"], {}, "at least two"),
        ("hold()", {}, "at least two"),
        (None, {}, "at least two"),
        (["hold()", 3], {}, "not int"),
        (["hold()", lrkit.from_function(lambda t: 1.0)], {}, "no text"),
        (SPECS, {"seeds": 0}, "seeds="),
        (SPECS, {"seeds": True}, "seeds="),
        (SPECS, {"workers": 2}, "pass its name"),
        (SPECS, {"metric": "acuracy"}, "did you mean 'accuracy'"),
        (SPECS, {"metric": "accuracy"}, "direction="),
        (SPECS, {"direction": "max"}, "towards 'min'"),
        (SPECS, {"budget": 3}, "too small"),
        (SPECS, {"data": "here"}, "data="),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_trained(specs, changes, words, monkeypatch):
    monkeypatch.setattr(_compare, "find_lr", lambda *args, **kwargs: pytest.fail("something was trained"))
    with pytest.raises(LrkitError, match=words):
        lrkit.compare_schedules(task(), specs, **CALL | changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 41}, "steps was 40"),
        ({"budget": 180}, "budget was 200, now 180"),
        ({"specs": SPECS[:2]}, "schedules was"),
        ({"equal_data": True}, "equal data was False, now True"),
    ],
)
def test_another_comparison_in_the_same_folder_is_refused(compared, change, told):
    before = (compared.out / "comparison.json").read_bytes()
    with pytest.raises(StudyError, match=told):
        lrkit.compare_schedules(task(), out=compared.out, **{"specs": SPECS} | CALL | change)
    assert (compared.out / "comparison.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer": partial(torch.optim.AdamW, weight_decay=20.0)}, "options was.*now .*weight_decay"),
        ({"train": DataLoader(blobs(), batch_size=16, shuffle=True)}, "batch size was 8, now 16"),
    ],
)
def test_another_optimizer_or_batch_size_in_the_same_folder_is_refused(compared, change, told):
    with pytest.raises(StudyError, match=told):
        lrkit.compare_schedules(task(**change), SPECS, out=compared.out, **CALL)


def test_other_data_in_the_same_folder_are_refused_also_when_all_is_done(compared):
    other = task(train=DataLoader(blobs(seed=8), batch_size=8, shuffle=True))
    with pytest.raises(StudyError, match="the task has changed"):
        lrkit.compare_schedules(other, SPECS, out=compared.out, **CALL)


@pytest.mark.parametrize("content", ["", "{}", '{"version": 9}', '{"version": 1}', "[1]", "\xff"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "comparison.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StudyError, match=r"comparison\.json"):
        lrkit.compare_schedules(task(), SPECS, out=tmp_path, **CALL)


def test_what_was_interrupted_in_a_search_ends_as_if_it_had_not_been(compared, tmp_path):
    class Stop(Exception):
        pass

    class Stopping:
        """A reporter is told of every update: here it stands for Ctrl-C in the second search."""

        searches = steps = 0

        def stage(self, name, total):
            self.searches += name == "search"

        def advance(self, steps, *, loss, lr):
            self.steps += steps if self.searches == 2 else 0
            if self.steps > 60:
                raise Stop

        def note(self, text): ...

        def close(self): ...

    with pytest.raises(Stop):
        lrkit.compare_schedules(task(), SPECS, out=tmp_path, reporter=Stopping(), **CALL)
    resumed = lrkit.compare_schedules(task(), SPECS, out=tmp_path, **CALL)
    assert_same_answer(resumed.to_dict(), compared.to_dict())


@pytest.mark.parametrize("after", [2, 6])
def test_interrupted_anywhere_the_same_call_goes_on_to_the_same_answer(quick, tmp_path, monkeypatch, after):
    class Stop(Exception):
        pass

    done = []
    do = jobs.do_job

    def stopping(job, *args):
        if len(done) == after:
            raise Stop
        done.append(job.folder)
        return do(job, *args)

    monkeypatch.setattr(crew, "do_job", stopping)
    with pytest.raises(Stop):
        lrkit.compare_schedules(task(), SPECS, out=tmp_path, **CALL)
    monkeypatch.setattr(crew, "do_job", lambda job, *args: done.append(job.folder) or do(job, *args))
    resumed = lrkit.compare_schedules(task(), SPECS, out=tmp_path, **CALL)
    assert len(done) == len(set(done)) == 9
    assert_same_answer(resumed.to_dict(), lrkit.compare_schedules(task(), SPECS, **CALL).to_dict())


def test_more_seeds_go_on_from_what_there_is_and_fewer_are_answered_by_theirs(quick, tmp_path, monkeypatch):
    done = []
    do = jobs.do_job
    monkeypatch.setattr(crew, "do_job", lambda job, *args: done.append(job.folder) or do(job, *args))

    def compared_under(seeds, out):
        return lrkit.compare_schedules(task(), SPECS, out=out, **CALL | {"seeds": seeds}).to_dict()

    two, before = compared_under(2, tmp_path), len(done)
    three = compared_under(3, tmp_path)
    assert len(done) == before + 3, "one further training of each schedule"
    assert three["seeds"] == [1000, 1001, 1002]
    assert_same_answer(three, compared_under(3, None))
    begun, file = len(done), tmp_path / "comparison.json"
    once = json.loads(file.read_text())
    once["settings"]["seeds"] = 3  # as it was while a comparison could not grow
    file.write_text(json.dumps(once))
    assert_same_answer(compared_under(2, tmp_path), two)
    assert len(done) == begun


def failing(what):
    """`do_job` in which one search finds nothing, or one final training of a schedule diverges."""
    do = jobs.do_job

    def patched(job, *args):
        answer = do(job, *args)
        if job.name == "hold()" and what == "search" and isinstance(job, SearchJob):
            return {"failure": "the loss is NaN at every rate tried"}
        if job.name == "hold()" and what == "final" and isinstance(job, FinalJob) and job.seed == 1001:
            answer["final"] |= {"metrics": {}, "diverged": True}
        return answer

    return patched


@pytest.mark.parametrize("what", ["search", "final"])
def test_a_schedule_that_diverges_comes_last_and_the_others_are_compared(quick, monkeypatch, what):
    monkeypatch.setattr(crew, "do_job", failing(what))
    comparison = lrkit.compare_schedules(task(), ["hold()", *SPECS[:1], "linear(to=0)"], **CALL)
    last = comparison.schedules[-1]
    assert (last.name, last.standing.rank, last.standing.mean) == ("hold()", None, None)
    assert "hold()" in comparison.verdict
    assert [one.standing.rank for one in comparison.schedules[:2]] == [1, 2]
    assert last.diverged == (what == "final")
    assert (last.lr is None) == (what == "search")
    # Where the first cannot be trained, the next takes its place, and has the range test's bracket.
    assert next(one for one in comparison.schedules if one.bracket is None and one.lr).name == (
        "cosine" if what == "search" else "hold()"
    )
    assert comparison_figure(comparison.to_dict()) is not None


def test_trainings_that_diverge_on_what_no_search_saw_are_counted_and_have_no_figure(quick):
    usual = task()
    held_out = search_split(usual).validation.dataset.indices[0]
    poison = usual.train.dataset.tensors[0][held_out]

    def loss(model, batch):
        value = usual.loss(model, batch)
        return value * math.nan if model.training and (batch[0] == poison).all(1).any() else value

    comparison = lrkit.compare_schedules(task(loss=loss), SPECS, **CALL)
    assert [one.name for one in comparison.schedules] == ["reactive", "cosine", "hold()"]
    assert [one.diverged for one in comparison.schedules] == [0, 2, 2]
    assert comparison.verdict.startswith("reactive is the only one with a figure")
    assert comparison_figure(comparison.to_dict()) is not None


def test_a_task_that_no_rate_trains_has_no_answer():
    def nan_loss(model, batch):
        return model(batch[0]).sum() * (math.nan if model.training else 1.0)

    with pytest.raises(NoAnswer, match="no schedule can be trained"):
        lrkit.compare_schedules(task(loss=nan_loss), SPECS[:2], **CALL)


def test_schedules_as_values_and_names_as_a_mapping():
    specs = {"down": linear(to=0), "flat": "hold()"}
    given = _compare.named_specs(specs)
    assert list(given) == ["down", "flat"]
    assert given["down"].schedule == linear(to=0)
    assert list(_compare.named_specs([linear(to=0), "a b = hold()", "wsd(warmup=2%)"])) == [
        "linear(to=0)",
        "a b",
        "wsd(warmup=2%)",
    ]


def test_validation_data_of_its_own_leave_all_of_the_training_set_to_feedback(quick):
    own = task(validation=DataLoader(blobs(48, seed=5), batch_size=16))
    comparison = lrkit.compare_schedules(own, SPECS[1:], **CALL)
    assert {one.data for one in comparison.schedules} == {"all"}


def test_a_comparison_is_a_frozen_value(compared):
    with pytest.raises(dataclasses.FrozenInstanceError):
        compared.metric = "test accuracy"
