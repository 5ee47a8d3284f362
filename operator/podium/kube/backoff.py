"""How long to wait before repeating a request, or opening a watch again."""

from __future__ import annotations

import time

_MOST_DOUBLINGS = 60  # beyond any limit; a float would overflow after a thousand
_SHORT_SECONDS = 5.0  # the API server lets a watch run for minutes


def backoff(failures: int, *, first: float = 1.0, limit: float = 60.0) -> float:
    """Return the seconds to wait after `failures` in a row: `first` after one, doubled for each further one, at most
    `limit`; 0 without a failure."""
    return min(limit, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)) if failures > 0 else 0.0


class WatchPace:
    """Decides how long to wait before a watch is opened again.

    A watch that ran for its time is reopened at once. One that ended early, as behind a proxy that cuts connections,
    is reopened later and later: without a wait, it would be reopened thousands of times a second.
    """

    def __init__(self, *, first: float = 1.0, limit: float = 30.0) -> None:
        self._first, self._limit = first, limit
        self._failures = 0
        self._opened = 0.0

    def opened(self) -> None:
        """Note that the watch is being opened."""
        self._opened = time.monotonic()

    def delivered(self) -> None:
        """Note that the watch delivered something: the next wait is a short one."""
        self._failures = 0

    def ended(self, *, failed: bool = False) -> float:
        """Note the end of the watch, or (`failed`) of the try to open it. Returns the seconds to wait."""
        early = failed or time.monotonic() - self._opened < _SHORT_SECONDS
        self._failures = self._failures + 1 if early else 0
        return backoff(self._failures, first=self._first, limit=self._limit)
