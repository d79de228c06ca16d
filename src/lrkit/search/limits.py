"""What a search may cost, and the range test's share of it: settled before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrkit.errors import SpecError, StudyError
from lrkit.range_test import RangeTest
from lrkit.range_test.grid import LEAST_STEPS, NARROWEST
from lrkit.search.methods.auto import least_budget

__all__ = ["REPEATS", "SWEPT", "Limits", "sweep_length"]

SWEPT = (1e-5, 1.0)
"""The range test's rates at first; it goes on by itself where the answer lies outside."""
LEAST_SWEEP, MOST_SWEEP = LEAST_STEPS, 100
"""Updates of one sweep: fewer cannot be read, and more move its lowest point by less than the bracket allows for."""
SWEEPS_SHARE = 0.35
"""What all sweeps may take together, in trainings, where nothing goes wrong."""
REPEATS = 3
"""Sweeps of a range test whose budget holds so many."""
# How often its sweep's updates a range test takes at worst, when it has to begin lower, twice, and go on
# higher.
_WORST = {1: 5.2, REPEATS: 9.6}


@dataclass(frozen=True, slots=True)
class Limits:
    """Updates that a search may take in all; the range test makes `repeats` sweeps of `sweep` updates each."""

    budget: int
    sweep: int
    repeats: int

    @classmethod
    def of(
        cls,
        steps: int,
        budget: int | None,
        *,
        bracket: tuple[float, float] | None = None,
        range_test: RangeTest | None = None,
        trainings: int = 8,
    ) -> Limits:
        """The limits for trainings of `steps` updates; without a `budget` it is so many `trainings`.

        Raises SpecError for a budget or a bracket that is none, StudyError for a budget too small for any
        answer.
        """
        _check(budget, bracket, range_test)
        sweeps = bracket is None and range_test is None
        least = least_budget(steps) + (0 if range_test is None else range_test.steps)
        if sweeps:
            least += math.ceil(_WORST[1] * LEAST_SWEEP)
        if budget is None:
            budget = max(trainings * steps, least)
        if budget < least:
            cheaper = ", or bracket=(low, high) to go without a range test" if sweeps else ""
            raise StudyError(
                f"a budget of {budget} updates is too small for any answer: trainings of {steps} updates "
                f"need at least {least}{cheaper}"
            )
        if not sweeps:
            return cls(budget, 0, 0)
        return cls(budget, *_sweeps(steps, budget - least_budget(steps)))


def sweep_length(steps: int, repeats: int) -> int:
    """Updates of each of `repeats` sweeps before trainings of `steps` updates, whatever budget there is."""
    return min(MOST_SWEEP, max(LEAST_SWEEP, int(SWEEPS_SHARE * steps / repeats)))


def _sweeps(steps: int, spare: int) -> tuple[int, int]:
    """Three sweeps where each can have at least twice what a sweep needs, else one."""
    for repeats, least in ((REPEATS, 2 * LEAST_SWEEP), (1, LEAST_SWEEP)):
        sweep = min(sweep_length(steps, repeats), int(spare / _WORST[repeats]))
        if sweep >= least:
            return sweep, repeats
    return LEAST_SWEEP, 1


def _check(budget: int | None, bracket: tuple[float, float] | None, range_test: RangeTest | None) -> None:
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        raise SpecError(f"budget= is a whole number of updates, at least 1, not {budget!r}")
    if bracket is None:
        return
    if range_test is not None:
        raise SpecError("give bracket= or range_test=, not both")
    low, high = bracket
    if not (0 < low < high < math.inf):
        raise SpecError(
            f"bracket= (--low and --high) is two finite rates above 0, the first below the second, "
            f"not {low!r} and {high!r}"
        )
    if high < NARROWEST * low:
        raise SpecError(
            f"bracket= (--low and --high) leaves nothing to search between {low!r} and {high!r}: "
            f"its ends lie a factor of {NARROWEST} apart at least, and a decade or more tells more"
        )
