"""Where results are kept: folders and buckets behind one small interface.

To add a store, write a module with a class that implements `Store` and a function ``open_url`` as in ``file.py``, and
add a line to `SCHEMES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from podium.stores.base import (
    MAX_LOG_BYTES,
    AlreadyExists,
    NotFound,
    Store,
    StoreAbilities,
    StoreCorrupt,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    digest,
    document_bytes,
    read_sums,
)
from podium.stores.file import FileStore

__all__ = [
    "MAX_LOG_BYTES", "SCHEMES", "AlreadyExists", "FileStore", "NotFound", "Scheme", "Store", "StoreAbilities",
    "StoreCorrupt", "StoreError", "StoreRefused", "StoreUnavailable", "digest", "document_bytes", "open_store",
    "read_sums", "url_examples",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of URL: the module that opens it, loaded on first use (boto3 takes 25 MB), and an example."""

    module: str
    example: str


SCHEMES = {
    "s3": Scheme("podium.stores.s3", "s3://bucket/prefix"),
    "file": Scheme("podium.stores.file", "file:///folder"),
}


def url_examples() -> str:
    """Examples of results URLs, one for each kind of store, as text for an error message."""
    return " or ".join(scheme.example for scheme in SCHEMES.values())


def open_store(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    checksum: str | None = None,
    addressing: str | None = None,
) -> Store:
    """The store at a URL with one of the `SCHEMES`, or in the folder at a plain path. Reads and writes nothing yet.

    The options say how to reach a bucket: see `podium.stores.s3_client.Access`. Raises StoreRefused for any other URL,
    and for an option that does not exist.
    """
    parts = urlsplit(url)
    if not parts.scheme and url:
        return FileStore(Path(url).resolve())
    if scheme := SCHEMES.get(parts.scheme):
        options = {"endpoint_url": endpoint_url, "region": region, "checksum": checksum, "addressing": addressing}
        opened: Store | None = import_module(scheme.module).open_url(parts, **options)
        if opened:
            return opened
    raise StoreRefused(f"{url!r} is not a supported results URL; use {url_examples()}")
