"""Where results are kept: folders and buckets behind one small interface."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from podium.stores.base import (
    AlreadyExists,
    NotFound,
    Store,
    StoreCorrupt,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    digest,
    document_bytes,
)
from podium.stores.file import FileStore

__all__ = [
    "AlreadyExists", "FileStore", "NotFound", "Store", "StoreCorrupt", "StoreError", "StoreRefused", "StoreUnavailable",
    "digest", "document_bytes", "open_store",
]  # fmt: skip


def open_store(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Store:
    """The store at ``s3://bucket/prefix``, ``file:///folder`` or a plain path.

    Raises StoreRefused for anything else. Nothing is read or written yet.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        from podium.stores.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to load and takes 25 MB

        return S3Store(parts.netloc, parts.path, endpoint_url=endpoint_url, region=region)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return FileStore(Path(unquote(parts.path)))
    if not parts.scheme and url:
        return FileStore(Path(url).resolve())
    raise StoreRefused(f"{url!r} is no place for results; use s3://bucket/prefix or file:///folder")
