"""Quantiles of Student's t distribution, without scipy, which the operator does not have."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_CLOSE = 1e-12  # relative


@lru_cache(maxsize=4096)
def student_t(freedom: float, confidence: float = 0.95) -> float:
    """Return the t that |T| exceeds with probability 1 - `confidence`; `freedom` need not be whole (Welch).

    Newton's method from the normal quantile, which is smaller: to the right of 0 the distribution function is concave,
    so each step ends at or before the root.
    """
    t = NormalDist().inv_cdf((1 + confidence) / 2)
    while True:
        step = (_outside(t, freedom) - (1 - confidence)) / (2 * _density(t, freedom))
        t += step
        if step <= _CLOSE * t:
            return t


def _density(t: float, freedom: float) -> float:
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(log - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def _outside(t: float, freedom: float) -> float:
    """The probability of |T| > t: the regularized incomplete beta function I_x(freedom / 2, 1 / 2)."""
    x = freedom / (freedom + t * t)
    a, b = freedom / 2, 0.5
    if x < (a + 1) / (a + b + 2):
        return _beta(x, a, b)
    return 1 - _beta(1 - x, b, a)


def _beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by its continued fraction (DLMF 8.17.22), evaluated from the front with Lentz's method."""
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    ) / a  # fmt: skip
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            change *= c * d
        fraction *= change
        if abs(change - 1) < _CLOSE / 100:
            break
    return front * fraction
