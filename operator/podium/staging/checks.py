"""The digests that a file's content is compared with."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from podium.staging.errors import StageError
from podium.stores.base import CHUNK_BYTES

SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Check:
    """The expected digest of a file, and where it comes from."""

    algorithm: str  # sha256 or md5
    digest: str  # for a multipart upload: the MD5 of the parts' MD5s, "-", the number of parts
    origin: str  # SHA256SUMS, checksum (S3's own SHA-256) or ETag
    part_bytes: int | None = None

    def of_file(self, file: io.BufferedIOBase | io.FileIO) -> str:
        """The same digest of an open file, from its current position to the end."""
        if self.part_bytes is None:
            return hashlib.file_digest(file, self.algorithm).hexdigest()
        digests = []
        while part := _md5_of_part(file, self.part_bytes):
            digests.append(part)
        return f"{_md5(b''.join(digests))}-{len(digests)}"


def parse_sums(text: str, place: str) -> dict[str, str]:
    """Parse the output of ``sha256sum`` into digests by path. Raises StageError, which names the invalid line."""
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, _, name = line.partition(" ")
        if len(digest) != hashlib.sha256().digest_size * 2 or not name[1:]:
            raise StageError(f"{place}, line {number}: expected a SHA-256 and a path, as written by sha256sum")
        sums[name[1:].removeprefix("./")] = digest.lower()
    return sums


def _md5_of_part(file: io.BufferedIOBase | io.FileIO, part_bytes: int) -> bytes:
    """The MD5 of the next part; empty at the end."""

    sum_, left = hashlib.md5(), part_bytes  # noqa: S324 - what S3 computes
    while left and (chunk := file.read(min(CHUNK_BYTES, left))):
        sum_.update(chunk)
        left -= len(chunk)
    return sum_.digest() if left < part_bytes else b""


def _md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()  # noqa: S324 - what S3 computes
