"""The interface of a result store, its errors, and bounded ways to read from it."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

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


@dataclass(frozen=True, slots=True)
class StoreAbilities:
    """What `Store.check` found out about a store. As text, the line that the administrator reads in the log."""

    url: str
    conditional_put: bool  # else a lock object takes its place
    checksums: str = ""  # how the content of a put is verified; empty where this is not a question

    def __str__(self) -> str:
        able = "put, get, list, delete" + (", conditional put: yes" if self.conditional_put else ": yes")
        if not self.conditional_put:
            able += "; conditional put: no, so that a lock object guards what is written once"
        return f"{self.url}: {able}" + (f"; checksums: {self.checksums}" if self.checksums else "")


class Store(Protocol):
    """Objects by relative keys with ``/`` between the parts. Safe to use from several threads.

    When a put returns, the object is durable; before, readers see the object as it was. A put that fails with
    StoreUnavailable may still have happened, so it can be repeated. Names that begin with ``.podium-`` belong to the
    store itself.
    """

    url: str

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        """Write a whole object. With `if_absent`, raises AlreadyExists if there is one, and leaves it unchanged."""

    def put_file(self, key: str, file: BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        """Write an object with the content of a seekable file, from its beginning, in bounded memory."""

    def get(self, key: str) -> bytes:
        """Read a whole object. Raises NotFound."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object piece by piece. Raises NotFound on the first piece."""

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted. Names of the store itself only if `prefix` begins one."""

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""

    def child(self, prefix: str) -> Store:
        """The store below `prefix`."""

    def together(self) -> AbstractContextManager[Store]:
        """This store, for several operations of one thread that cost less together than one by one.

        What is put is durable only when the block ends. If the block fails, nothing is known.
        """

    def check(self) -> StoreAbilities:
        """Put, get, list and delete a probe. Raises StoreError with a message for the administrator."""


def check_key(key: str) -> None:
    """Raises ValueError for a key that leaves its store, or that would take several lines in SHA256SUMS."""
    if not key or key.startswith("/") or ".." in key.split("/") or "\0" in key:
        raise ValueError(f"key {key!r} leaves the store; keys are relative paths without '..'")
    if not is_one_line(key):
        raise ValueError(f"key {key!r} contains a line break; rename the object")


def is_one_line(key: str) -> bool:
    """Whether a key has no line break of any kind, so that every program reads a list of keys the same way."""
    return len(f"{key}.".splitlines()) == 1


PRIVATE = ".podium-"  # names that begin so belong to the store itself
CHUNK_BYTES = 1 << 20
MAX_LOG_BYTES = 64 << 20  # of a log that is read at once, for a package
_MAX_SUMS_LINE = 8192  # bytes: a digest and a key
_MAX_SUMS_LINES = 1_000_000


def is_listed(key: str, prefix: str) -> bool:
    """Whether a listing of the keys that start with `prefix` has this one."""
    hidden = key.rpartition("/")[2].startswith(PRIVATE) and not prefix.rpartition("/")[2].startswith(PRIVATE)
    return key.startswith(prefix) and is_one_line(key) and not hidden


def probe(store: Store, put: Callable[..., None]) -> bool:
    """Put, get, list and delete an object; returns whether conditional puts work. Raises StoreError.

    `put` is `Store.put` without any precaution. The probe has a name of its own each time: replicas probe at once.
    """
    key, content = f"{PRIVATE}probe-{secrets.token_hex(8)}", secrets.token_bytes(32)
    put(key, content)
    try:
        _require_kept(store, key, content)
        conditional = _has_conditional_put(put, key)
        store.delete(key)
    except BaseException:
        with contextlib.suppress(StoreError):
            store.delete(key)
        raise
    return conditional


def _require_kept(store: Store, key: str, content: bytes) -> None:
    with contextlib.suppress(NotFound):
        if store.get(key) == content and key in store.list(key):
            return
    raise StoreRefused(
        f"{store.url} does not return and list what it has just acknowledged; check that the endpoint is the store "
        "itself, not a login page, a proxy or a cache"
    )


def _has_conditional_put(put: Callable[..., None], key: str) -> bool:
    """Whether a put of an object that exists is refused for this reason, and for no other."""
    try:
        put(key, b"", if_absent=True)
    except AlreadyExists:
        return True
    except StoreRefused:  # the condition is not implemented
        return False
    return False  # the condition was ignored


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
