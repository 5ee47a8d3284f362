"""Where a data set is copied from: a bucket, or a folder (a claim is one)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from podium.staging.checks import Check
from podium.staging.errors import StageError
from podium.stores import open_store
from podium.stores.base import CHUNK_BYTES

if TYPE_CHECKING:
    from podium.stores.s3 import S3Store

PARALLEL_BYTES = 64 << 20  # objects from here on are fetched in several parts at once

Progress = Callable[[int], object]  # told of so many further bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the data set. The tag changes when the content does."""

    key: str  # path below the source, "/" between the parts
    size: int
    tag: str


class Source(Protocol):
    """Used from several threads."""

    url: str

    def items(self) -> Iterator[Item]:
        """Every file. Raises StageError for one that cannot be a file below the target, StoreError."""

    def read(self, key: str) -> bytes:
        """A small file whole. Raises NotFound."""

    def check(self, item: Item) -> Check | None:
        """What the source itself knows of the content, None when it is no more than the size."""

    def doubts(self, item: Item) -> bool:
        """Whether what `check` gave may be no digest of the content; asked when it does not fit."""

    def fetch(self, item: Item, path: Path, progress: Progress) -> None:
        """Write the file to `path`. Raises StoreError, OSError."""


def open_source(url: str, *, endpoint_url: str | None, region: str | None, workers: int) -> Source:
    """The source at ``s3://bucket/prefix`` or in a folder. Raises StageError."""
    if url.startswith("s3://"):
        from podium.stores.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to load and takes 25 MB

        parts, needs = urlsplit(url), "s3:GetObject and ListBucket"
        where = {"endpoint_url": endpoint_url, "region": region}
        return BucketSource(S3Store(parts.netloc, parts.path, **where, connections=4 * workers, needs=needs))
    return FolderSource(Path(url))


class BucketSource:
    """Objects below a prefix."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self.url = store.url

    def items(self) -> Iterator[Item]:
        for entry in self._store.entries():
            if entry.key.endswith("/"):  # what a console leaves for an empty folder
                continue
            parts = entry.key.split("/")
            if "" in parts or "." in parts or ".." in parts or "\0" in entry.key:
                raise StageError(f"{self.url}/{entry.key}: such a key cannot be a file; rename the object")
            yield Item(entry.key, entry.size, entry.etag)

    def read(self, key: str) -> bytes:
        return self._store.get(key)

    def check(self, item: Item) -> Check | None:
        """An ETag is the content's MD5, or of an upload in parts that of the parts' MD5s, unless a key encrypts it."""
        digest, _, parts = item.tag.partition("-")
        if len(digest) != hashlib.md5().digest_size * 2:  # noqa: S324 - what S3 computes; no secret depends on it
            return None
        facts = self._store.facts(item.key) if parts else None
        if facts and facts.sha256:
            return Check("sha256", facts.sha256, "checksum")
        if facts is None:
            return Check("md5", digest, "ETag")
        part = self._store.part_size(item.key) if facts.etag_is_md5 else None
        if part is None or -(-item.size // part) != int(parts):  # its parts are of several sizes
            return None
        return Check("md5", item.tag, "ETag", part_bytes=part)

    def doubts(self, item: Item) -> bool:
        """Whether the ETag is no MD5 after all; asking for every object would double the requests."""
        return not self._store.facts(item.key).etag_is_md5

    def fetch(self, item: Item, path: Path, progress: Progress) -> None:
        if item.size >= PARALLEL_BYTES:
            self._store.download(item.key, path, progress)
            return
        with path.open("wb") as file:
            for chunk in self._store.chunks(item.key):
                file.write(chunk)
                progress(len(chunk))


class FolderSource:
    """Files below a folder. A link may lead to another file below it, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise StageError(f"{folder} is no folder; name the folder of the data set, or s3://bucket/prefix")
        self._folder = folder.resolve()
        self.url = str(folder)

    def items(self) -> Iterator[Item]:
        return self._walk(self._folder)

    def _walk(self, folder: Path) -> Iterator[Item]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder.name == "lost+found":  # of the file system, for root alone
                return
            raise StageError(f"{folder} cannot be listed: {error.strerror}") from error
        for entry in entries:
            path = Path(entry.path)
            # a link out of the folder could name a secret of this container
            if entry.is_symlink() and not path.resolve().is_relative_to(self._folder):
                raise StageError(f"{path} is a link to {path.readlink()}, out of the data set; put the file there")
            if entry.is_dir():
                if entry.is_symlink():
                    raise StageError(f"{path} is a link to a folder; put the folder there")
                yield from self._walk(path)
            elif entry.is_file():
                status = entry.stat()
                tag = f"{status.st_size}-{status.st_mtime_ns}"
                yield Item(path.relative_to(self._folder).as_posix(), status.st_size, tag)
            else:
                raise StageError(f"{path} is neither a file nor a folder; remove it")

    def read(self, key: str) -> bytes:
        return open_store(str(self._folder)).get(key)

    def check(self, item: Item) -> Check | None:
        del item  # a file system keeps no digests
        return None

    def doubts(self, item: Item) -> bool:
        del item
        return False

    def fetch(self, item: Item, path: Path, progress: Progress) -> None:
        source = self._folder / item.key
        if not source.resolve().is_relative_to(self._folder):  # it may have changed since it was listed
            raise StageError(f"{source} is a link out of the data set")
        with source.open("rb") as reader, path.open("wb") as writer:
            while chunk := reader.read(CHUNK_BYTES):
                writer.write(chunk)
                progress(len(chunk))
