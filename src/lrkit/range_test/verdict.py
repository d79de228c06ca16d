"""What one sweep says, and what several say together. Pure numpy on the measured losses; nothing is run here.

One sweep is judged by `judge`: did the loss fall at all, and is its minimum inside the range? `agree` takes
the verdicts of all repeats to one suggestion with its bracket, or to a reason why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lrkit.range_test.fall import Reading, fell, fell_before, read, rose_at_once
from lrkit.range_test.rules import RULES
from lrkit.range_test.smoothing import WIDTH_DECADES, WIDTH_POINTS, FloatArray, early_window
from lrkit.range_test.stopping import Ending

__all__ = ["Agreement", "Status", "Verdict", "agree", "ends_open", "judge"]

Status = Literal["found", "never fell", "diverged at once", "could not tell"]

# Where the best rate of a full training lies as seen from `kmin`, in decades (docs/range-test.md): mostly
# below it, because a sweep spends a few updates at each rate and a training thousands, and noise and
# overfitting tell late.
_BELOW, _ABOVE = 1.15, 0.45

# The bracket was found wide enough at seed deviations up to this; what the repeats disagree by beyond it is
# added.
_USUAL_SPREAD = 0.35

# Beyond a factor of 10 between the repeats' suggestions there is no suggestion.
_DISAGREEMENT = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one sweep says: `suggestion` by the chosen rule, `centre` by `kmin`, and whether to believe them.

    Both are None where the loss never fell. `edge` is the end of the range at which the minimum lies, if it
    does.
    """

    suggestion: float | None
    centre: float | None
    status: Status
    reason: str
    edge: Literal["low", "high"] | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all repeats say: the median suggestion, the bracket, the repeats' deviation in decades."""

    suggestion: float | None
    bracket: tuple[float, float] | None
    spread: float
    status: Status
    reason: str


def judge(lrs: ArrayLike, losses: ArrayLike, *, before: float, ending: Ending, rule: str) -> Verdict:
    """Read one sweep over the grid `lrs` by `rule`.

    `before` is the loss before any update, `losses[i]` the one after the update at `lrs[i]`, `ending` why it
    ended.
    """
    planned, measured = len(np.asarray(lrs)), len(np.asarray(losses))
    if measured < WIDTH_POINTS or (ending != "end" and measured < early_window(planned)):
        how = "was not finite" if ending == "not finite" else "had diverged"
        return Verdict(None, None, "diverged at once", f"the loss {how} within {measured + 1} updates", "low")
    reading = read(lrs, losses)
    if not fell(reading):
        if rose_at_once(before, reading):
            return Verdict(None, None, "diverged at once", "the loss rose from the first updates on", "low")
        if fell_before(before, reading):
            return Verdict(None, None, "could not tell", "the loss fell before the range began", "low")
        return Verdict(None, None, "never fell", "no fall of the loss stands out of its noise")
    centre = float(reading.lrs[reading.lowest])
    suggestion = centre if rule == "kmin" else RULES[rule](lrs, losses)
    if _at_low_end(reading):
        reason = "the loss was lowest at the low end of the range"
        return Verdict(suggestion, centre, "could not tell", reason, "low")
    if ending == "end" and _is_open(reading):
        reason = "the loss had not risen again by the high end of the range"
        return Verdict(suggestion, centre, "could not tell", reason, "high")
    if suggestion is None:
        reason = f"rule {rule!r} finds nothing to read in {measured} points"
        return Verdict(None, centre, "could not tell", reason)
    return Verdict(suggestion, centre, "found", "the loss was lowest inside the range")


def ends_open(lrs: ArrayLike, losses: ArrayLike) -> bool:
    """Whether a sweep through `lrs` that did not diverge ended before the loss rose again, or before it fell.

    It has risen where it is more than a tenth of its fall above the minimum: what `edge` looks for is then there.
    """
    if len(np.asarray(losses)) < WIDTH_POINTS:
        return True
    reading = read(lrs, losses)
    if not fell(reading):
        return bool(reading.smoothed[-1] <= reading.smoothed[0] + reading.noise)
    return _is_open(reading)


def agree(verdicts: Sequence[Verdict]) -> Agreement:
    """The median of the repeats' suggestions, if more than half have one and they are within a factor of 10.

    The bracket is [kmin / 14, 2.8 kmin] about the median of `kmin`, whatever rule suggests: 1.6 decades, and
    wider where the repeats' deviation exceeds 0.35 decades. Where the repeats disagree, or their minima lie
    at an end of the range, there is no suggestion, and the bracket spans all of theirs.
    """
    found = [v for v in verdicts if v.status == "found"]
    suggestions = [v.suggestion for v in found if v.suggestion is not None]
    centres = np.log10([v.centre for v in verdicts if v.centre is not None])
    spread = _deviation(np.log10(suggestions))
    if 2 * len(found) <= len(verdicts):
        return _no_suggestion([v for v in verdicts if v.status != "found"], len(verdicts), centres, spread)
    if np.ptp(np.log10(suggestions)) > _DISAGREEMENT:
        times = max(suggestions) / min(suggestions)
        reason = f"the repeats' suggestions differ by a factor of {times:.3g}"
        return Agreement(None, _bracket(centres.min(), centres.max()), spread, "could not tell", reason)
    centres = np.log10([v.centre for v in found if v.centre is not None])
    middle, deviation = float(np.median(centres)), _deviation(centres)
    extra = deviation - _USUAL_SPREAD if deviation > _USUAL_SPREAD else 0.0
    reason = f"median of {len(found)} of {len(verdicts)} repeats; a bracket, not an optimum"
    suggestion = float(10 ** np.median(np.log10(suggestions)))
    return Agreement(suggestion, _bracket(middle - extra, middle + extra), spread, "found", reason)


def _at_low_end(reading: Reading) -> bool:
    """Whether the minimum is within the kernel's width of the first point."""
    decades = math.log10(reading.lrs[1] / reading.lrs[0])
    return reading.lowest <= max(WIDTH_POINTS, WIDTH_DECADES / decades)


def _is_open(reading: Reading) -> bool:
    fall = reading.smoothed[0] - reading.smoothed.min()
    return bool(reading.smoothed[-1] <= reading.smoothed.min() + fall / 10)


def _no_suggestion(without: list[Verdict], of: int, centres: FloatArray, spread: float) -> Agreement:
    statuses = [v.status for v in without]
    status = max(statuses, key=statuses.count)
    told = next(v.reason for v in without if v.status == status)
    bracket = _bracket(centres.min(), centres.max()) if status == "could not tell" and len(centres) else None
    return Agreement(None, bracket, spread, status, f"{told} ({statuses.count(status)} of {of} repeats)")


def _bracket(lowest: float, highest: float) -> tuple[float, float]:
    return float(10 ** (lowest - _BELOW)), float(10 ** (highest + _ABOVE))


def _deviation(decades: FloatArray) -> float:
    """The standard deviation of the repeats; nan for fewer than two, which say nothing about it."""
    return float(np.std(decades, ddof=1)) if len(decades) > 1 else math.nan
