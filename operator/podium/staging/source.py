"""The sources of a data set: a bucket, or a folder (such as a mounted volume claim)."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import urlsplit

from podium.staging.checks import Check
from podium.staging.errors import StageError
from podium.stores.base import CHUNK_BYTES
from podium.stores.beneath import OpenFolder

if TYPE_CHECKING:
    from podium.stores.s3 import S3Store

PARALLEL_BYTES = 64 << 20  # larger objects are fetched in several parts at once

_MAX_LIST_BYTES = 512 << 20  # of SHA256SUMS, enough for five million files

Progress = Callable[[int], object]  # called with the number of bytes since the last call


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the data set. Its tag changes when its content does."""

    key: str  # path below the source, "/" between the parts
    size: int
    tag: str


class Source(Protocol):
    """A place to copy from. Safe to use from several threads."""

    url: str

    def items(self) -> Iterator[Item]:
        """All files. Raises StoreError, and StageError for a key that cannot be a file in the target."""

    def read(self, key: str) -> bytes:
        """Read a whole list of files. Raises NotFound, StageError."""

    def check(self, item: Item) -> Check | None:
        """The digest that the source itself has of the content; None if it knows only the size."""

    def doubts(self, item: Item) -> bool:
        """Whether the result of `check` may not be a digest of the content; called when it does not match."""

    def fetch(self, item: Item, file: BinaryIO, progress: Progress) -> None:
        """Write the file into the empty `file`. Raises StoreError, StageError, OSError."""


def open_source(
    url: str, *, endpoint_url: str | None, region: str | None, workers: int, addressing: str = "auto"
) -> Source:
    """The source at ``s3://bucket/prefix`` or in a folder. Raises StageError, and StoreRefused for a wrong option."""
    if url.startswith("s3://"):
        from podium.stores.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to load and takes 25 MB
        from podium.stores.s3_client import Access  # noqa: PLC0415

        parts, needs = urlsplit(url), "s3:GetObject and ListBucket"
        access = Access(endpoint_url, region, addressing=addressing, connections=4 * workers)
        return BucketSource(S3Store(parts.netloc, parts.path, access=access, needs=needs))
    return FolderSource(Path(url))


class BucketSource:
    """Objects below a prefix."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self.url = store.url

    def items(self) -> Iterator[Item]:
        for entry in self._store.entries():
            if entry.key.endswith("/"):  # consoles create such a key for an empty folder
                continue
            parts = entry.key.split("/")
            if "" in parts or "." in parts or ".." in parts or "\0" in entry.key:
                raise StageError(f"{self.url}/{entry.key}: this key is not a valid file path; rename the object")
            yield Item(entry.key, entry.size, entry.etag)

    def read(self, key: str) -> bytes:
        return _whole(self._store.chunks(key), f"{self.url}/{key}")

    def check(self, item: Item) -> Check | None:
        """The digest in the ETag: the MD5, or for a multipart upload the MD5 of the parts' MD5s; None if encrypted."""
        digest, _, parts = item.tag.partition("-")
        if len(digest) != hashlib.md5().digest_size * 2:  # noqa: S324 - what S3 computes; no secret depends on it
            return None
        facts = self._store.facts(item.key) if parts else None
        if facts and facts.sha256:
            return Check("sha256", facts.sha256, "checksum")
        if facts is None:
            return Check("md5", digest, "ETag")
        part = self._store.part_size(item.key) if facts.etag_is_md5 else None
        if part is None or -(-item.size // part) != int(parts):  # its parts differ in size
            return None
        return Check("md5", item.tag, "ETag", part_bytes=part)

    def doubts(self, item: Item) -> bool:
        """Whether the ETag is not an MD5 after all. Checking this for every object would double the requests."""
        return not self._store.facts(item.key).etag_is_md5

    def fetch(self, item: Item, file: BinaryIO, progress: Progress) -> None:
        if item.size >= PARALLEL_BYTES:
            self._store.download(item.key, file, progress)
            return
        for chunk in self._store.chunks(item.key):
            file.write(chunk)
            progress(len(chunk))


class FolderSource:
    """Files below a folder. A link may lead to another file below it, and nowhere else.

    The folder's owner may change it while this container, which has access to more than they do, copies it. So every
    file is opened beneath the folder without following a link, and checks apply to the opened file.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._folder = OpenFolder.at(folder.resolve())
        except OSError as error:
            raise StageError(
                f"{folder} is not a readable folder ({error.strerror}); name the folder of the data set, or "
                "s3://bucket/prefix"
            ) from error
        self.url = str(folder)

    def items(self) -> Iterator[Item]:
        try:
            for key, entry in self._folder.walk():
                status = self._behind_link(key) if entry.is_symlink() else entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode):
                    raise StageError(f"{self._folder.path / key} is neither a file nor a folder; remove it")
                yield Item(key, status.st_size, _tag(status))
        except OSError as error:
            raise StageError(f"{error.filename or self.url} cannot be listed: {error.strerror}") from error

    def read(self, key: str) -> bytes:
        with self._open(key) as file:
            return _whole(iter(lambda: file.read(CHUNK_BYTES), b""), f"{self.url}/{key}")

    def check(self, item: Item) -> Check | None:
        del item  # a file system keeps no digests
        return None

    def doubts(self, item: Item) -> bool:
        del item
        return False

    def fetch(self, item: Item, file: BinaryIO, progress: Progress) -> None:
        with self._open(item.key) as reader:
            while chunk := reader.read(CHUNK_BYTES):
                file.write(chunk)
                progress(len(chunk))
            if _tag(os.fstat(reader.fileno())) != item.tag:
                raise StageError(f"{self.url}/{item.key} changed while it was copied; stage it again")

    def _open(self, key: str) -> io.FileIO:
        try:
            return self._folder.open(self._real_key(key))  # a link created since then is not followed
        except OSError as error:
            raise StageError(f"{self.url}/{key} cannot be read: {error.strerror}") from error

    def _behind_link(self, key: str) -> os.stat_result:
        real = self._real_key(key)
        status = os.fstat(self._folder.descriptor) if real == "." else self._folder.stat(real)
        if stat.S_ISDIR(status.st_mode):
            raise StageError(f"{self._folder.path / key} is a link to a folder; replace it with the folder itself")
        return status

    def _real_key(self, key: str) -> str:
        """The key that a link within the folder leads to, or the key itself if it is not a link. Raises StageError."""
        path = self._folder.path / key
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._folder.path):
            where = f" to {path.readlink()}" if path.is_symlink() else ""
            raise StageError(f"{path} is a link{where}, outside the data set; replace it with the file itself")
        return real.relative_to(self._folder.path).as_posix()


def _tag(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _whole(chunks: Iterator[bytes], place: str) -> bytes:
    """Read a whole list that others may have written. Raises StageError if it is too large for any data set."""
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > _MAX_LIST_BYTES:
            raise StageError(f"{place} is larger than {_MAX_LIST_BYTES >> 20} MiB; it should list files, one per line")
    return bytes(found)
