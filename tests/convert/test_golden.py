"""lrkit against the peers' own numbers, kept in golden/*.json: `make golden` takes them from the peers themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convert.parity import ABSOLUTE, RELATIVE, curve_of

GOLDEN = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "golden").glob("*.json"))
}
CASES = [
    pytest.param(name, run, content["tolerance"], id=f"{name}-{k}")
    for content in GOLDEN.values()
    for name, runs in content["schedules"].items()
    for k, run in enumerate(runs)
]


@pytest.mark.parametrize(("name", "run", "tolerance"), CASES)
def test_the_rates_are_the_peers(name, run, tolerance):
    parameters = run["parameters"]
    if parameters.get("boundaries_and_scales"):  # JSON knows no whole numbers as keys
        parameters = parameters | {"boundaries_and_scales": dict(parameters["boundaries_and_scales"])}
    mine = parameters.get("base_lr", 1.0) * curve_of(name, parameters, run["T"])(np.array(run["steps"]))
    theirs = np.clip(np.array(run["rates"]), 0.0, None)
    peak = theirs.max()
    np.testing.assert_allclose(mine, theirs, rtol=0.0, atol=(tolerance or ABSOLUTE) * (peak or 1.0))
    if not tolerance:
        large = theirs > 1e-6 * peak
        np.testing.assert_allclose(mine[large], theirs[large], rtol=RELATIVE)


def test_the_versions_are_those_of_the_constraints():
    root = Path(__file__).parents[2]
    pinned = {}
    for file in ("constraints.txt", "constraints-peers.txt"):
        lines = (line for line in (root / file).read_text().splitlines() if "==" in line)
        pinned |= dict(line.split("==") for line in lines)
    names = {"megatron": "megatron-core", "composer": "mosaicml", "sklearn": "scikit-learn"}
    for peer, content in GOLDEN.items():
        assert content["version"] == pinned[names.get(peer, peer)], peer
