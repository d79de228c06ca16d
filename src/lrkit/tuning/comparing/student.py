r"""Student's t distribution for whole degrees of freedom, which no dependency of lrkit has and which is short.

P(|T| <= t) is a finite sum of powers of cos(theta), theta = atan(t / sqrt(n)): Abramowitz and Stegun, Handbook of
Mathematical Functions, 26.7.3 (n odd) and 26.7.4 (n even).
"""

from __future__ import annotations

import math

__all__ = ["two_sided_p", "two_sided_quantile"]


def two_sided_p(t: float, n: int) -> float:
    """P(|T| > |t|) with n >= 1 degrees of freedom; exact to about 1e-15, so no smaller value means anything."""
    theta = math.atan2(abs(t), math.sqrt(n))
    cos2 = math.cos(theta) ** 2
    term, total = 1.0, 0.0
    if n % 2:
        for k in range(1, n - 1, 2):  # cos + 2/3 cos^3 + 2*4/(3*5) cos^5 + ...
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        inside = (theta + math.sin(theta) * math.cos(theta) * total) * 2.0 / math.pi
    else:
        for k in range(0, n, 2):  # 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ...
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        inside = math.sin(theta) * total
    return min(1.0, max(0.0, 1.0 - inside))


def two_sided_quantile(confidence: float, n: int) -> float:
    """The t for which P(|T| <= t) = confidence, 0 < confidence < 1, by bisection.

    >>> round(two_sided_quantile(0.95, 4), 3)
    2.776
    """
    low, high = 0.0, 1.0
    while two_sided_p(high, n) > 1.0 - confidence:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if two_sided_p(middle, n) > 1.0 - confidence else (low, middle)
    return (low + high) / 2.0
