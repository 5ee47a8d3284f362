"""Rates as they come from runs, in samples per second: which are measurements, their logs, their digits."""

from __future__ import annotations

import math
from collections.abc import Sequence


def is_rate(value: float) -> bool:
    """Return whether `value` can be a rate: finite and above 0."""
    return math.isfinite(value) and value > 0


def logs(values: Sequence[float]) -> tuple[float, ...]:
    """Return the natural logarithms of the values that are rates, ascending."""
    return tuple(sorted(math.log(value) for value in values if is_rate(value)))


def mean(numbers: Sequence[float]) -> float:
    """Return the mean, which does not depend on the order of the numbers, not even in its last digit."""
    return math.fsum(numbers) / len(numbers)


def rounded(value: float) -> float:
    """Return `value` with 12 significant digits: further ones depend on the C library."""
    return float(f"{value:.12g}")
