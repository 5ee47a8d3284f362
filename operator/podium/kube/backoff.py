"""How long to wait before repeating a request."""

from __future__ import annotations

_MOST_DOUBLINGS = 60  # beyond any limit; a float would overflow after a thousand


def backoff(failures: int, *, first: float = 1.0, limit: float = 60.0) -> float:
    """Return the seconds to wait after `failures` in a row: `first` after one, doubled for each further one, at most
    `limit`; 0 without a failure."""
    return min(limit, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)) if failures > 0 else 0.0
