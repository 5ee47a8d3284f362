"""The few API server calls that Podium makes, with plain dicts, a rate limit and a request observer.

The client's generated models reject unknown fields on write and drop them on read, so they are not used: objects are
sent as built and read as served.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client

from podium.kube.backoff import backoff
from podium.kube.decode import loads
from podium.kube.gate import Gate

Object = dict[str, Any]
_CONFLICT, _NOT_FOUND, _TOO_MANY = 409, 404, 429
_TRIES = 5  # of a request that the API server puts off
_PUT_OFF_LIMIT_SECONDS = 15.0
_POLICIES = ("admission webhook", "ValidatingAdmissionPolicy")  # in the words of those that refuse with any code
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
_WATCH_SECONDS = 240
_SILENT_SECONDS = 120  # a bookmark comes every minute
_WATCH_ONE_SECONDS = 30  # a user is waiting: notice a dead connection sooner
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=None)
# Each read of a log takes a connection, and those of a thousand runs that end together would take one each. A node that
# does not answer keeps its place for a minute, which must not hold up the logs of the others.
_LOGS_AT_ONCE, _LOG_TURN_SECONDS = 16, 2.0


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object as the API serves it, such as ``Resource("jobs", "apis/batch/v1")``."""

    plural: str
    api: str

    def path(self, namespace: str | None, name: str = "") -> str:
        """Return the path of the object `name`, or of all objects; `namespace` is None for cluster-wide ones."""
        place = f"namespaces/{namespace}/" if namespace else ""
        return f"/{self.api}/{place}{self.plural}" + (f"/{name}" if name else "")


JOBS = Resource("jobs", "apis/batch/v1")
PODS = Resource("pods", "api/v1")
SERVICES = Resource("services", "api/v1")
POD_GROUPS = Resource("podgroups", "apis/scheduling.k8s.io/v1beta1")
NETWORK_POLICIES = Resource("networkpolicies", "apis/networking.k8s.io/v1")
EVENTS = Resource("events", "api/v1")
NODES = Resource("nodes", "api/v1")
LEASES = Resource("leases", "apis/coordination.k8s.io/v1")
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """The API server refused a request, or its response cannot be read (code 0).

    `final` if repeating the same request would not help: the object itself is wrong. Everything else may pass: a quota
    is raised, a Role comes back, a webhook or a policy is mended.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    @classmethod
    def of_status(cls, status: object, *, code: int = 0, default: str) -> ApiError:
        """Return the error in a ``Status`` from the API server; `code` and `default` replace what is missing in it or
        has the wrong type."""
        fields = status if isinstance(status, Mapping) else {}
        sent, reason, message = fields.get("code"), fields.get("reason"), fields.get("message")
        return cls(
            code or (sent if isinstance(sent, int) else 0),
            reason if isinstance(reason, str) else "",
            message if isinstance(message, str) and message else default,
        )

    @property
    def not_found(self) -> bool:
        return self.code == _NOT_FOUND

    @property
    def conflict(self) -> bool:
        return self.code == _CONFLICT

    @property
    def final(self) -> bool:
        return self.code in (400, 422) and not any(policy in str(self) for policy in _POLICIES)


class FencedError(Exception):
    """This process must not write: another one may be the leader by now."""


class RequestObserver(Protocol):
    """Called after every request with its verb, resource, status code (0 for none) and seconds."""

    def __call__(self, verb: str, resource: str, code: int, seconds: float) -> None: ...


class TokenBucket:
    """At most `rate` requests per second on average and `burst` at once, so as not to overload the API server."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._at = time.monotonic()

    async def take(self) -> None:
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate) - 1
        self._at = now
        if self._tokens < 0:  # this caller waits until the debt is paid; later callers find a larger one
            await asyncio.sleep(-self._tokens / self.rate)


class Api:
    """A client of one API server; use as ``async with await connect() as api``."""

    def __init__(self, api_client: client.ApiClient, *, rate: float, burst: int, observer: RequestObserver) -> None:
        self.client = api_client
        self.may_write: Callable[[], bool] = lambda: True  # asked right before each write
        self._bucket = TokenBucket(rate, burst)
        self._observer = observer
        self._log_reads = Gate(_LOGS_AT_ONCE, _LOG_TURN_SECONDS)

    @property
    def host(self) -> str:
        """Address of the API server."""
        host: str = self.client.configuration.host
        return host

    async def close(self) -> None:
        await self.client.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        return await self._json("GET", resource, resource.path(namespace, name))

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server has this resource."""
        try:
            found = await self._json("GET", resource, f"/{resource.api}")
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return any(one["name"] == resource.plural for one in found["resources"])

    async def list_uids(self, resource: Resource, namespace: str | None) -> set[str]:
        """Return the uids of all objects in a namespace, or (None) in the cluster."""
        uids: set[str] = set()
        async for items, _ in self._pages(resource, namespace, {"limit": "1000"}, accept=_METADATA_ONLY):
            try:
                uids.update(item["metadata"]["uid"] for item in items)
            except (LookupError, TypeError) as error:
                raise ApiError(0, "Unreadable", f"an object in the list of {resource.plural} has no uid") from error
        return uids

    def pages(
        self, resource: Resource, namespace: str | None, label_selector: str
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Yield all objects with these labels, a few hundred at a time, with the version to watch from."""
        return self._pages(resource, namespace, {"labelSelector": label_selector, "limit": "250"})

    async def events(self, namespace: str, field_selector: str) -> list[Object]:
        """Return the first thousand Events of a namespace that have these fields."""
        query = urlencode({"fieldSelector": field_selector, "limit": "1000"})
        return _page(await self._json("GET", EVENTS, f"{EVENTS.path(namespace)}?{query}"))[0]

    async def _pages(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, accept: str = ""
    ) -> AsyncIterator[tuple[list[Object], str]]:
        query = dict(query)
        while True:
            path = f"{resource.path(namespace)}?{urlencode(query)}"
            page = await self._json("GET", resource, path, accept=accept)
            items, metadata = _page(page)
            yield items, metadata["resourceVersion"]
            if not (token := metadata.get("continue")):
                return
            query["continue"] = token

    def watch(
        self, resource: Resource, namespace: str | None, label_selector: str, version: str
    ) -> AsyncIterator[Iterator[Object]]:
        """Yield the watch events after `version` as they arrive; ends after a few minutes.

        They come in groups. Each is decoded when its turn comes, so that not all of a group are in memory.
        """
        return self._watch(resource, namespace, {"labelSelector": label_selector}, version, _WATCH_SECONDS)

    def watch_one(
        self, resource: Resource, namespace: str, name: str, version: str
    ) -> AsyncGenerator[Iterator[Object]]:
        """Yield the watch events of one object after `version`; ends after half a minute."""
        return self._watch(resource, namespace, {"fieldSelector": f"metadata.name={name}"}, version, _WATCH_ONE_SECONDS)

    async def _watch(
        self, resource: Resource, namespace: str | None, selector: Mapping[str, str], version: str, seconds: int
    ) -> AsyncGenerator[Iterator[Object]]:
        query = {
            **selector,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        path = f"{resource.path(namespace)}?{urlencode(query)}"
        # a dead connection is silent: give it up once bookmarks are missing, or the API server would have ended it
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=min(seconds, _SILENT_SECONDS) + 10)
        response = await self._send("GET", resource.plural, path, timeout=timeout)
        try:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                yield _decoded(lines, f"GET {path}")
        finally:
            response.close()

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        return await self._json("POST", resource, resource.path(namespace), body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Replace an object, unless it was written since `body` was read."""
        return await self._json("PUT", resource, resource.path(namespace, name), body)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, operations: Sequence[Object], *, uid: str
    ) -> Object:
        """Apply a JSON patch to the status of the object with this uid.

        The API server ignores a uid in a merge patch of a status; a test in a JSON patch is part of the write. Raises
        ApiError (422) if the object has another uid, or not what an operation needs.
        """
        path = resource.path(namespace, name) + "/status"
        body = [{"op": "test", "path": "/metadata/uid", "value": uid}, *operations]
        return await self._json("PATCH", resource, path, body, content_type="application/json-patch+json")

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object if it has this uid, and its dependents in the background. It may already be gone."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._json("DELETE", resource, resource.path(namespace, name), body)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    @asynccontextmanager
    async def log(self, namespace: str, pod: str, container: str, **query: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a container's log as chunks with timestamps; ``follow=true`` keeps the stream open."""
        parameters = urlencode({"container": container, "timestamps": "true", **query})
        path = f"{PODS.path(namespace, pod)}/log?{parameters}"
        follows = "follow" in query
        async with nullcontext() if follows else self._log_reads.entered():
            timeout = _STREAM_TIMEOUT if follows else _TIMEOUT
            response = await self._send("GET", "pods/log", path, timeout=timeout)
            try:
                yield response.content.iter_any()
            finally:
                response.close()

    async def authorization(self) -> str:
        """Return the current Authorization header, renewed if it expired; empty with client certificates."""
        headers: dict[str, str] = {}
        await self.client.update_params_for_auth(headers, [], ["BearerToken"], "/", "GET", None)
        return headers.get("authorization", "")

    async def _json(
        self,
        verb: str,
        resource: Resource,
        path: str,
        body: Object | list[Object] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "",
    ) -> Object:
        response = await self._send(verb, resource.plural, path, body, content_type=content_type, accept=accept)
        content = await response.read()
        try:
            result = loads(content)
        except ValueError as error:
            raise _unreadable(f"{verb} {path}", content) from error
        if not isinstance(result, dict):
            raise _unreadable(f"{verb} {path}", content)
        return result

    async def _send(
        self,
        verb: str,
        resource: str,
        path: str,
        body: Object | list[Object] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "",
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> aiohttp.ClientResponse:
        """Send a request, again if the API server puts it off (429: it has done nothing).

        Raises ApiError, and FencedError for a write that `may_write` forbids.
        """
        headers = {"Accept": accept or "application/json, */*", "Content-Type": content_type}
        tries = 0
        while True:
            tries += 1
            response = await self._send_once(verb, resource, path, body, headers=headers, timeout=timeout)
            if response.status < 400:
                return response
            content = await response.read()
            if response.status != _TOO_MANY or tries == _TRIES:
                raise _error(response.status, content, f"{verb} {path}")
            wait = max(backoff(tries), retry_after(response.headers))
            await asyncio.sleep(min(wait, _PUT_OFF_LIMIT_SECONDS) * random.uniform(1.0, 1.2))  # noqa: S311

    async def _send_once(
        self,
        verb: str,
        resource: str,
        path: str,
        body: Object | list[Object] | None,
        *,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        await self._bucket.take()
        headers = dict(headers)
        await self.client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        if verb != "GET" and not self.may_write():
            raise FencedError(f"{verb} {path}: this process does not lead any more")
        started = time.perf_counter()
        code = 0
        try:
            url = self.client.configuration.host + path
            raw = await self.client.rest_client.request(verb, url, headers=headers, body=body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = raw.response
            code = response.status
        finally:
            self._observer(verb, resource, code, time.perf_counter() - started)
        return response


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds in ``Retry-After``; 0 if there is no such header, or a date, which API servers never send."""
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0


def _error(code: int, body: bytes, request: str) -> ApiError:
    try:
        status = orjson.loads(body)
    except ValueError:
        status = None
    return ApiError.of_status(status, code=code, default=f"{request}: {body[:500].decode(errors='replace')}")


def _unreadable(request: str, content: bytes) -> ApiError:
    """Return a retriable error: perhaps something between us and the API server answered."""
    response = content[:200].decode(errors="replace")
    return ApiError(0, "Unreadable", f"{request}: the response is not a valid JSON object: {response!r}")


def _decoded(lines: Sequence[bytes], request: str) -> Iterator[Object]:
    """Yield what is in `lines`. Raises ApiError at the first that cannot be read."""
    for line in lines:
        try:
            event = loads(line)
        except ValueError as error:
            raise _unreadable(request, line) from error
        yield event


def _page(page: Object) -> tuple[list[Object], Object]:
    """Return the items and the metadata of a list. Raises ApiError if `page` is not a list."""
    items, metadata = page.get("items") or [], page.get("metadata")
    if isinstance(items, list) and isinstance(metadata, dict) and isinstance(metadata.get("resourceVersion"), str):
        return items, metadata
    raise ApiError(0, "Unreadable", f"the response is not a list of objects: {str(page)[:200]}")
