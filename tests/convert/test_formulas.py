"""Every schedule of every peer against its formula, written out step by step: at each step from 0 to 1.2 T."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strategies  # noqa: F401  # the profile: the same examples on each run
from convert import oracles_huggingface, oracles_large, oracles_vision
from convert.peer_draws import DRAWS
from lrkit import convert
from lrkit.errors import SpecError
from lrkit.spec import parse

ORACLES = {**oracles_huggingface.ORACLES, **oracles_large.ORACLES, **oracles_vision.ORACLES}
MINE = ["composer", "d2l", "deepspeed", "diffusers", "fastai", "fvcore", "kohya", "megatron", "olmo", "timm"]
MINE += ["torchtitan", "transformers"]


def curve_of(name, parameters, T):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of milestones after the end, which peers do not mind
        return convert.schedule(name, **parameters).over(T)


def check(name, parameters, T):
    last = T + -(-T // 5)
    got = curve_of(name, parameters, T).chunk(0, last + 1)
    want = np.array([ORACLES[name](t, T, **parameters) for t in range(last + 1)])
    peak = max(want.max(), 1e-300)
    wrong = np.abs(got - want)
    worst = int(wrong.argmax())
    assert wrong.max() <= 1e-12 * max(1.0, peak), f"step {worst} of {T}: {got[worst]!r}, not {want[worst]!r}"
    seen = want > 1e-6 * peak
    assert (wrong[seen] <= 1e-9 * want[seen]).all()


def test_every_entry_has_an_oracle_and_draws():
    names = {f"{peer}:{name}" for peer in MINE for name in convert.DIALECTS[peer]}
    assert names == set(ORACLES)
    assert names <= set(DRAWS)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_the_numbers_are_the_peer_s(name):
    # One test for all would draw from as many distributions; one for each shrinks to the entry that is wrong.
    @settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
    @given(DRAWS[name])
    def holds(drawn):
        check(name, *drawn)

    holds()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_the_numbers_are_the_peer_s_in_many_more_draws(name):
    @settings(max_examples=500, suppress_health_check=[HealthCheck.filter_too_much])
    @given(DRAWS[name])
    def holds(drawn):
        check(name, *drawn)

    holds()


@pytest.mark.parametrize("name", sorted(set(ORACLES)))
def test_it_prints_as_a_spec_that_parses_back(name):
    @settings(max_examples=10, suppress_health_check=[HealthCheck.filter_too_much])
    @given(DRAWS[name])
    def holds(drawn):
        schedule = convert.schedule(name, **drawn[0])
        if len(str(schedule)) <= 10_000:  # a spec's limit, which long tables pass
            assert parse(str(schedule)) == schedule

    holds()


@given(st.sampled_from(sorted(ORACLES)).flatmap(lambda name: st.tuples(st.just(name), DRAWS[name])))
def test_text_in_the_peer_s_words_is_the_same_schedule(drawn):
    name, (parameters, _) = drawn
    if name == "fvcore:CompositeParamScheduler":
        return  # its parts are written as texts, see test_dialects
    words = ", ".join(f"{key}={written(value)}" for key, value in parameters.items())
    assert convert.parse(f"{name}({words})") == convert.schedule(name, **parameters)


def written(value):
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_a_value_that_the_peer_cannot_take_is_told(name):
    """Whatever a parameter is given, it is taken or refused with the entry's name: nothing else comes out."""

    @settings(max_examples=1, suppress_health_check=[HealthCheck.filter_too_much])
    @given(DRAWS[name])
    def holds(drawn):
        for key, wrong in product(drawn[0], [{}, "nonsense", -1, float("nan"), True, [object()]]):
            said = f"{name}: "
            try:
                convert.schedule(name, **{**drawn[0], key: wrong})
            except SpecError as error:
                said = str(error)
            assert said.startswith(f"{name}: ")
            assert "\n" not in said

    holds()
