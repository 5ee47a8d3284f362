"""Keep results in a bucket of Amazon S3 or any compatible store."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult

from boto3.s3.transfer import TransferConfig

from podium.stores.base import (
    CHUNK_BYTES,
    NotFound,
    StoreAbilities,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    check_key,
    is_listed,
    probe,
)
from podium.stores.s3_client import NOT_S3, Access, Connection, translated
from podium.stores.s3_lock import LockObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 << 20  # of a multipart upload; smaller files are one put
_MAX_PARTS = 10_000
_LARGE_DOWNLOADS = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


def open_url(url: SplitResult, **options: str | None) -> S3Store | None:
    """The store at an s3:// URL, with the options of `Access`; None without a bucket."""
    access = Access(**{name: value for name, value in options.items() if value})  # type: ignore[arg-type]
    return S3Store(url.netloc, url.path, access=access) if url.netloc else None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    size: int
    etag: str
    modified: float  # Unix seconds of the store's clock


@dataclass(frozen=True, slots=True)
class Facts:
    """What S3 knows about an object."""

    sha256: str | None  # of the whole content, if it was uploaded with one
    etag_is_md5: bool  # false if a customer's key or KMS encrypts it


class _Shared:
    """What a store and its children have in common."""

    def __init__(self, root: S3Store, access: Access) -> None:
        self.root = root
        self.connection = Connection(access)
        self.lock_object = LockObject()
        self.probing = threading.Lock()
        self.abilities: StoreAbilities | None = None


class S3Store:
    """A store in a bucket, below a prefix. The client is created on first use and shared between threads.

    The first write probes what the store can do, unless `check` has done so.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        access: Access | None = None,
        needs: str = "s3:GetObject, PutObject, DeleteObject and ListBucket",
    ) -> None:
        self._at(bucket, prefix, _Shared(self, access or Access()), needs)

    def _at(self, bucket: str, prefix: str, shared: _Shared, needs: str) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.url = f"s3://{bucket}" + (f"/{self.prefix}" if self.prefix else "")
        self._shared = shared
        self._needs = needs  # for the message when access is denied

    # Writing

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        check_key(key)
        if len(data) > PART_BYTES and not if_absent:
            self.put_file(key, io.BytesIO(data), content_type=content_type)
            return
        if self._abilities().conditional_put or not if_absent:
            self._put(key, data, if_absent=if_absent, content_type=content_type)
            return

        def write(send_until: float) -> None:
            self._put(key, data, content_type=content_type, send_until=send_until)

        self._shared.lock_object.put(self, key, write)

    def put_plainly(self, key: str, data: bytes) -> None:
        """Write an object that only the store itself needs."""
        self._put(key, data)

    def _put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
        send_until: float | None = None,
    ) -> None:
        more: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if self._shared.connection.checksums:
            more["ChecksumSHA256"] = base64.b64encode(hashlib.sha256(data).digest()).decode()
        at = self._where(key)
        with self._translated(key):
            done = self._shared.connection.call(
                lambda client: client.put_object(**at, Body=data, ContentType=content_type, **more),
                send_until=send_until,
            )
        self._require_etag(key, done)

    def put_file(self, key: str, file: BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= PART_BYTES:
            self.put(key, file.read(), content_type=content_type)
            return
        self._abilities()
        part_bytes = max(PART_BYTES, -(-size // _MAX_PARTS))
        at = self._where(key)
        call = self._shared.connection.call
        with self._translated(key):
            upload = call(lambda client: client.create_multipart_upload(**at, ContentType=content_type))["UploadId"]
            try:
                parts: list[CompletedPartTypeDef] = []
                for number, part in enumerate(iter(lambda: file.read(part_bytes), b""), 1):
                    etag = self._put_part(at, upload, number, part)
                    parts.append({"PartNumber": number, "ETag": etag})
                done = call(
                    lambda client: client.complete_multipart_upload(
                        **at,
                        UploadId=upload,
                        MultipartUpload={"Parts": parts},
                    )
                )
                self._require_etag(key, done)
            except BaseException:
                with contextlib.suppress(StoreError), self._translated(key):
                    call(lambda client: client.abort_multipart_upload(**at, UploadId=upload))
                raise

    def _put_part(self, at: Mapping[str, Any], upload: str, number: int, part: bytes) -> str:
        """Upload a part. Its content is signed, so the store verifies it without any checksum."""
        done = self._shared.connection.call(
            lambda client: client.upload_part(**at, UploadId=upload, PartNumber=number, Body=part)
        )
        return done["ETag"]

    def _require_etag(self, key: str, done: Mapping[str, Any]) -> None:
        """Raises StoreRefused for an answer that is no acknowledgment: a login page has status 200, too."""
        if not done.get("ETag"):
            raise StoreRefused(
                f"{self.url}/{key}: the answer has no ETag, so it does not come from an S3 store; {NOT_S3}"
            )

    def delete(self, key: str) -> None:
        at = self._where(key)
        with self._translated(key):
            self._shared.connection.call(lambda client: client.delete_object(**at))

    # Reading

    def get(self, key: str) -> bytes:
        at = self._where(key)
        with self._translated(key):
            return self._shared.connection.call(lambda client: client.get_object(**at)["Body"].read())

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._translated(key):
            at, call = self._where(key), self._shared.connection.call
            body = call(lambda client: client.get_object(**at)["Body"])
            while chunk := call(lambda _: body.read(CHUNK_BYTES)):
                yield chunk

    def list(self, prefix: str = "") -> list[str]:
        return sorted(entry.key for entry in self.entries(prefix) if is_listed(entry.key, prefix))

    def entries(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`."""
        base = f"{self.prefix}/" if self.prefix else ""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=base + prefix)
            ahead = iter(pages)
            while page := self._shared.connection.call(lambda _: next(ahead, None)):
                for entry in page.get("Contents", ()):
                    key, etag = entry["Key"][len(base) :], entry.get("ETag", "").strip('"')
                    modified = entry["LastModified"].timestamp() if "LastModified" in entry else 0.0
                    yield ObjectInfo(key, entry["Size"], etag, modified)

    def modified(self, prefix: str) -> Mapping[str, float]:
        """When each object whose key starts with `prefix` was written, in Unix seconds of the store's clock."""
        return {entry.key: entry.modified for entry in self.entries(prefix)}

    def exists(self, key: str) -> bool:
        """Whether there is an object with this key."""
        at = self._where(key)
        try:
            with self._translated(key):
                self._shared.connection.call(lambda client: client.head_object(**at))
        except NotFound:
            return False
        return True

    def facts(self, key: str) -> Facts:
        """What S3 knows about an object. Raises NotFound."""
        with self._translated(key):
            head = self._client.head_object(Bucket=self.bucket, Key=self._key(key), ChecksumMode="ENABLED")
        sha256 = head.get("ChecksumSHA256") if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" else None
        own_key = head.get("SSECustomerAlgorithm") or head.get("ServerSideEncryption", "AES256") != "AES256"
        return Facts(base64.b64decode(sha256).hex() if sha256 and "-" not in sha256 else None, not own_key)

    def part_size(self, key: str) -> int | None:
        """Bytes in the first part of a multipart upload; None without parts, or if the server does not report it."""
        with self._translated(key):
            head = self._client.head_object(Bucket=self.bucket, Key=self._key(key), PartNumber=1)
        return head["ContentLength"] if head.get("PartsCount", 0) > 1 else None

    def download(self, key: str, file: BinaryIO, progress: Callable[[int], object]) -> None:
        """Write a large object into `file`, several parts at a time. Raises NotFound."""
        with self._translated(key):
            self._client.download_fileobj(self.bucket, self._key(key), file, Callback=progress, Config=_LARGE_DOWNLOADS)

    def child(self, prefix: str) -> S3Store:
        below = object.__new__(S3Store)
        below._at(self.bucket, self._key(prefix), self._shared, self._needs)  # shares one connection pool
        return below

    def together(self) -> contextlib.AbstractContextManager[S3Store]:
        return contextlib.nullcontext(self)

    # What the store can do

    def check(self) -> StoreAbilities:
        shared = self._shared
        if not shared.probing.acquire(timeout=shared.connection.access.call_seconds):
            raise StoreUnavailable(f"{self.url} is being probed and does not answer; a retry may help")
        try:
            shared.abilities = shared.root._probe()  # noqa: SLF001 - another object of this class
            return shared.abilities
        finally:
            shared.probing.release()

    def _abilities(self) -> StoreAbilities:
        return self._shared.abilities or self.check()

    def _probe(self) -> StoreAbilities:
        connection = self._shared.connection
        if connection.access.checksum == "off":
            return StoreAbilities(self.url, probe(self, self._put), "off")
        connection.use_checksums(True)
        try:
            return StoreAbilities(self.url, probe(self, self._put), "header")
        except StoreRefused:
            connection.use_checksums(False)
            try:
                return StoreAbilities(self.url, probe(self, self._put), "none, since the store refuses them")
            except StoreRefused:  # so the checksum was not the reason
                connection.use_checksums(True)
            raise

    @property
    def _client(self) -> S3Client:
        return self._shared.connection.client()

    def _where(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self._key(key)}

    def _key(self, key: str) -> str:
        check_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        with translated(self.url, key, self._needs):
            yield
