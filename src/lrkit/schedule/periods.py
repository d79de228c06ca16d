"""Formulas that go by whole periods of steps: half waves, repetitions, stairs. On consecutive steps they cost little.

Where the steps are known to be consecutive (`m is RUN`) a period is worked out once, and a stair is one number. The
factors are the same to the last bit as those of the same steps one by one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lrkit.schedule.numeric import RUN, Array, Numeric, on_host
from lrkit.schedule.track import Formula

__all__ = ["above", "half_waves", "repeating", "stairs"]

Floats = npt.NDArray[np.float64]

_LONGEST = 2**26  # a half wave of more steps would need tables of more than 64 KiB each
_BITS = 12  # rows of 4,096 steps: numpy takes as long over shorter ones, and these stay in the cache


def above(low: float, span: float, share: Array) -> Array:
    """`low + span * share`: between 0 and 1 the share itself, which saves a third of a half wave's time."""
    return share if low == 0.0 and span == 1.0 else low + span * share


def half_waves(n: int) -> Formula:
    """(1 + cos(pi i / n)) / 2 at step i: from 1 down to 0 in `n` steps, up again, and so on.

    On the host it is cos(a + b)^2 = (cos a cos b - sin a sin b)^2, where a + b = pi i / (2 n), from tables of a few
    thousand angles: two multiplications in place of a cosine, and within 1e-15. It never lies above 1, and at the
    bottoms it is 0 itself.
    """

    def formula(m: Numeric, i: Array) -> Array:
        if n > _LONGEST or not on_host(m):
            return m.half_wave(math.pi * (m.real(i) / n))
        bits, (cos_a, sin_a), (cos_b, sin_b) = _angles(n)
        if m is RUN and i[-1] < n:
            first, last = int(i[0]), int(i[-1])
            rows = slice(first >> bits, (last >> bits) + 1)
            wave = np.multiply.outer(cos_a[rows], cos_b)
            wave -= np.multiply.outer(sin_a[rows], sin_b)
            skipped = first & ((1 << bits) - 1)
            wave = wave.reshape(-1)[skipped : skipped + len(i)]
            wave *= wave
            return wave
        i = i % (2 * n)
        i = np.minimum(i, 2 * n - i)
        a, b = i >> bits, i & ((1 << bits) - 1)
        root = cos_a[a] * cos_b[b] - sin_a[a] * sin_b[b]
        return np.where(i == n, 0.0, root * root)

    return formula


def repeating(formula: Formula, period: int) -> Formula:
    """`formula` again and again, from its step 0 on at every multiple of `period`."""

    def repeated(m: Numeric, i: Array) -> Array:
        if m is not RUN:
            return formula(m, i % period)
        first, count = int(i[0]) % period, len(i)
        rest = first + count - period
        if rest <= 0:
            return formula(m, np.arange(first, first + count))
        if count < period:
            return np.concatenate([formula(m, np.arange(first, period)), formula(m, np.arange(rest))])
        return np.tile(formula(m, np.arange(period)), -(-(first + count) // period))[first : first + count]

    return repeated


def stairs(formula: Formula, length: int) -> Formula:
    """`formula` of the stair that a step is on, i // length, instead of the step."""

    def climbing(m: Numeric, i: Array) -> Array:
        if m is not RUN:
            return formula(m, i // length)
        numbers = np.arange(i[0] // length, i[-1] // length + 1)
        lengths = np.full(len(numbers), length)
        lengths[0] -= i[0] % length
        lengths[-1] -= length - 1 - i[-1] % length
        return np.repeat(formula(m, numbers), lengths)

    return climbing


@lru_cache(maxsize=64)
def _angles(n: int) -> tuple[int, tuple[Floats, Floats], tuple[Floats, Floats]]:
    """How many bits of a step b is for, and the cosines and sines of every a and of every b."""
    bits = max((n.bit_length() + 1) // 2, min(_BITS, n.bit_length()))
    unit, width = 0.5 * math.pi / n, 1 << bits
    a, b = unit * (np.arange(n // width + 1) * width), unit * np.arange(width)
    return bits, (np.cos(a), np.sin(a)), (np.cos(b), np.sin(b))
