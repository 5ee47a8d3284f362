"""Which labels the totals of a run have: those of its object, as long as there are not too many, and not for ever."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

_MOST = 200  # label sets; each has some forty series
_LINGER_SECONDS = 900.0  # so that Prometheus reads what was counted last
OTHER = "other"


class LabelSet(NamedTuple):
    """The labels of a run's totals; `accelerator` and `currency` are "" for a run without."""

    namespace: str
    benchmark: str
    accelerator: str
    currency: str

    @property
    def place(self) -> tuple[str, str]:
        return self.namespace, self.benchmark


class LabelSets:
    """The label sets of the runs that exist, and for a while of those that are gone.

    People choose the names in it, so their number is limited: once there are `_MOST`, a new one is counted as `OTHER`.
    """

    def __init__(self, remove: Callable[[LabelSet], None]) -> None:
        """`remove` gets every label set that has no series any more."""
        self._remove = remove
        self._of: dict[str, LabelSet] = {}  # by uid of the run
        self._users: Counter[LabelSet] = Counter()
        self._unused: dict[LabelSet, float] = {}  # since when (time.monotonic()), the oldest first

    def of(self, uid: str) -> LabelSet | None:
        """Return the label set of a run; None if it has none yet."""
        return self._of.get(uid)

    def take(self, uid: str, asked: LabelSet) -> LabelSet:
        """Return the label set of a new run: `asked` if there is room for it."""
        if asked not in self._users and asked not in self._unused and len(self._users) + len(self._unused) >= _MOST:
            if self._unused:
                self._drop(next(iter(self._unused)))
            else:
                asked = LabelSet(asked.namespace, OTHER, asked.accelerator and OTHER, "")
        self._unused.pop(asked, None)
        self._users[asked] += 1
        self._of[uid] = asked
        return asked

    def release(self, uid: str) -> None:
        """Handle the end of a run's object."""
        if (labels := self._of.pop(uid, None)) is None:
            return
        self._users[labels] -= 1
        if not self._users[labels]:
            del self._users[labels]
            self._unused[labels] = time.monotonic()

    def expire(self) -> None:
        """Remove the label sets that no run has had for a while."""
        limit = time.monotonic() - _LINGER_SECONDS
        for labels in [labels for labels, since in self._unused.items() if since <= limit]:
            self._drop(labels)

    def known(self) -> Collection[LabelSet]:
        """Return all label sets that have series."""
        return {*self._users, *self._unused}

    def _drop(self, labels: LabelSet) -> None:
        del self._unused[labels]
        self._remove(labels)
