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
