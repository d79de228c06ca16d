"""How benches say what they measured: a table for people, a JSON file for machines, with where and when.

Benches run as scripts from their own folder: `from _report import machine, spread, table, write_report`.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrkit.files import atomic_write

OUT = Path(__file__).parent / "out"


def machine() -> dict[str, Any]:
    """Where the numbers come from: processor, threads, versions."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def spread(values: Iterable[float]) -> dict[str, float]:
    """The number of values, their median, and their 10th and 90th percentile."""
    known = np.asarray(list(values), dtype=float)
    if not known.size:
        return {"n": 0}
    low, middle, high = np.percentile(known, [10, 50, 90])
    return {"n": int(known.size), "median": float(middle), "p10": float(low), "p90": float(high)}


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns, the first to the left and the others to the right; floats with four digits."""
    cells = [[str(cell) for cell in header], *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([title, lines[0], "-" * len(lines[0]), *lines[1:], ""])


def write_report(name: str, results: Mapping[str, Any], folder: Path = OUT) -> Path:
    """`results` with machine, command and date as `<folder>/<name>.json`; nothing of it when the disk is full."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    told = {"machine": machine(), "command": command(), "date": today(), **results}
    atomic_write(path, json.dumps(told, indent=1, allow_nan=False) + "\n")
    return path


def command() -> str:
    """The command that is running, as one would type it in the repository; DATA stands for a folder elsewhere."""
    given = [f"DATA/{Path(word).name}" if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *given])


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
