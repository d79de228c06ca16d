"""lrkit's numbers are those of torch's own classes, stepped, at every update and past the end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies  # noqa: F401  # the profile: the same examples on each run
from convert.oracle_torch import RATES
from convert.parity import compare
from convert.torch_draws import TORCH_DRAWS


@pytest.mark.parametrize("name", sorted(RATES))
@settings(max_examples=25)
@given(data=st.data())
def test_every_rate_is_torchs(name, data):
    parameters, T = data.draw(TORCH_DRAWS[name])
    compare(name, RATES[name], parameters, T)
