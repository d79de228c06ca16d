"""lrkit's numbers are the peers' own, at every update and past the end, for drawn parameters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from convert.parity import compare
from convert.peer_draws import DRAWS
from convert.rate_draws import RATE_DRAWS
from convert.torch_draws import TORCH_DRAWS
from peers.oracles import ORACLES, TOLERANCE

ALL = {**DRAWS, **RATE_DRAWS, **TORCH_DRAWS}


@pytest.mark.parametrize("name", sorted(set(ALL) & set(ORACLES)))
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_rate_is_the_peers(name: str, data: DataObject) -> None:
    parameters, T = data.draw(ALL[name])
    compare(name, ORACLES[name], parameters, T, tolerance=TOLERANCE.get(name.partition(":")[0]))


WITHOUT_A_PEER = {
    "d2l": "the package asks for versions of years ago; its schedules are a page of a book",
    "fastai:fine_tune": "it wants a Learner that trains",
    "fastai:fit_sgdr": "it wants a Learner that trains",
    "deepspeed:OneCycleMomentum": "DeepSpeed sets it on Adam's betas by its engine",
    "kohya": "no package; its schedules are transformers' and diffusers', which are compared",
    "olmo": "a package of its own world; its test suite's formulas are written out in tests/convert",
    "torchtitan": "its schedule needs its configuration manager",
}
"""What is proved by its formula alone, in tests/convert/test_formulas.py, and why."""


def test_what_no_peer_answers_for_is_listed() -> None:
    missing = set(ALL) - set(ORACLES)
    listed = {name for name in missing if name in WITHOUT_A_PEER or name.partition(":")[0] in WITHOUT_A_PEER}
    assert missing == listed
    assert not [
        key for key in WITHOUT_A_PEER if not any(n == key or n.startswith(f"{key}:") for n in missing)
    ]
