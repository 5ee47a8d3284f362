"""Talk to a bucket: one client of boto3, requests that end in bounded time, and failures in the words of a store."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.httpsession
from boto3.exceptions import Boto3Error
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
from botocore.parsers import ResponseParserError

from podium.stores.base import AlreadyExists, NotFound, StoreCorrupt, StoreError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_T = TypeVar("_T")

CHECKSUMS = ("auto", "off")
ADDRESSING = ("auto", "path", "virtual")
_CONNECT_SECONDS, _SILENCE_SECONDS, _TRIES = 5, 30, 3
_CALL_SECONDS = 150.0  # of one request with its retries, even if the store answers a byte at a time
_PAGE_CHARACTERS = 160  # of a page that is not from a store, in an error message
NOT_S3 = "check the endpoint, and what lies between here and the store"
_REFUSED = {
    "NoSuchBucket": "there is no such bucket; create it",
    "InvalidAccessKeyId": "unknown access key; check the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong; check the credentials",
    "ExpiredToken": "the credentials have expired",
    "PermanentRedirect": "the bucket is in another region; set the region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set the region",
    "InvalidBucketName": "that is not a valid bucket name",
    "SecondLevelDomainForbidden": (
        "the store wants the bucket in the host name; set results.addressing=virtual in the chart, "
        "PODIUM_RESULTS_ADDRESSING=virtual for the command line, or --addressing virtual for podium stage"
    ),
}
_CLOCKS_DIFFER = "the clocks of this machine and of the store differ"
_MISCONFIGURED = (
    ConfigNotFound, ConfigParseError, InvalidRegionError, NoRegionError, ParamValidationError, ProfileNotFound,
)  # fmt: skip
_LATER = frozenset({  # statuses 400 to 499 that are worth a retry anyway
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "OperationAborted", "QuotaExceeded", "RequestTimeout",
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
})  # fmt: skip
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_FULL = frozenset({"InsufficientStorage", "InsufficientCapacity", "QuotaExceeded", "XMinioStorageFull"})


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a bucket."""

    endpoint_url: str | None = None  # None: AWS
    region: str | None = None
    checksum: str = "auto"  # of CHECKSUMS; "off" sends and asks for none
    addressing: str = "auto"  # of ADDRESSING; "auto" puts the bucket into the path where an endpoint is given
    connections: int = 16
    call_seconds: float = _CALL_SECONDS

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("checksum", self.checksum, CHECKSUMS),
            ("addressing", self.addressing, ADDRESSING),
        ):
            if value not in allowed:
                raise StoreRefused(f"{name} {value!r} is not supported; use {' or '.join(allowed)}")


class _LoadOnce(ssl.SSLContext):
    """A TLS context that reads each file of authorities once.

    botocore has all threads of a client share one context, and urllib3 loads the authorities into it again for each
    connection. OpenSSL does not allow that while another thread uses them in its handshake: it is a segmentation
    fault now and then (openssl/openssl issue 24480, boto/botocore 3164, urllib3/urllib3 3155).
    """

    def __init__(self, *_: object) -> None:
        self._lock = threading.Lock()
        self._loaded: set[tuple[object, ...]] = set()

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        place = (cafile, capath, cadata)
        with self._lock:
            if place not in self._loaded:
                super().load_verify_locations(cafile, capath, cadata)
                self._loaded.add(place)


botocore.httpsession.SSLContext = _LoadOnce  # type: ignore[attr-defined]  # it has no parameter for it


class Connection:
    """One client for all threads. It is created on first use: creating one is not thread-safe, using it is."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._request = threading.local()  # until when the request of this thread may be sent
        self.checksums = access.checksum != "off"  # whether a put carries the SHA-256 of its content in a header

    def use_checksums(self, use: bool) -> None:
        """From now on, send and ask for checksums, or do neither."""
        with self._lock:
            self.checksums, self._client = use, None

    def client(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def call(self, work: Callable[[S3Client], _T], *, send_until: float | None = None) -> _T:
        """The result of `work`. Raises TimeoutError if it takes too long; the store may yet do what it was asked.

        boto3 limits silence, not time: a store that answers a byte at a time would hold its caller for ever. After
        `send_until`, a time of `clock`, no request is sent any more, retries included.
        """
        client = self.client()

        def run() -> _T:
            self._request.send_until = send_until
            return work(client)

        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.access.connections, thread_name_prefix="s3")
        future = self._threads.submit(run)
        try:
            return future.result(self.access.call_seconds)
        except TimeoutError as error:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"no complete answer in {self.access.call_seconds:g} s") from error

    def _make(self) -> S3Client:
        access = self.access
        style: Any = access.addressing
        if style == "auto" and access.endpoint_url:
            style = "path"
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_SILENCE_SECONDS,
            max_pool_connections=access.connections,
            # Content is signed, and its checksum is a header: other stores than Amazon's refuse aws-chunked trailers
            request_checksum_calculation="when_required",
            response_checksum_validation="when_supported" if self.checksums else "when_required",
            s3={"payload_signing_enabled": True, "addressing_style": style},
        )
        try:
            # a separate session: the default one is shared by everything that imports boto3
            session = boto3.session.Session(region_name=access.region)
            client = session.client("s3", endpoint_url=access.endpoint_url, config=config)
        except BotoCoreError:
            raise
        except ValueError as error:  # from botocore, for an invalid address
            hint = "check the endpoint, such as http://minio.storage:9000"
            raise StoreRefused(f"{access.endpoint_url!r}: {error}; {hint}") from error
        client.meta.events.register("before-send.s3", self._before_send)
        client.meta.events.register("before-parse.s3", _keep_page)
        return client

    def _before_send(self, **_: object) -> None:
        """Called with each request once it is signed, so that its signature is not younger than this moment."""
        until = getattr(self._request, "send_until", None)
        if until is not None and clock() > until:
            raise TimeoutError("this process stood still for too long to write this safely")


def clock() -> float:
    """Seconds that also pass while the process is stopped or the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def translated(url: str, key: str, needs: str) -> Iterator[None]:
    """Turn every failure of boto3 into a StoreError that names the store at `url` and what to do.

    `needs` lists the permissions for the message when access is denied.
    """
    place = f"{url}/{key}" if key else url
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the service account a role"
        raise StoreRefused(f"{url}: no credentials; {hint}") from error
    except ClientError as error:
        raise _error(url, place, needs, error.response) from error
    except _MISCONFIGURED as error:
        raise StoreRefused(f"{url}: {error}; check bucket, region, endpoint and profile") from error
    except FlexibleChecksumError as error:
        raise StoreCorrupt(f"{place} is corrupt: {error}") from error
    except ResponseParserError as error:
        raise StoreRefused(f"{place}: the answer is not that of an S3 store; {NOT_S3}") from error
    except (Boto3Error, TimeoutError) as error:  # among others, a download whose retries are used up
        raise StoreUnavailable(f"{place}: {error}; a retry may help") from error
    except BotoCoreError as error:
        if isinstance(error, SSLError) and "CERTIFICATE" in str(error):
            hint = "give the authority's certificate in AWS_CA_BUNDLE (results.caCertificate in the chart)"
            raise StoreRefused(f"{url}: {error}; {hint}") from error
        raise StoreUnavailable(f"{place}: {error}; a retry may help") from error


def _error(url: str, place: str, needs: str, response: Mapping[str, Any]) -> StoreError:
    code, message = response.get("Error", {}).get("Code", ""), response.get("Error", {}).get("Message", "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    later = status in (408, 429) or status >= 500
    if page := response.get("Page"):
        words = f"{place}: HTTP {status}, and a page that is not from an S3 store: {page!r}"
        return StoreUnavailable(f"{words}; a retry may help") if later else StoreRefused(f"{words}; {NOT_S3}")
    if code == "PreconditionFailed":
        return AlreadyExists(f"{place} already exists")
    if code in _MISSING:
        return NotFound(f"{place} does not exist")
    refused = {
        **_REFUSED,
        "AccessDenied": f"access denied; the credentials need {needs}",
        "RequestTimeTooSkewed": f"{_skew(response)}; correct the clock that is wrong (NTP)",
    }
    if code in refused:
        return StoreRefused(f"{url}: {refused[code]}")
    words = f"{place}: {': '.join(filter(None, [code, message])) or f'HTTP {status}'}"
    if status == 501 or (400 <= status < 500 and not later and code not in _LATER):
        return StoreRefused(words)
    full = "; the store is full: free some space" if code in _FULL or status == 507 else ""
    return StoreUnavailable(f"{words}{full}; a retry may help")


def _skew(response: Mapping[str, Any]) -> str:
    try:
        theirs = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return _CLOCKS_DIFFER
    ours = datetime.now(UTC)
    seconds = abs((ours - theirs).total_seconds())
    if seconds < 60:  # a proxy in between may set the date of an answer
        return _CLOCKS_DIFFER
    times = f"it is {ours:%H:%M:%S} UTC on this machine, {theirs:%H:%M:%S} UTC in the store"
    return f"the clocks differ by {seconds:.0f} s: {times}"


def _keep_page(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Keep the first words of an error page that comes from something between here and the store."""
    body = response_dict.get("body")
    if response_dict["status_code"] < 300 or not isinstance(body, bytes) or not body.strip():
        return
    text = body[: 1 << 14].decode(errors="replace").lstrip("\ufeff \r\n\t")
    if re.match(r"(<\?xml[^>]*>\s*)?<Error", text):
        return
    text = " ".join(re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text).split())
    customized_response_dict["Page"] = text[:_PAGE_CHARACTERS] or "(empty)"
