"""Logs of tries in progress, saved while they grow, so that neither a restart nor log rotation loses lines.

A checkpoint is a chain of segments. The last one is stored again as it grows, until it is large enough, so the bytes
that a log costs are bounded however long it gets. Each process writes segments of its own: one that is no longer in
charge, but does not know it yet, overwrites nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from podium.api import TryId
from podium.stores import NotFound, Store

CHECKPOINTS = "checkpoints-", "checkpoints/"  # what the keys begin with: now, and in earlier versions
FULL_SEGMENT_BYTES = 256 << 10
MAX_SEGMENT_BYTES = 4 << 20  # with at least one whole line


class LogDigest:
    """Size and SHA-256 of result.txt as it would be with the lines so far."""

    def __init__(self) -> None:
        self.size = 0
        self._sum = hashlib.sha256()

    def add(self, line: bytes) -> None:
        self.size += len(line)
        self._sum.update(line)

    def with_rows(self, rows: bytes) -> LogDigest:
        """Return the digest with the lines of `rows`, which have timestamps, added."""
        more = LogDigest()
        more.size, more._sum = self.size, self._sum.copy()
        for row in io.BytesIO(rows):
            more.add(row.partition(b" ")[2])
        return more

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of timestamp and line, from byte `start` of the log that `writer` (a process) has.

    `log_bytes` and `log_sha256` are those of result.txt as it would be with the lines up to the end of these.
    """

    id: TryId
    writer: str
    start: int
    rows: bytes
    log_bytes: int
    log_sha256: str

    @property
    def key(self) -> str:
        first = "".join(character for character in self.rows[:30].decode(errors="replace") if character.isdigit())
        return f"{_prefix(self.id)}{first:0<23.23}-{self.start:012}-{self.writer}.log"


def put_segment(store: Store, segment: Segment) -> None:
    store.put(segment.key, segment.rows, content_type="text/plain; charset=utf-8")


def segments(store: Store, id_: TryId) -> Iterator[tuple[str, bytes]]:
    """Yield key and rows of every segment, by the time of its first row."""
    for key in _keys(store, id_):
        with suppress(NotFound):  # another process may have dropped it
            yield key, store.get(key)


def drop(store: Store, id_: TryId) -> None:
    """Remove the checkpoint of a try, if there is one."""
    with store.together() as folder:
        for key in _keys(folder, id_):
            folder.delete(key)


def _keys(store: Store, id_: TryId) -> list[str]:
    """Return the keys of a checkpoint's segments, by the time of their first row.

    Earlier versions had a folder of them; before that, one segment of the whole log, beside the folder.
    """
    now, folder = (_prefix(id_, begins) for begins in CHECKPOINTS)
    folder, whole = f"{folder[:-1]}/", f"{folder[:-1]}.log"
    keys = [key for key in store.list(CHECKPOINTS[0][:-1]) if key == whole or key.startswith((now, folder))]
    return sorted(keys, key=lambda key: "" if key == whole else key.removeprefix(now).removeprefix(folder))


def _prefix(id_: TryId, begins: str = CHECKPOINTS[0]) -> str:
    """Return what the keys of a try's segments begin with: all are in the run's folder, so that it is the only one that
    has to be synced."""
    return f"{begins}{id_.attempt:03}-{id_.number}-"
