"""What tests of benches share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module", autouse=True)
def bench_folder():
    """Benches are scripts: their own folder comes first on the path, as when one is run."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))
