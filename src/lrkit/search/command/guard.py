"""Ends the commands of a driver that died. A script of its own, which imports nothing but the standard library.

It waits on its standard input, which the driver alone holds open: `+4711` says that the process group 4711 was
begun, `-4711` that it is gone. At the end of that input, kill -9 of the driver included, it terminates what is left,
and kills what is there after the seconds given as its only argument.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_LOOK = 0.05


def _signal(groups: set[int], number: int) -> set[int]:
    """Send a signal to each group, and give those that were there; 0 only asks."""
    there = set()
    for group in groups:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            continue  # macOS says so of a group of zombies
        there.add(group)
    return there


def _main(grace: float) -> None:
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        change = groups.add if line[:1] == b"+" else groups.discard
        change(int(line[1:]))
    groups = _signal(groups, signal.SIGTERM)
    patience = time.monotonic() + grace
    while groups and time.monotonic() < patience:
        time.sleep(_LOOK)
        groups = _signal(groups, 0)
    _signal(groups, signal.SIGKILL)


if __name__ == "__main__":
    _main(float(sys.argv[1]))
