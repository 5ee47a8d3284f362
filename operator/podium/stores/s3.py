"""Keep results in a bucket of Amazon S3 or any compatible store."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    FlexibleChecksumError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)

from podium.stores.base import (
    CHUNK_BYTES,
    PROBE,
    AlreadyExists,
    NotFound,
    StoreCorrupt,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    check_key,
    is_one_line,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_REFUSED = {
    "NoSuchBucket": "there is no such bucket; create it",
    "InvalidAccessKeyId": "unknown access key; check the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong; check the credentials",
    "ExpiredToken": "the credentials have expired",
    "PermanentRedirect": "the bucket is in another region; set the region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set the region",
    "InvalidBucketName": "that is not a valid bucket name",
}
_MISCONFIGURED = (
    ConfigNotFound, ConfigParseError, InvalidRegionError, NoRegionError, ParamValidationError, ProfileNotFound,
)  # fmt: skip
_LATER = frozenset({  # statuses 400 to 499 that are worth a retry anyway
    "BadDigest", "IncompleteBody", "OperationAborted", "QuotaExceeded", "RequestTimeout", "SlowDown", "Throttling",
    "ThrottlingException", "TooManyRequests", "XAmzContentChecksumMismatch",
})  # fmt: skip
_EXISTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


_LARGE_DOWNLOADS = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


def open_url(url: SplitResult, *, endpoint_url: str | None, region: str | None) -> S3Store | None:
    """The store at an s3:// URL; None without a bucket."""
    return S3Store(url.netloc, url.path, endpoint_url=endpoint_url, region=region) if url.netloc else None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What S3 knows about an object."""

    sha256: str | None  # of the whole content, if it was uploaded with one
    etag_is_md5: bool  # false if a customer's key or KMS encrypts it


class _Client:
    """Creates the client once: creating one is not thread-safe, using it is."""

    def __init__(self, endpoint_url: str | None, region: str | None, connections: int) -> None:
        self._connections = connections
        self._endpoint_url = endpoint_url
        self._region = region
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    def get(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> S3Client:
        config = Config(
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=self._connections,
            s3={"addressing_style": "path"} if self._endpoint_url else {},
        )
        try:
            # a separate session: the default one is shared by everything that imports boto3
            session = boto3.session.Session(region_name=self._region)
            return session.client("s3", endpoint_url=self._endpoint_url, config=config)
        except BotoCoreError:
            raise
        except ValueError as error:  # from botocore, for an invalid address
            hint = "check the endpoint, such as http://minio.storage:9000"
            raise StoreRefused(f"{self._endpoint_url!r}: {error}; {hint}") from error


class S3Store:
    """A store in a bucket, below a prefix. The client is created on first use and shared between threads."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        connections: int = 16,
        needs: str = "s3:GetObject, PutObject, DeleteObject and ListBucket",
    ) -> None:
        self._at(bucket, prefix, _Client(endpoint_url, region, connections), needs)

    def _at(self, bucket: str, prefix: str, client: _Client, needs: str) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.url = f"s3://{bucket}" + (f"/{self.prefix}" if self.prefix else "")
        self._connection = client
        self._needs = needs  # for the message when access is denied

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with self._translated(key):
            self._client.put_object(
                Bucket=self.bucket,
                Key=self._key(key),
                Body=data,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                **condition,
            )

    def get(self, key: str) -> bytes:
        with self._translated(key):
            return self._client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read()

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._translated(key):
            body = self._client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"]
            yield from body.iter_chunks(CHUNK_BYTES)

    def list(self, prefix: str = "") -> list[str]:
        return sorted(entry.key for entry in self.entries(prefix) if is_one_line(entry.key))

    def entries(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Key, size and ETag of every object whose key starts with `prefix`."""
        base = f"{self.prefix}/" if self.prefix else ""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=base + prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield ObjectInfo(entry["Key"][len(base) :], entry["Size"], entry.get("ETag", "").strip('"'))

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

    def delete(self, key: str) -> None:
        with self._translated(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def child(self, prefix: str) -> S3Store:
        below = object.__new__(S3Store)
        below._at(self.bucket, self._key(prefix), self._connection, self._needs)  # shares one connection pool
        return below

    def check(self) -> None:
        self.put(PROBE, b"")
        self.delete(PROBE)

    @property
    def _client(self) -> S3Client:
        return self._connection.get()

    def _key(self, key: str) -> str:
        check_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the service account a role"
            raise StoreRefused(f"{self.url}: no credentials; {hint}") from error
        except ClientError as error:
            raise self._error(key, error) from error
        except _MISCONFIGURED as error:
            raise StoreRefused(f"{self.url}: {error}; check bucket, region, endpoint and profile") from error
        except FlexibleChecksumError as error:
            raise StoreCorrupt(f"{self.url}/{key} is corrupt: {error}") from error
        except Boto3Error as error:  # a download whose retries are used up
            raise StoreUnavailable(f"{self.url}/{key}: {error}; a retry may help") from error
        except BotoCoreError as error:
            if isinstance(error, SSLError) and "CERTIFICATE" in str(error):
                hint = "give the authority's certificate in AWS_CA_BUNDLE"
                raise StoreRefused(f"{self.url}: {error}; {hint}") from error
            raise StoreUnavailable(f"{self.url}/{key}: {error}; a retry may help") from error

    def _error(self, key: str, error: ClientError) -> StoreError:
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "")
        if code in _EXISTS:
            return AlreadyExists(f"{self.url}/{key} already exists")
        if code in _MISSING:
            return NotFound(f"{self.url}/{key} does not exist")
        if code == "AccessDenied":
            return StoreRefused(f"{self.url}: access denied; the credentials need {self._needs}")
        if code in _REFUSED:
            return StoreRefused(f"{self.url}: {_REFUSED[code]}")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if 400 <= status < 500 and status not in (408, 429) and code not in _LATER:
            return StoreRefused(f"{self.url}/{key}: {code}: {message}")
        return StoreUnavailable(f"{self.url}/{key}: {code}: {message}; a retry may help")
