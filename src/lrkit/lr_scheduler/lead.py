"""Rates of the steps to come, worked out ahead, and written only where nobody else has written in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Alike", "Each", "Follow", "Group", "Lead", "lead_from"]

Group = dict[str, Any]  # of an optimizer, as torch types it


class Lead(Protocol):
    """Who writes the rates while all goes on as planned."""

    @property
    def step(self) -> int:
        """The step whose rates were written last."""

    @property
    def now(self) -> float | list[float]:
        """Those rates, as `Twin._now`."""

    def write(self, groups: list[Group], step: int) -> bool:
        """Write the rates of `step`.

        False, and nothing is changed, if that is not the next step, or not worked out, or if a group holds
        something else than what was written last.
        """


class Alike:
    """All groups have one rate, and hold the very object that was written last.

    No two floats are one object, so that a group with another object was written by somebody else.
    """

    __slots__ = ("_first", "_rates", "now", "step")

    def __init__(self, step: int, now: float, rates: list[float]) -> None:
        self.step = step
        self.now = now
        self._first = step + 1
        self._rates = rates

    def write(self, groups: list[Group], step: int) -> bool:
        """See `Lead.write`."""
        following = self.step + 1
        if step != following:
            return False
        try:
            rate = self._rates[following - self._first]
        except IndexError:
            return False
        now = self.now
        try:
            for group in groups:
                if group["lr"] is not now:
                    self._put_back(groups, rate)
                    return False
                group["lr"] = rate
        except BaseException:  # as of a Ctrl-C
            self._put_back(groups, rate)
            raise
        self.now = rate
        self.step = following
        return True

    def _put_back(self, groups: list[Group], rate: float) -> None:
        for group in groups:
            if group["lr"] is rate:
                group["lr"] = self.now


class Each:
    """Each group has low + span u, where u is the factor of the step.

    A group with another number was written by somebody else. Whether the groups are still the same ones, with plain
    numbers, is told from their list, its length and the last of them.
    """

    __slots__ = ("_count", "_first", "_groups", "_lanes", "_last", "_raised", "_u", "_units", "step")

    def __init__(
        self,
        step: int,
        groups: list[Group],
        lows: Sequence[float],
        spans: Sequence[float],
        units: list[float],
    ) -> None:
        """`units` begin with the factor of `step` itself."""
        self.step = self._first = step
        self._groups = groups
        self._last, self._count = groups[-1], len(groups)
        self._lanes = [*zip(groups, spans, strict=True)]
        self._raised = [*zip(groups, lows, spans, strict=True)] if any(lows) else []
        self._u = units[0]
        self._units = units

    @property
    def now(self) -> list[float]:
        """The rates of `step`."""
        return self._rates(self._u)

    def _rates(self, u: float) -> list[float]:
        if self._raised:
            return [low + span * u for _, low, span in self._raised]
        return [span * u for _, span in self._lanes]

    def write(self, groups: list[Group], step: int) -> bool:
        """See `Lead.write`."""
        last, following = groups[-1], self.step + 1
        if (
            step != following
            or groups is not self._groups
            or last is not self._last
            or len(groups) != self._count
            or last["lr"].__class__ is not float
        ):
            return False
        try:
            u = self._units[following - self._first]
        except IndexError:
            return False
        before, group = self._u, None
        try:
            if self._raised:
                for group, low, span in self._raised:
                    if group["lr"] != low + span * before:
                        self._put_back(group)
                        return False
                    group["lr"] = low + span * u
            elif u == before:
                for group, span in self._lanes:
                    if group["lr"] != span * before:
                        return False
            else:
                for group, span in self._lanes:
                    if group["lr"] != span * before:
                        self._put_back(group)
                        return False
                    group["lr"] = span * u
        except BaseException:  # as of a Ctrl-C
            self._put_back(group, written=u)
            raise
        self._u = u
        self.step = following
        return True

    def _put_back(self, stopped: Group | None, *, written: float | None = None) -> None:
        """Undo what was written to the groups before `stopped`, and to that one if it has what belongs to `written`."""
        rates, due = self.now, self._rates(self._u if written is None else written)
        for group, rate, new in zip(self._groups if stopped else (), rates, due, strict=False):
            if group is stopped and (written is None or group.get("lr") != new):
                return
            group["lr"] = rate
            if group is stopped:
                return


class Follow:
    """What a member of a chain has while the chain leads: the chain's rates. A step of its own ends that."""

    __slots__ = ("_chain",)

    def __init__(self, chain: Lead) -> None:
        self._chain = chain

    @property
    def step(self) -> int:
        """The chain's."""
        return self._chain.step

    @property
    def now(self) -> float | list[float]:
        """The chain's."""
        return self._chain.now

    def write(self, groups: list[Group], step: int) -> bool:
        """Never: the chain does."""
        del groups, step
        return False


def lead_from(
    step: int,
    groups: list[Group],
    now: float | list[float],
    lows: Sequence[float],
    spans: Sequence[float],
    units: npt.NDArray[np.float64],
) -> Lead:
    """The lead from `step` on, where the groups hold `now`; `units` are the factors of that step and the next ones."""
    if isinstance(now, float) and len({*zip(lows, spans, strict=True)}) == 1:
        return Alike(step, now, (lows[0] + spans[0] * units[1:]).tolist())
    return Each(step, groups, lows, spans, units.tolist())
