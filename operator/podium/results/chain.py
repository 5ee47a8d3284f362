"""The chain over all runs of a namespace, ``<results.url>/ledger/<namespace>/``: which runs were made, in their order.

Each object continues it by one line a run, and is put once. A result that somebody removes, or leaves out of a package,
is still in the chain; a line that is removed breaks it. The ledger of each run has the head of the chain at its end, so
that whoever signs a result also signs the chain before it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from podium.reconcile import Run, StoreResult
from podium.results.ledger import Entry, Head, append, records_of
from podium.stores import AlreadyExists, NotFound, Store, StoreUnavailable, document_bytes

RUN = "run"
_PART = re.compile(r"[0-9]{9}\.jsonl")
_MOST_LOSSES = 100  # in a row, to others that add to the same chain


def chain_folder(namespace: str) -> str:
    """Return the folder of a namespace's chain below the administrator's URL."""
    return f"ledger/{namespace}"


def ended(run: Run, action: StoreResult, folder: str, sums_sha256: str) -> Entry:
    """A run that has ended, with the digest of the SHA256SUMS in its `folder`."""
    return {
        "kind": RUN,
        "run": {"namespace": run.namespace, "name": run.name, "uid": run.uid},
        "round": run.spec.round,
        "benchmark": run.spec.benchmark,
        "division": run.spec.division,
        "system": run.spec.system.name,
        "outcome": action.outcome,
        "tries": len(action.attempts),
        "result": folder,
        "sumsSha256": sums_sha256,
    }


def chain_text(store: Store) -> bytes:
    """Return the lines of the chain in a folder. Raises StoreError, and LimitError for an object that is too large."""
    return b"".join(document_bytes(store, key) for key in sorted(store.list()) if _PART.fullmatch(key))


@dataclass(frozen=True, slots=True)
class _End:
    """The last object that is known, and the chain's head after it."""

    part: int = 0
    head: Head = field(default_factory=Head)


class Chain:
    """The chain in a folder. Safe to use from several threads. Methods raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._end: _End | None = None

    def head(self) -> Head:
        """Return the head as this process knows it; others may have continued the chain since."""
        self._end = self._end or self._last()
        return self._end.head

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries. One that is added twice, because an acknowledgment was lost, does no harm."""
        end, left = self._end or self._last(), list(entries)
        for _ in range(_MOST_LOSSES):
            self._end = end  # if the acknowledgment is lost, the next call finds its own entries after it
            text, head = append(end.head, left, time.time())
            try:
                self._store.put(_key(end.part + 1), text, if_absent=True, content_type="application/jsonl")
            except AlreadyExists:
                end, found = self._after(end)
                self._end = end
                left = [entry for entry in left if entry not in found]
                if not left:
                    return
            else:
                self._end = _End(end.part + 1, head)
                return
        raise StoreUnavailable(f"{self._store.url}: others write all the time; a retry may help")

    def _last(self) -> _End:
        keys = [key for key in self._store.list() if _PART.fullmatch(key)]
        return self._after(_End(int(max(keys)[:9]) - 1))[0] if keys else _End()

    def _after(self, end: _End) -> tuple[_End, list[Entry]]:
        """Return the end after the next object, which somebody has put, and its entries."""
        try:
            text = self._store.get(_key(end.part + 1))
        except NotFound as error:
            raise StoreUnavailable(f"{self._store.url} does not return what is in it; a retry may help") from error
        head, entries = records_of(text)
        return _End(end.part + 1, head), entries


def _key(part: int) -> str:
    return f"{part:09}.jsonl"
