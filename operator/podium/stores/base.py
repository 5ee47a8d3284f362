"""The interface of a result store, its errors, and bounded ways to read from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

from podium.documents import MAX_BYTES, LimitError, size


class StoreError(Exception):
    """Something could not be stored or read. The message names the place, the cause and the remedy."""


class StoreUnavailable(StoreError):  # noqa: N818 - names the state of the store
    """Retrying later may help: the network is down, the store overloaded, or the disk full."""


class StoreRefused(StoreError):  # noqa: N818
    """A person has to fix something: credentials, permissions, or a missing bucket."""


class AlreadyExists(StoreError):  # noqa: N818
    """A conditional put found an object with that key."""


class NotFound(StoreError):  # noqa: N818
    """The object does not exist."""


class StoreCorrupt(StoreError):  # noqa: N818
    """The received content differs from the stored content, according to its checksum."""


class Store(Protocol):
    """Objects by relative keys with ``/`` between the parts. Safe to use from several threads."""

    url: str

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        """Write a whole object. With `if_absent`, raises AlreadyExists if there is one, and leaves it unchanged."""

    def get(self, key: str) -> bytes:
        """Read a whole object. Raises NotFound."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object piece by piece. Raises NotFound on the first piece."""

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""

    def child(self, prefix: str) -> Store:
        """The store below `prefix`."""

    def check(self) -> None:
        """Write and remove a probe. Raises StoreError with a message for the administrator."""


def check_key(key: str) -> None:
    """Raises ValueError for a key that leaves its store, or that would take several lines in SHA256SUMS."""
    if not key or key.startswith("/") or ".." in key.split("/") or "\0" in key:
        raise ValueError(f"key {key!r} leaves the store; keys are relative paths without '..'")
    if not is_one_line(key):
        raise ValueError(f"key {key!r} contains a line break; rename the object")


def is_one_line(key: str) -> bool:
    """Whether a key has no line break of any kind, so that every program reads a list of keys the same way."""
    return len(f"{key}.".splitlines()) == 1


PROBE = ".podium-probe"
CHUNK_BYTES = 1 << 20
MAX_LOG_BYTES = 64 << 20  # of a log that is read at once, for a package
_MAX_SUMS_LINE = 8192  # bytes: a digest and a key
_MAX_SUMS_LINES = 1_000_000


def document_bytes(store: Store, key: str, limit: int = MAX_BYTES) -> bytes:
    """Read an object that others may have written. Raises LimitError if it is larger than `limit` bytes."""
    found = bytearray()
    for chunk in store.chunks(key):
        found += chunk
        if len(found) > limit:
            raise LimitError(f"{key} is larger than {size(limit)}, the limit for such a file")
    return bytes(found)


def read_sums(store: Store, key: str) -> Iterator[tuple[str, str]]:
    """The digest and name on each line of a SHA256SUMS file of any size. Raises NotFound and LimitError."""
    rest, count = b"", 0
    for chunk in store.chunks(key):
        *lines, rest = (rest + chunk).split(b"\n")
        if max(map(len, [*lines, rest])) > _MAX_SUMS_LINE:
            raise LimitError(
                f"{key} contains a line of more than {_MAX_SUMS_LINE} bytes, the limit for a digest and a name"
            )
        count += len(lines)
        if count > _MAX_SUMS_LINES:
            raise LimitError(f"{key} has more than {_MAX_SUMS_LINES:,} lines, the limit for one result")
        yield from (_sum(line) for line in lines)
    if rest:
        yield _sum(rest)


def _sum(line: bytes) -> tuple[str, str]:
    digest_, _, name = line.decode(errors="replace").rstrip("\r").partition("  ")
    return digest_, name


def digest(store: Store, key: str) -> str:
    """The SHA-256 of an object of any size."""
    sum_ = hashlib.sha256()
    for chunk in store.chunks(key):
        sum_.update(chunk)
    return sum_.hexdigest()
