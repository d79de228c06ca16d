"""Peers' schedules on the command line: drawn, listed, explained, and what is said of names that are wrong."""

from __future__ import annotations

import json

import pytest

from lrkit.convert import DIALECTS

LINEAR = "transformers:linear(num_warmup_steps=10, num_training_steps=100)"


def test_they_are_drawn_beside_specs_and_recipes(lrkit, tmp_path):
    polynomial = "transformers:polynomial(num_warmup_steps=100, num_training_steps=1000, power=2)"
    specs = ["warmup(5%) >> cosine(to=0)", "wsd", polynomial]
    outcome = lrkit("plot", *specs, "--steps", "1000", "-o", "out.png")
    assert outcome.code == 0, outcome
    assert (tmp_path / "out.png").stat().st_size > 0
    assert polynomial in outcome.out
    assert "linear(100, to=1, start=0) >> polynomial(900, power=2, to=1e-07)" in outcome.out


def test_the_numbers_drawn_are_the_peer_s(lrkit):
    outcome = lrkit("plot", LINEAR, "--steps", "100", "--json")
    first, second = json.loads(outcome.out)["schedules"][0]["phases"]
    assert (first["first"], first["stop"], second["first"]) == (0.0, 10, 1.0)


def test_a_table_is_not_printed_whole(lrkit):
    outcome = lrkit(
        "plot", "timm:CosineLRScheduler(t_initial=50, cycle_mul=2, cycle_limit=5)", "--steps", "1550"
    )
    assert outcome.code == 0, outcome
    assert max(map(len, outcome.out.splitlines())) < 400


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("transfomers:cosine", "did you mean 'transformers'?"),
        ("transformers:cosin", "did you mean 'cosine'?"),
        ("transformers:reduce_lr_on_plateau", "& plateau()"),
        (LINEAR, "the phases take 100 steps of 50 steps"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_exit_2(lrkit, spec, said):
    outcome = lrkit("plot", spec, "--steps", "50")
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_all_peers_are_listed(lrkit):
    outcome = lrkit("schedules", "--peers")
    assert outcome.code == 0, outcome
    assert all(peer in outcome.out for peer in DIALECTS)
    listed = json.loads(lrkit("schedules", "--peers", "--json").out)["peers"]
    assert listed == {peer: sorted(entries) for peer, entries in DIALECTS.items()}


@pytest.mark.parametrize("peer", sorted(DIALECTS))
def test_a_peer_s_schedules_are_listed_with_their_parameters(lrkit, peer):
    outcome = lrkit("schedules", peer)
    assert outcome.code == 0, outcome
    assert all(f"{peer}:{name}(" in outcome.out for name in DIALECTS[peer])


def test_one_schedule_is_explained(lrkit):
    outcome = lrkit("schedules", "timm:MultiStepLRScheduler")
    assert outcome.code == 0, outcome
    for words in ["decay_rate=1.0", "acts one step early", "milestones([3, 6]"]:
        assert words in outcome.out
    (one,) = json.loads(lrkit("schedules", "kohya:linear", "--json").out)["schedules"]
    assert one["arguments"] == "(lr_warmup_steps=0, max_train_steps=1600, num_processes=1)"


@pytest.mark.parametrize(
    ("name", "said"),
    [("tim:x", "did you mean 'timm'?"), ("timm:Cosine", "did you mean 'CosineLRScheduler'?")],
)
def test_a_wrong_name_gets_the_nearest(lrkit, name, said):
    outcome = lrkit("schedules", name)
    assert outcome.code == 2
    assert said in outcome.err
