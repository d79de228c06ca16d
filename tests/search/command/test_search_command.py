"""A whole search by command: it finds the rate, keeps to the budget, and goes on where it was."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrkit.errors import NoAnswer, SpecError, StudyError
from lrkit.search import Proposal, Result, Settings, Stop
from lrkit.search.command import CsvColumn, Pattern, search_command
from lrkit.search.command._search_command import SHARES
from lrkit.search.command.from_zero import FromZero
from lrkit.search.methods.registry import METHODS
from search.command.scripts import CURVE, PYTHON, script

BEST = 10**-2.5


class Notes:
    """A reporter that remembers its notes."""

    def __init__(self):
        self.notes = []

    def stage(self, name, total): ...

    def advance(self, steps, *, loss, lr): ...

    def note(self, text):
        self.notes.append(text)

    def close(self): ...


@pytest.fixture
def search(tmp_path):
    """Searches a script over lr, for 9 epochs."""

    def found(text=CURVE, *, ranges="1e-3..1e-1:log", **more):
        path = script(tmp_path, text)
        arguments = [*PYTHON, str(path), "{lr}", "{seed}", "{epochs}"]
        more = {"epochs": 9, "out": tmp_path / "run", "grace": 5.0, **more}
        return search_command(arguments, {"lr": ranges}, **more)

    return found


def runs(tmp_path):
    return len(list((tmp_path / "run/trials").iterdir()))


def test_it_finds_the_rate_in_less_than_it_may_spend_and_the_same_call_runs_nothing_again(search, tmp_path):
    found = search(budget=45)
    assert abs(math.log10(found.lr / BEST)) < 0.2
    assert found.search.interval[0] < BEST < found.search.interval[1]
    assert found.member_steps <= 45
    assert {trial.status for trial in found.trials} >= {"finished", "stopped"}
    assert found.command[-3:] == (repr(found.lr), "0", "9")
    assert found.line.endswith(f"train.py {found.lr!r} 0 9")
    before = runs(tmp_path)
    again = search(budget=45)
    assert again == found
    assert runs(tmp_path) == before

    with pytest.raises(StudyError, match="direction was 'min', now 'max'"):
        search(budget=45, direction="max")
    with pytest.raises(StudyError, match="command was"):
        search_command([*PYTHON, "other.py", "{lr}"], {"lr": "1e-3..1e-1"}, epochs=9, out=tmp_path / "run")

    assert search(budget=60).member_steps >= found.member_steps, "more of a budget is no other search"
    assert runs(tmp_path) >= before

    found.write_report()
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["best_command"] == list(found.command)
    assert len(report["all_trials"]) == len(found.trials)
    axes = found.plot().axes[0]
    assert axes.get_ylabel() == "loss after 9 epochs"


def test_without_a_length_only_the_end_counts(search, tmp_path):
    path = script(tmp_path, CURVE)
    found = search_command(
        [*PYTHON, str(path), "{lr}", "{seed}", "6"],
        {"lr": "1e-3..1e-2:log"},
        out=tmp_path / "run",
        budget=5,
    )
    assert found.unit == "runs"
    assert {trial.status for trial in found.trials} == {"finished"}
    assert found.member_steps == len(found.trials) <= 5
    assert found.plot().axes[0].get_ylabel() == "loss at the end"


def test_most_is_best_by_a_regular_expression(search):
    text = "import math, sys\nx = math.log10(float(sys.argv[1])) + 2.5\n"
    found = search(
        text + "for epoch in range(9): print(f'acc={0.9 - 0.1 * x * x}')",
        metric=Pattern(r"acc=(\S+)"),
        direction="max",
        budget=30,
    )
    assert abs(math.log10(found.lr / BEST)) < 0.2
    assert found.search.objective_name == "acc"


def test_more_than_the_rate_is_searched(tmp_path):
    """One option is better than the other at every rate; the answer has it, and a curve over the lr at it alone."""
    text = CURVE.replace("loss = (", "loss = (0 if sys.argv[4] == 'gelu' else 0.5) + (")
    arguments = [*PYTHON, str(script(tmp_path, text)), "{lr}", "{seed}", "{epochs}", "{act}"]
    found = search_command(
        arguments, {"lr": "1e-3..1e-1:log", "act": "relu|gelu"}, epochs=9, out=tmp_path / "run", budget=70
    )
    assert found.values == (("act", "gelu"),)
    assert abs(math.log10(found.lr / BEST)) < 0.25
    assert {trial.values for trial in found.trials} == {(("act", "relu"),), (("act", "gelu"),)}
    assert {trial.lr for trial in found.search.trials} <= {
        trial.lr for trial in found.trials if trial.values == found.values
    }
    assert found.command[-1] == "gelu"
    assert found.joint.importance[0].best.label == "gelu"
    found.write_report()
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["values"] == report["joint"]["values"] == {"act": "gelu"}


def test_a_stop_in_the_midst_changes_nothing(search, tmp_path):
    """The next call takes up the study, and ends with the answer of an undisturbed one."""

    class Interrupts(Notes):
        def advance(self, steps, *, loss, lr):
            if runs(tmp_path) == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(budget=30, reporter=Interrupts())
    found = search(budget=30)
    undisturbed = search(budget=30, out=tmp_path / "other")
    assert found.search.lr == undisturbed.search.lr
    assert [(t.lr, t.seed, t.steps, t.objective) for t in found.trials] == [
        (t.lr, t.seed, t.steps, t.objective) for t in undisturbed.trials
    ]
    statuses = [
        json.loads((tmp_path / f"run/trials/{n + 1}/trial.json").read_text())["status"]
        for n in range(runs(tmp_path))
    ]
    assert statuses.count("interrupted") == 1


def test_a_script_that_always_fails_is_told_and_once_mended_searched(search, tmp_path):
    with pytest.raises(NoAnswer, match="no module named nn"):
        search("import sys; sys.exit('no module named nn')", budget=30)
    notes, inode = Notes(), (tmp_path / "run/study.db").stat().st_ino
    found = search(budget=30, reporter=notes)
    assert (tmp_path / "run/study.db").stat().st_ino == inode, "another search may have it open by now"
    assert "trials in" in notes.notes[0]
    assert "failed: they are run again" in notes.notes[0]
    assert not any("failed" in dict(trial.metrics) for trial in found.trials)


def test_nan_at_every_rate_is_no_answer(search):
    with pytest.raises(NoAnswer, match="NaN or infinite at every rate tried"):
        search("print('{\"loss\": NaN}')", budget=24)


def test_a_failure_above_the_best_is_a_cliff(search):
    text = CURVE.replace("loss = math.nan", "sys.exit('overflow')")
    notes = Notes()
    found = search(text, budget=40, reporter=notes)
    assert abs(math.log10(found.lr / BEST)) < 0.3
    assert "counts as diverged" in notes.notes[0]
    assert [t.lr for t in found.trials if "failed" in dict(t.metrics)] == [0.1]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"budget": 20}, StudyError, r"20 epochs is too small.*22 at least"),
        ({"budget": 2.5}, SpecError, "whole number of epochs"),
        ({"method": "atuo"}, SpecError, "did you mean 'auto'"),
        ({"direction": "up"}, SpecError, "direction is 'up'"),
        ({"steps": 9}, SpecError, "not in both"),
        ({"metric": CsvColumn("log.csv", "loss")}, SpecError, "with {out}"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(search, tmp_path, more, error, words):
    with pytest.raises(error, match=words):
        search(**more)
    assert not (tmp_path / "run").exists()


def test_the_rate_must_be_searched(tmp_path):
    with pytest.raises(SpecError, match="learning rate is what is searched"):
        search_command(["true", "{wd}"], {"wd": "0..1"}, out=tmp_path / "run")


def outcome(proposal, noise):
    x = math.log10(proposal.lr) + 2.5 + noise * math.sin(37 * proposal.seed + 1e4 * proposal.lr)
    diverged = x > 1.0
    value = math.nan if diverged else (0.3 + x * x) * (1 + 3 / proposal.stop)
    steps = 1 if diverged else proposal.stop
    return Result(proposal.lr, proposal.seed, steps, value, diverged, steps, 0.0)


@settings(deadline=None, max_examples=5)
@given(
    st.sampled_from(["auto", "grid", "halving"]), st.integers(1, 30), st.integers(0, 200), st.floats(0, 0.5)
)
def test_from_zero_every_trial_is_whole_and_all_of_them_within_the_budget(name, steps, spare, noise):
    check_from_zero(name, steps, spare, noise)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(METHODS)), st.integers(1, 30), st.integers(0, 200), st.floats(0, 0.5))
def test_the_same_of_every_method_more_often(name, steps, spare, noise):
    check_from_zero(name, steps, spare, noise)


def check_from_zero(name, steps, spare, noise):
    budget = 6 * steps + spare
    given_settings = Settings(steps=steps, budget=budget, low=1e-4, high=1e-1)
    method, results = FromZero(METHODS[name], share=SHARES[name], unit="epochs"), []
    while not isinstance(proposals := method.next_trials(given_settings, results), Stop):
        assert proposals
        assert all(isinstance(p, Proposal) and p.start == 0 for p in proposals)
        results += [outcome(p, noise) for p in proposals]
        assert len(results) < 1000
    assert sum(result.cost for result in results) <= budget
    assert len({(r.lr, r.seed, r.steps) for r in results}) == len(results)
    assert "updates" not in proposals.reason
    assert any(result.steps == steps for result in results), "the best rate is always trained to the end"
