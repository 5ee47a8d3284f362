"""A small S3 server that speaks as some stores do, over http or https. tests/api/test_stores_s3.py has a real server.

It keeps objects in memory, verifies the digests that it is sent, and remembers the requests. It does not verify
signatures; versitygw does.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "results"
PROXY_PAGE = (
    b"<html><head><style>p {}</style></head><body><h1>Blocked</h1> by the policy of <b>Example</b></body></html>"
)


@dataclass
class Dialect:
    """What a store lacks or refuses; by default, nothing."""

    trailers: int = 0  # status of the answer to an aws-chunked trailer
    checksums: bool = True  # else a checksum header gets 501
    conditional: str = "yes"  # or "refused" with 501, or "ignored"
    listing: bool = True
    corrupt: bool = False  # returns something else than it was given
    virtual_only: bool = False
    clock: float = 0.0  # seconds ahead of ours; a difference of 15 minutes is refused
    page: tuple[int, bytes] | None = None  # answers everything instead of the store
    failure: tuple[int, str] | None = None  # status and code for every put
    put_hook: Callable[[str], None] = field(default=lambda key: None)  # called before an object is kept
    trickle: float = 0.0  # seconds between the bytes of the answer to a put


def google() -> Dialect:
    return Dialect(trailers=403, conditional="ignored")


def old_ceph() -> Dialect:
    return Dialect(trailers=400, checksums=False, conditional="refused")


@dataclass(frozen=True)
class Request:
    method: str
    key: str
    headers: dict[str, str]  # names in lower case


class FakeS3:
    """The server; `dialect` may be replaced at any time."""

    def __init__(self, dialect: Dialect, certificate: tuple[Path, Path] | None = None) -> None:
        self.dialect = dialect
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.endpoint = f"{'https' if certificate else 'http'}://localhost:{self.server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[FakeS3]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()

    def now(self) -> float:
        return time.time() + self.dialect.clock

    def puts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "PUT"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeS3

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.fake.now() if timestamp is None else timestamp, usegmt=True)

    def _handle(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        self._query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        host, path = self.headers["Host"], unquote(url.path).lstrip("/")
        virtual = host.startswith(f"{BUCKET}.")
        self._key = path if virtual else path.partition("/")[2]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.requests.append(Request(self.command, self._key, headers))
        dialect = self.fake.dialect
        if dialect.page:
            return self._answer(dialect.page[0], dialect.page[1], {"Content-Type": "text/html"})
        if dialect.virtual_only and not virtual:
            return self._error(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
        signed = time.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        if abs(self.fake.now() - (time.mktime(signed) - time.timezone)) > 900:
            return self._error(403, "RequestTimeTooSkewed", "The difference is too large.")
        refused = self._refused(headers, body)
        if refused:
            return self._error(*refused)
        return getattr(self, f"_{self.command.lower()}")(body, headers)

    do_PUT = do_GET = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815 - the names of http.server

    def _refused(self, headers: dict[str, str], body: bytes) -> tuple[int, str, str] | None:
        """The first reason to refuse a request: status, code, words."""
        dialect, signed = self.fake.dialect, headers.get("x-amz-content-sha256", "")
        digest = hashlib.sha256(body)
        sums = [value for name, value in headers.items() if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]
        condition = "if-none-match" in headers
        failure = dialect.failure or (0, "")
        reasons = [
            ("aws-chunked" in headers.get("content-encoding", ""), dialect.trailers or 400, "SignatureDoesNotMatch"),
            (bool(sums) and not dialect.checksums, 501, "NotImplemented"),
            (signed != digest.hexdigest(), 400, "XAmzContentSHA256Mismatch"),
            (
                self.command == "PUT" and any(base64.b64decode(sum_) != digest.digest() for sum_ in sums),
                400,
                "BadDigest",
            ),
            (bool(failure[0]) and self.command == "PUT", *failure),
            (condition and dialect.conditional == "refused", 501, "NotImplemented"),
        ]
        found = ((status, code, f"the words of {code}") for holds, status, code in reasons if holds)
        return next(found, None)

    def _put(self, body: bytes, headers: dict[str, str]) -> None:
        if upload := self._query.get("uploadId"):
            self.fake.uploads[upload][int(self._query["partNumber"])] = body
            return self._answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        self.fake.dialect.put_hook(self._key)
        with self.fake.lock:
            condition = self.fake.dialect.conditional == "yes" and "if-none-match" in headers
            if condition and self._key in self.fake.objects:
                return self._error(412, "PreconditionFailed", "It exists.")
            self.fake.objects[self._key] = body, self.fake.now()
        return self._answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, self.fake.dialect.trickle)

    def _post(self, body: bytes, headers: dict[str, str]) -> None:
        if "uploads" in self._query:
            upload = f"upload-{len(self.fake.uploads)}"
            self.fake.uploads[upload] = {}
            answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self._answer(200, answer.encode())
        parts = self.fake.uploads.pop(self._query["uploadId"])
        self.fake.objects[self._key] = b"".join(parts[number] for number in sorted(parts)), self.fake.now()
        etag = f"<CompleteMultipartUploadResult><ETag>&quot;x-{len(parts)}&quot;</ETag></CompleteMultipartUploadResult>"
        return self._answer(200, etag.encode())

    def _get(self, body: bytes, headers: dict[str, str]) -> None:
        if "list-type" in self._query:
            return self._list()
        if self._key not in self.fake.objects:
            return self._error(404, "NoSuchKey", "There is none.")
        return self._answer(200, self.fake.objects[self._key][0] + b"?" * self.fake.dialect.corrupt)

    _head = _get

    def _delete(self, body: bytes, headers: dict[str, str]) -> None:
        if upload := self._query.get("uploadId"):
            self.fake.uploads.pop(upload)
        else:
            self.fake.objects.pop(self._key, None)
        self._answer(204, b"")

    def _list(self) -> None:
        if not self.fake.dialect.listing:
            return self._error(403, "AccessDenied", "Access Denied")
        with self.fake.lock:
            found = [(key, *kept) for key, kept in sorted(self.fake.objects.items())]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>&quot;x&quot;</ETag>"
            f"<LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z</LastModified></Contents>"
            for key, data, at in found
            if key.startswith(self._query.get("prefix", ""))
        )
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return self._answer(200, answer.encode())

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):  # how aws-chunked travels
            read = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                read += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return read
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _error(self, status: int, code: str, message: str) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self._answer(status, text.encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, trickle: float = 0.0) -> None:
        if trickle:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ":
                self.wfile.write(bytes([byte]))
                time.sleep(trickle)
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
