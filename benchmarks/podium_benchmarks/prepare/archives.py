"""What is downloaded from where, how large it is, and what it is verified with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 1 << 20


class PrepareError(Exception):
    """A data set can't be made; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Archive:
    """One file of a data set's own home."""

    name: str
    url: str  # empty where the license forbids automatic download
    size: int | None = None  # bytes, where known
    # "md5:..." or "sha256:...", perhaps its first digits; empty: whatever comes first is trusted and recorded
    digest: str = ""
    origin: str = ""  # who published the digest


@dataclass(frozen=True)
class Verified:
    """A local archive, and how it was verified."""

    archive: Archive
    path: Path
    sha256: str
    by: str


def digests_of(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Several digests of a file in one reading."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in set(algorithms)}
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            for sum_ in sums.values():
                sum_.update(block)
    return {name: sum_.hexdigest() for name, sum_ in sums.items()}


def verify(archive: Archive, path: Path, known_sha256: str = "") -> Verified:
    """Compare size and digest; `known_sha256` is what was recorded when the archive was first seen."""
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise PrepareError(f"{path} has {size:,} bytes instead of {archive.size:,}: delete it and download it again")
    algorithm, _, wanted = archive.digest.partition(":")
    found = digests_of(path, {"sha256", algorithm or "sha256"})
    if not found.get(algorithm, "").startswith(wanted):
        raise PrepareError(f"{path} has the {algorithm} {found[algorithm]} instead of {wanted} ({archive.origin}): "
                           "delete it and download it again")  # fmt: skip
    if wanted:
        return Verified(archive, path, found["sha256"], f"{algorithm} of {archive.origin}")
    if known_sha256 and found["sha256"] != known_sha256:
        raise PrepareError(f"{path} has the sha256 {found['sha256']} instead of {known_sha256}, which it had when it "
                           "was first downloaded: delete it, or sources.json if you know of the change")  # fmt: skip
    return Verified(archive, path, found["sha256"], "the first download" if known_sha256 else "nothing: first use")
