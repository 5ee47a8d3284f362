"""Keeps the ledger of a run in its folder: while it grows, in parts that are put once; at the end, in one file.

Two processes, or threads, that add to a ledger at the same time cannot fork it: the number of a part is taken by the
first, and the other one continues what it has written. The file is put once, too, and closes the ledger.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from podium.results.ledger import LEDGER, Entry, Head, append, head_of, read, subject
from podium.stores import AlreadyExists, NotFound, Store, StoreError, StoreUnavailable

PARTS = "ledger-", "ledger/"  # what the keys of parts begin with: now, and in earlier versions
_PART = re.compile(r"(?P<folder>(?:.*/)?)ledger[-/](?P<run>[^/]{1,8})-[0-9]{6,}\.jsonl")
_ANY = LEDGER.partition(".")[0]
_TYPE = "application/jsonl"
_KEPT_BYTES = 4096  # of a ledger that is kept in memory: that of most runs
_MOST_LOSSES = 100  # in a row, to others that add to the same ledger


def open_ledgers(keys: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the parts of ledgers among `keys`, in order, by folder and by the first characters of the run's uid.

    Without the whole ledger beside them, they are of a run that has not ended, or whose process was killed.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in sorted(keys):
        if match := _PART.fullmatch(key):
            found[match["folder"].rstrip("/"), match["run"]].append(key)
    return dict(found)


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process knows of a ledger. `text` is None if it is too long to be kept."""

    parts: int = 0
    head: Head = field(default_factory=Head)
    said: Mapping[str, str] = field(default_factory=dict)  # by subject
    text: bytes | None = b""
    closed: bool = False

    def with_part(self, part: bytes) -> _Known:
        """Return what is known with the next part, which somebody has written."""
        head = Head(self.head.records + part.count(b"\n"), head_of(part).sha256)
        return self.after(part, head, [record.entry for record in read(part, self.head)])

    def after(self, part: bytes, head: Head, entries: Iterable[Entry]) -> _Known:
        """Return what is known with the next part, which says `entries` and ends with `head`."""
        said = dict(map(subject, entries))
        text = self.text + part if self.text is not None and len(self.text) + len(part) <= _KEPT_BYTES else None
        return _Known(self.parts + 1, head, {**self.said, **said}, text)


class RunLedger:
    """The ledger of one run, whose folder is `store`. Safe to use from several threads. Methods raise StoreError."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid[:8]  # a folder on a laptop may hold the parts of another run
        self._begins = PARTS[0]
        self._known: _Known | None = None
        self.run_yaml: tuple[object, bytes] | None = None  # the spec, and run.yaml with it: written at both ends

    @contextmanager
    def together(self) -> Iterator[Store]:
        """The run's folder, to put files together with what is added to the ledger: see `Store.together`.

        If the block fails, the ledger is read again before anything is added: nobody knows what of it is stored.
        """
        try:
            with self._store.together() as store:
                yield store
        except StoreError:
            self._known = None
            raise

    def append(self, *entries: Entry, within: Store | None = None) -> None:
        """Add the entries that say something new; with `within`, as part of a block of `together`.

        A ledger that is closed stays as it is.
        """
        known, store = self._now_known(), within or self._store
        for _ in range(_MOST_LOSSES):
            new = [entry for entry in entries if _is_new(entry, known.said)]
            if known.closed or not new:
                return
            part, head = append(known.head, new, time.time())
            try:
                store.put(self._part(known.parts + 1), part, if_absent=True, content_type=_TYPE)
            except AlreadyExists:  # another one was first, or it is this part, whose acknowledgment was lost
                known = self._known = self._advanced(known)
            else:
                self._known = known.after(part, head, new)
                return
        raise StoreUnavailable(f"{self._store.url}: others add to its ledger all the time; a retry may help")

    def begun(self) -> bool:
        """Return whether the ledger has a line."""
        known = self._now_known()
        return known.closed or known.head.records > 0

    def entries(self) -> list[Entry]:
        """Return all entries so far."""
        return [record.entry for record in read(self._text(self._now_known()))]

    def closed(self) -> bytes | None:
        """Return the whole ledger if it is closed."""
        return self._store.get(LEDGER) if self._now_known().closed else None

    def close(self, last: Entry, *, within: Store | None = None) -> bytes:
        """Put the whole ledger, with its last entry, and return it: as another process has closed it, if one has.

        With `within`, this is part of a block of `together`.
        """
        known, store = self._now_known(), within or self._store
        text = self._text(known)
        line, _ = append(known.head, [last], time.time())
        try:
            store.put(LEDGER, text + line, if_absent=True, content_type=_TYPE)
        except AlreadyExists:
            text, line = self._store.get(LEDGER), b""
        self._known = _Known(known.parts, closed=True, text=None)
        return text + line

    def drop_parts(self) -> None:
        """Remove what the closed ledger holds."""
        known = [self._part(number) for number in range(1, self._known.parts + 1)] if self._known else []
        with self._store.together() as store:
            for key in known or [key for key in store.list(_ANY) if key.startswith(self._starts())]:
                store.delete(key)

    def _part(self, number: int) -> str:
        return f"{self._begins}{self._uid}-{number:06}.jsonl"

    def _starts(self) -> tuple[str, ...]:
        return tuple(f"{begins}{self._uid}-" for begins in PARTS)

    def _now_known(self) -> _Known:
        """Return what is known, which another thread may add to at any time."""
        known = self._known
        if known is None:
            known = self._known = self._read()
        return known

    def _text(self, known: _Known) -> bytes:
        if known.closed:
            return self._store.get(LEDGER)
        if known.text is not None:
            return known.text
        try:
            return b"".join(self._store.get(self._part(number)) for number in range(1, known.parts + 1))
        except NotFound as error:
            self._known = None
            raise StoreUnavailable(f"{error}: another process has closed the ledger; a retry helps") from error

    def _read(self) -> _Known:
        """Read what earlier processes have written."""
        keys = self._store.list(_ANY)
        if LEDGER in keys:
            return _Known(closed=True, text=None)
        begun = next((key for key in keys if key.startswith(self._starts())), None)
        if begun is None:
            return _Known()
        self._begins = begun.partition(self._uid)[0]  # one that an earlier version began continues where it is
        return self._advanced(_Known())

    def _advanced(self, known: _Known) -> _Known:
        """Return `known` with the parts that others have written since."""
        while True:
            try:
                part = self._store.get(self._part(known.parts + 1))
            except NotFound:
                return known
            known = known.with_part(part)


def _is_new(entry: Entry, said: Mapping[str, str]) -> bool:
    about, digest = subject(entry)
    return about == "" or said.get(about) != digest
