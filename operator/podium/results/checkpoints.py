"""Logs of tries in progress, saved while they grow, so that neither a restart nor log rotation loses lines.

A checkpoint is a chain of segments. The last one is stored again as it grows, until it is large enough, so the bytes
that a log costs are bounded however long it gets. Each process writes segments of its own: one that is no longer in
charge, but does not know it yet, overwrites nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from podium.api import TryId
from podium.stores import NotFound, Store

CHECKPOINTS = "checkpoints/"
FULL_SEGMENT_BYTES = 256 << 10
MAX_SEGMENT_BYTES = 4 << 20  # with at least one whole line


def put_segment(store: Store, id_: TryId, writer: str, start: int, rows: bytes) -> None:
    """Store rows of timestamp and line that begin at byte `start` of the log that `writer` (a process) has."""
    first = "".join(character for character in rows[:30].decode(errors="replace") if character.isdigit())
    key = f"{_folder(id_)}{first:0<23.23}-{start:012}-{writer}.log"
    store.put(key, rows, content_type="text/plain; charset=utf-8")


def segments(store: Store, id_: TryId) -> Iterator[tuple[str, bytes]]:
    """Yield writer and rows of every segment, by the time of its first row."""
    for key in _keys(store, id_):
        with suppress(NotFound):  # another process may have dropped it
            yield key.rpartition("-")[2], store.get(key)


def drop(store: Store, id_: TryId) -> None:
    """Remove the checkpoint of a try, if there is one."""
    for key in _keys(store, id_):
        store.delete(key)


def _keys(store: Store, id_: TryId) -> list[str]:
    """Return the keys of a checkpoint's segments; earlier versions had one of the whole log, beside the folder."""
    folder = _folder(id_)
    whole = f"{folder[:-1]}.log"
    return [key for key in store.list(folder[:-1]) if key == whole or key.startswith(folder)]


def _folder(id_: TryId) -> str:
    return f"{CHECKPOINTS}{id_.attempt:03}-{id_.number}/"
