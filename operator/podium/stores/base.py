"""What a result store can do, and how it says that it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol


class StoreError(Exception):
    """Something could not be stored or read; the text names the place, the cause and the remedy."""


class StoreUnavailable(StoreError):  # noqa: N818 - the state of the store, as its callers speak of it
    """Trying again later may help: network, overload, a full disk."""


class StoreRefused(StoreError):  # noqa: N818
    """A person has to do something: credentials, a missing bucket, permissions."""


class AlreadyExists(StoreError):  # noqa: N818
    """A conditional put found an object of that key."""


class NotFound(StoreError):  # noqa: N818
    """There is no such object."""


class StoreCorrupt(StoreError):  # noqa: N818
    """What was received is not what was stored: the checksums differ."""


class Store(Protocol):
    """Objects under relative keys with ``/`` between the parts. Safe to use from several threads."""

    url: str

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        """Write an object whole. With `if_absent` an existing one stays and AlreadyExists is raised."""

    def get(self, key: str) -> bytes:
        """Read an object whole. Raises NotFound."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object piece by piece. Raises NotFound at the first piece."""

    def list(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""

    def child(self, prefix: str) -> Store:
        """The store below `prefix`."""

    def check(self) -> None:
        """Write and remove a probe. Raises StoreError with a sentence for the administrator."""


def check_key(key: str) -> None:
    """Raises ValueError for a key that leaves its store, or that would be several lines of SHA256SUMS."""
    if not key or key.startswith("/") or ".." in key.split("/") or "\0" in key:
        raise ValueError(f"key {key!r} leaves the store; keys are relative paths without '..'")
    if not is_one_line(key):
        raise ValueError(f"key {key!r} is not one line; rename the object")


def is_one_line(key: str) -> bool:
    """Whether no program reads a list of keys otherwise than it was written."""
    return len(f"{key}.".splitlines()) == 1


PROBE = ".podium-probe"
CHUNK_BYTES = 1 << 20
MAX_DOCUMENT_BYTES = 16 << 20  # of what is read whole though others wrote it


def document_bytes(store: Store, key: str) -> bytes:
    """A document that somebody else may have written. Raises ValueError when it is larger than any of ours."""
    found = b""
    for chunk in store.chunks(key):
        found += chunk
        if len(found) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"{key} is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    return found


def digest(store: Store, key: str) -> str:
    """The SHA-256 of an object of any size."""
    sum_ = hashlib.sha256()
    for chunk in store.chunks(key):
        sum_.update(chunk)
    return sum_.hexdigest()
