"""What the content of a file is compared with."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from podium.staging.errors import StageError
from podium.stores.base import CHUNK_BYTES

SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Check:
    """The digest that a file must have."""

    algorithm: str  # sha256 or md5
    digest: str  # of an upload in parts: the MD5 of the parts' MD5s, "-", their number
    origin: str  # SHA256SUMS, checksum (S3's own SHA-256) or ETag
    part_bytes: int | None = None

    def of_file(self, file: io.BufferedIOBase | io.FileIO) -> str:
        """The same digest of a file here, from where it stands to its end."""
        if self.part_bytes is None:
            return hashlib.file_digest(file, self.algorithm).hexdigest()
        digests = []
        while part := _md5_of_part(file, self.part_bytes):
            digests.append(part)
        return f"{_md5(b''.join(digests))}-{len(digests)}"


def parse_sums(text: str, place: str) -> dict[str, str]:
    """Digests by path of a file as ``sha256sum`` writes it. Raises StageError with the number of a wrong line."""
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, _, name = line.partition(" ")
        if len(digest) != hashlib.sha256().digest_size * 2 or not name[1:]:
            raise StageError(f"{place}, line {number}: expected a SHA-256 and a path, as sha256sum writes them")
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
