"""Stores what was measured so that nothing that is stored ever gets shorter.

A process that dies may have stored more than its successor still finds. So whatever is stored under a name stays
readable: it is replaced only by content that has all of its lines, or moved aside first.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from podium.stores import AlreadyExists, NotFound, Store

_PIECE = 1 << 20
_TEXT, _GZIP = "text/plain; charset=utf-8", "application/gzip"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a result, with the digest of what was stored."""

    name: str  # below the try's folder
    sha256: str
    finding: str = ""  # what is odd about it


class _Draft:
    """Content to be stored, in a temporary file; its digest is taken while it is written."""

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.SpooledTemporaryFile(_PIECE)  # type: ignore[assignment]  # noqa: SIM115 - see __exit__
        self._sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sum.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Needed by gzip."""

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def lines(self) -> Iterator[bytes]:
        self.file.seek(0)
        return iter(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()


def put_once(store: Store, key: str, content: bytes, content_type: str) -> bytes:
    """Store a file unless there is one. Returns what is stored."""
    try:
        store.put(key, content, if_absent=True, content_type=content_type)
    except AlreadyExists:
        return store.get(key)
    return content


def put_lines(store: Store, folder: str, name: str, lines: Iterable[str], *, exists: bool) -> list[Stored]:
    """Store a log. If one `exists` that has lines beyond these, it stays; if each has lines that the other lacks, both
    stay, the earlier one under another name."""
    with _Draft() as draft:
        count = 0
        for line in lines:
            draft.write(f"{line}\n".encode(errors="replace"))
            count += 1
        new = Stored(name, draft.sha256)
        if not exists:
            return [_put(store, folder, new, draft, _TEXT)]
        with _Draft() as earlier:
            for piece in store.chunks(f"{folder}/{name}"):
                earlier.write(piece)
            if earlier.sha256 == draft.sha256:
                return [new]
            if _contains(draft.lines(), earlier.lines()):
                return [_put(store, folder, new, draft, _TEXT)]
            known = sum(1 for _ in earlier.lines())
            if _contains(earlier.lines(), draft.lines()):
                finding = f"{name} was stored before, with {known} lines; {count} of them could be read again"
                return [Stored(name, earlier.sha256, finding)]
            finding = f"a log with other lines had been stored as {name}; it is kept under this name"
            aside = Stored(_aside(name, earlier.sha256), earlier.sha256, finding)
            return [_put(store, folder, aside, earlier, _TEXT), _put(store, folder, new, draft, _TEXT)]


def put_packed(store: Store, folder: str, name: str, pieces: Iterable[bytes], existing: frozenset[str]) -> Stored:
    """Store a pod's log, compressed. If another one is stored under this name, the new one gets a name of its own."""
    with _Draft() as draft:
        with gzip.GzipFile(filename="", mode="wb", fileobj=draft, mtime=0) as packed:
            for piece in pieces:
                packed.write(piece)
        new = Stored(name, draft.sha256)
        if name in existing:
            if _digest(store, f"{folder}/{name}") == draft.sha256:
                return new
            new = Stored(_aside(name, draft.sha256), draft.sha256)
        return _put(store, folder, new, draft, _GZIP)


def _put(store: Store, folder: str, stored: Stored, draft: _Draft, content_type: str) -> Stored:
    store.put_file(f"{folder}/{stored.name}", draft.file, content_type=content_type)
    return stored


def _contains(lines: Iterator[bytes], others: Iterator[bytes]) -> bool:
    """Return whether all `others` are among `lines`, in the same order."""
    return all(other in lines for other in others)  # `in` advances `lines`


def _digest(store: Store, key: str) -> str | None:
    sum_ = hashlib.sha256()
    try:
        for chunk in store.chunks(key):
            sum_.update(chunk)
    except NotFound:
        return None
    return sum_.hexdigest()


def _aside(name: str, sha256: str) -> str:
    """Return the name for content that has to make room: result.txt becomes result.0123abcd.txt."""
    stem, dot, ending = name.partition(".")
    return f"{stem}.{sha256[:8]}{dot}{ending}"
