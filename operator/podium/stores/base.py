"""What a result store can do, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class StoreError(Exception):
    """Something could not be stored or read; the text names the place, the cause and the remedy."""


class StoreUnavailable(StoreError):  # noqa: N818 - the state of the store, as its callers speak of it
    """Trying again later may help: network, overload, a full disk."""


class StoreRefused(StoreError):  # noqa: N818
    """A person has to do something: credentials, a missing bucket, permissions."""


class AlreadyExists(StoreError):  # noqa: N818
    """A conditional put met an object."""


class NotFound(StoreError):  # noqa: N818
    """There is no such object."""


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


PROBE = ".podium-probe"
CHUNK_BYTES = 1 << 20
