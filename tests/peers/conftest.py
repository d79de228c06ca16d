"""The peers' own room: `make test-peers`. Nothing here may reach for a network, and JAX and Keras reckon in float64."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ |= {"JAX_ENABLE_X64": "1", "KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}

REPORT = Path(__file__).parents[2] / "bench" / "out" / "peers.json"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of parity, of what this session compared."""
    from convert.parity import TABLE, table_text, write_table

    if not TABLE:
        return
    from peers.oracles import VERSIONS

    terminalreporter.section("parity with the peers: worst difference over all updates from 0 to 1.2 T")
    terminalreporter.write_line(table_text())
    write_table(REPORT, VERSIONS)
    terminalreporter.write_line(f"versions: {', '.join(f'{k} {v}' for k, v in VERSIONS.items())}")
    terminalreporter.write_line(
        f"written to {REPORT.relative_to(Path.cwd()) if REPORT.is_relative_to(Path.cwd()) else REPORT}"
    )
