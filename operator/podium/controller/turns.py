"""Which runs may have Jobs, where the administrator limits their number in a namespace."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice


class Turns:
    """The runs of each namespace that have started, and those that wait for one of them to end, in order."""

    def __init__(self, limit: int, is_active: Callable[[str], bool]) -> None:
        """`limit` is the number of runs per namespace, 0 for any. `is_active` returns whether the run with a uid still
        exists and has not ended."""
        self._limit = limit
        self._is_active = is_active
        self._started: dict[str, set[str]] = {}  # uids by namespace
        self._waiting: dict[str, dict[str, None]] = {}  # uids by namespace, first come, first served

    def took(self, namespace: str, uid: str) -> None:
        """Note a run that has started already."""
        if self._limit:
            self._started.setdefault(namespace, set()).add(uid)

    def hold(self, namespace: str, uid: str) -> str:
        """Return why a run must not start yet; empty if it takes its turn."""
        if not self._limit:
            return ""
        started = self._started.setdefault(namespace, set())
        others = {other for other in started if other != uid and self._is_active(other)}
        self._started[namespace] = others
        waiting = self._waiting.setdefault(namespace, {})
        if len(others) >= self._limit:
            waiting[uid] = None
            limit = f"trainer.maxRunsPerNamespace is {self._limit}"
            return f"{len(others)} runs of namespace {namespace} have started; {limit}"
        waiting.pop(uid, None)
        others.add(uid)  # its first attempt is listed once its Job exists
        return ""

    def next(self, namespace: str, uid: str) -> list[str]:
        """Return the runs that may start because the run with `uid` has ended or is gone."""
        waiting = self._waiting.get(namespace, {})
        waiting.pop(uid, None)
        if uid not in self._started.get(namespace, ()):
            return []
        self._started[namespace].discard(uid)
        return list(islice(waiting, self._limit))
