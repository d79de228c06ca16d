"""Write tests/convert/golden: what each peer itself gives, for parameters that are drawn the same way each time.

`make golden` runs it in the peers' own environment; the light suite compares lrkit with the files. One file for each
peer holds its version and, for each schedule, a few runs: parameters, the run's length T, and the peer's rates at some
steps from 0 to 1.2 T.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from convert.parity import length_of
from convert.peer_draws import DRAWS
from convert.rate_draws import RATE_DRAWS
from peers import conftest
from peers.oracles import ORACLES, TOLERANCE, VERSIONS

FOLDER = Path(__file__).parents[1] / "convert" / "golden"
RUNS = 3
STEPS = 16

assert conftest.REPORT  # which sets the environment up


def drawn(strategy: Any, count: int) -> list[tuple[dict[str, Any], int]]:
    """The first draws that differ, the very simplest (a run of one step) left out."""
    found: list[tuple[dict[str, Any], int]] = []

    @settings(
        max_examples=20 * count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: tuple[dict[str, Any], int]) -> None:
        if case[1] >= 5 and case not in found and len(found) < count:
            found.append(case)

    collect()
    return found


def sample(n: int, T: int) -> list[int]:
    """Some of the steps 0 .. n - 1, with the first ones and those around the end."""
    spread = {k * (n - 1) // (STEPS - 1) for k in range(STEPS)}
    return sorted(step for step in spread | {0, 1, T - 1, T, T + 1} if 0 <= step < n)


def run(name: str, parameters: dict[str, Any], T: int) -> dict[str, Any]:
    rates = ORACLES[name](dict(parameters), length_of(T), T)
    steps = [step for step in sample(len(rates), T) if rates[step] == rates[step]]
    plain = {
        key: list(value.items()) if isinstance(value, dict) else value for key, value in parameters.items()
    }
    return {"parameters": plain, "T": T, "steps": steps, "rates": [rates[step] for step in steps]}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    draws = {**DRAWS, **RATE_DRAWS}
    for peer in sorted({name.partition(":")[0] for name in ORACLES} - {"torch"}):
        names = sorted(name for name in ORACLES if name.startswith(f"{peer}:") and name in draws)
        schedules = {name: [run(name, *case) for case in drawn(draws[name], RUNS)] for name in names}
        content = {"version": VERSIONS[peer], "tolerance": TOLERANCE.get(peer), "schedules": schedules}
        text = json.dumps(content, indent=1).replace("\n     ", " ").replace("\n    }", " }")
        (FOLDER / f"{peer}.json").write_text(text + "\n")
        print(f"{peer} {VERSIONS[peer]}: {len(names)} schedules, {len(text) // 1000} kB")


if __name__ == "__main__":
    main()
