"""A store that somebody adds: this module, and a line in podium.stores.SCHEMES."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO
from urllib.parse import SplitResult

from podium.stores import AlreadyExists, NotFound, StoreAbilities

OBJECTS: dict[str, bytes] = {}


def open_url(url: SplitResult, **_: str | None) -> MemoryStore | None:
    return MemoryStore(f"mem://{url.netloc}{url.path}") if url.netloc else None


class MemoryStore:
    """Objects of this process, by their whole URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "") -> None:
        del content_type
        if if_absent and f"{self.url}/{key}" in OBJECTS:
            raise AlreadyExists(f"{self.url}/{key} already exists")
        OBJECTS[f"{self.url}/{key}"] = data

    def put_file(self, key: str, file: BinaryIO, *, content_type: str = "") -> None:
        file.seek(0)
        self.put(key, file.read())

    def get(self, key: str) -> bytes:
        if f"{self.url}/{key}" not in OBJECTS:
            raise NotFound(f"{self.url}/{key} does not exist")
        return OBJECTS[f"{self.url}/{key}"]

    def chunks(self, key: str) -> Iterator[bytes]:
        yield self.get(key)

    def list(self, prefix: str = "") -> list[str]:
        base = f"{self.url}/"
        return sorted(url.removeprefix(base) for url in OBJECTS if url.startswith(base + prefix))

    def delete(self, key: str) -> None:
        OBJECTS.pop(f"{self.url}/{key}", None)

    def child(self, prefix: str) -> MemoryStore:
        return MemoryStore(f"{self.url}/{prefix}")

    def together(self) -> AbstractContextManager[MemoryStore]:
        return nullcontext(self)

    def check(self) -> StoreAbilities:
        return StoreAbilities(self.url, conditional_put=True)
