"""HTTP between one operator process and the API server: latency, errors, lost answers, lagging and silent watches.

`podium.kube.Api` runs unchanged on it, since only the connection below the client library is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import orjson

from tests.simulation.apiserver import ApiServer, Change, Object, Refused
from tests.simulation.podlogs import PodLogs
from tests.simulation.world import Process, World

HOST = "https://apiserver"
_OWN_KINDS = "/apis/podium.dev/v1alpha1"
_PAGE = 250
_BOOKMARK_SECONDS = 60.0


class Network:
    """The faults between the operator and the API server at the moment."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down = False  # no connection at all: both sides wait for the other
        self.refusing = 0.0  # probability of a 429, 500 or 503
        self.losing = 0.0  # probability that the answer is lost after the request was executed
        self.slow_seconds = 0.0
        self.watch_lag: dict[str, float] = {}  # by resource, in seconds
        self.streams: list[Stream] = []

    def latency(self) -> float:
        random = self.world.random
        return random.uniform(0.001, 0.008) + (random.uniform(0, self.slow_seconds) if self.slow_seconds else 0.0)

    def is_healthy(self) -> bool:
        """Return whether every request is answered soon, and no watch is late or silent."""
        faulty = self.down or self.refusing or self.losing or self.slow_seconds or self.watch_lag
        return not (faulty or any(stream.silent for stream in self.streams))

    def heal(self) -> None:
        self.down, self.refusing, self.losing, self.slow_seconds = False, 0.0, 0.0, 0.0
        self.watch_lag.clear()

    def watches(self, plural: str, process: Process) -> bool:
        """Return whether a process has a watch of a resource on which something can arrive."""
        return process.alive and any(
            s.plural == plural and s.process is process and s.open and not (s.silent or s.ended) for s in self.streams
        )

    def cut(self, plural: str = "", *, silent: bool) -> None:
        """Close the open watches (of one resource), or leave them open without ever sending anything again."""
        for stream in [s for s in self.streams if plural in ("", s.plural)]:
            if silent:
                stream.silent = True
            else:
                stream.end(aiohttp.ClientPayloadError("connection closed"))


class Stream:
    """A response body that arrives in pieces."""

    def __init__(self, network: Network, process: Process, plural: str, read_timeout: float | None) -> None:
        self.plural = plural
        self.silent = False
        self.open = True  # to the reader
        self.ended = False  # by the sender
        self._network, self.process, self._read_timeout = network, process, read_timeout
        self._chunks: list[bytes | Exception | None] = []
        self._arrives = 0.0  # chunks keep their order
        self._waiter: asyncio.Future[None] | None = None
        network.streams.append(self)

    def hears(self) -> bool:
        """Return whether what is sent arrives."""
        return self.open and not self.silent and self.process.alive and not self.process.frozen

    def send(self, chunk: bytes, lag: float) -> None:
        """Deliver `chunk` after `lag` seconds."""
        if self.open and not self.silent and not self.ended:
            world = self._network.world
            self._arrives = max(self._arrives, world.now + lag)
            world.after(self._arrives - world.now, lambda: self._arrive(chunk))

    def end(self, error: Exception | None = None, lag: float = 0.0) -> None:
        """End the stream behind everything that was sent."""
        if self.open and not self.silent and not self.ended:
            self.ended = True
            world = self._network.world
            self._arrives = max(self._arrives, world.now + lag)
            world.after(self._arrives - world.now, lambda: self._arrive(error))

    def _arrive(self, chunk: bytes | Exception | None) -> None:
        if self.open and not self.silent and self.process.alive:
            self._chunks.append(chunk)
            if self._waiter and not self._waiter.done():
                self._waiter.set_result(None)

    async def iterate(self) -> AsyncIterator[bytes]:
        while True:
            if not self._chunks:
                self._waiter = self.process.create_future()
                try:
                    await asyncio.wait_for(self._waiter, self._read_timeout)
                except TimeoutError:
                    raise aiohttp.SocketTimeoutError("Timeout on reading data from socket") from None
            chunks, self._chunks = self._chunks, []
            rest = b"".join(c for c in chunks if isinstance(c, bytes))
            if rest:
                yield rest
            last = chunks[-1]
            if not isinstance(last, bytes):
                self.close()
                if last is None:
                    return
                raise last

    def close(self) -> None:
        self.open = False
        if self in self._network.streams:
            self._network.streams.remove(self)


class Response:
    """What `podium.kube.Api` uses of an aiohttp.ClientResponse."""

    def __init__(self, status: int, body: bytes = b"", stream: Stream | None = None) -> None:
        self.status = status
        self.headers = {"Retry-After": "1"} if status == 429 else {}
        self._body, self._stream = body, stream
        self.content = SimpleNamespace(iter_any=self._iterate)

    async def read(self) -> bytes:
        if self._stream:
            return b"".join([chunk async for chunk in self._stream.iterate()])
        return self._body

    async def _iterate(self) -> AsyncIterator[bytes]:
        if self._stream is None:
            yield self._body
            return
        async for chunk in self._stream.iterate():
            yield chunk

    def close(self) -> None:
        if self._stream:
            self._stream.close()


class Connection:
    """Takes the place of the client library's ApiClient and its rest client, for one process."""

    def __init__(self, network: Network, server: ApiServer, logs: PodLogs, process: Process) -> None:
        self.configuration = SimpleNamespace(
            host=HOST, ssl_ca_cert=None, verify_ssl=True, cert_file=None, key_file=None
        )
        self.rest_client = self
        self._network, self._server, self._logs, self._process = network, server, logs, process
        self.on_write: list[Callable[[str, str, Object], None]] = []
        self.on_request: list[Callable[[str, str, str], None]] = []

    async def update_params_for_auth(self, *_: object) -> None:
        """Every request is authorized."""

    async def close(self) -> None:
        """Nothing is open."""

    async def request(
        self, verb: str, url: str, *, headers: object, body: Any, _request_timeout: aiohttp.ClientTimeout
    ) -> SimpleNamespace:
        """Send one request. Raises what aiohttp raises."""
        world, network, process = self._network.world, self._network, self._process
        answer: asyncio.Future[Response] = process.create_future()
        path, _, query = url.removeprefix(HOST).partition("?")
        down = network.down
        for listener in self.on_request:
            listener(process.name, verb, path)

        def execute() -> None:
            if down or network.down:
                return  # nothing arrives
            random = world.random
            if network.refusing and random.random() < network.refusing:
                code = random.choice((429, 500, 503))
                world.fault(f"api {code}", f"{verb} {path}")
                response = Response(code, Refused(code, "", "the server is overloaded").body())
            else:
                response = self._execute(verb, path, dict(parse_qsl(query)), body, _request_timeout)
            if verb != "GET" and network.losing and random.random() < network.losing:
                world.fault("answer lost", f"{verb} {path}")
                world.after(0.01, lambda: _fail(answer, aiohttp.ServerDisconnectedError()))
                return
            world.after(network.latency(), lambda: None if answer.done() else answer.set_result(response))

        world.after(network.latency(), execute)
        timeout = _request_timeout.total or _request_timeout.sock_read
        try:
            response = await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            raise aiohttp.ServerTimeoutError(f"no answer to {verb} {path}") from None
        return SimpleNamespace(response=response)

    def _execute(
        self, verb: str, path: str, query: dict[str, str], body: Any, timeout: aiohttp.ClientTimeout
    ) -> Response:
        plural, namespace, name, sub = _parts(path)
        try:
            if path == _OWN_KINDS and self._server.kinds:
                return Response(200, orjson.dumps({"resources": [{"name": kind} for kind in self._server.kinds]}))
            if not plural:
                raise Refused(404, "NotFound", f"{path} is not served")
            if sub == "log":
                stream = Stream(self._network, self._process, "log", timeout.sock_read or timeout.total)
                try:
                    self._logs.serve(namespace, name, query, stream)
                except Refused:
                    stream.close()
                    raise
                return Response(200, stream=stream)
            if verb == "GET":
                return self._read(plural, namespace, name, query, timeout)
            return Response(200, orjson.dumps(self._write(verb, plural, namespace, name, body or {})))
        except Refused as refused:
            return Response(refused.code, refused.body())

    def _write(self, verb: str, plural: str, namespace: str, name: str, body: Any) -> Object:
        server = self._server
        for listener in self.on_write:
            listener(verb, plural, {"namespace": namespace, "name": name, "body": body})
        match verb:
            case "POST":
                return server.create(plural, namespace, body, user="operator")
            case "PUT":
                return server.replace(plural, namespace, name, body)
            case "PATCH":
                return server.patch_status(plural, namespace, name, body)
            case "DELETE":
                uid = body.get("preconditions", {}).get("uid", "")
                server.delete(plural, namespace, name, uid=uid, policy=body.get("propagationPolicy", "Background"))
                return {"kind": "Status", "status": "Success"}
        raise Refused(405, "MethodNotAllowed", verb)

    def _read(
        self, plural: str, namespace: str, name: str, query: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> Response:
        server = self._server
        if name:
            return Response(200, orjson.dumps(server.get(plural, namespace, name)))
        match = _selector(namespace, query)
        if query.get("watch") == "true":
            return self._watch(plural, match, query, timeout)
        found = [o for o in server.all(plural) if match(o)]
        start, size = int(query.get("continue") or 0), int(query.get("limit") or len(found) or 1)
        metadata = {"resourceVersion": str(server.version)}
        if start + size < len(found):
            metadata["continue"] = str(start + size)
        items = found[start : start + size]
        return Response(200, orjson.dumps({"kind": "List", "metadata": metadata, "items": items}))

    def _watch(
        self, plural: str, match: Callable[[Object], bool], query: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> Response:
        world, network, server = self._network.world, self._network, self._server
        missed = server.since(plural, int(query["resourceVersion"]))
        stream = Stream(network, self._process, plural, timeout.sock_read)

        def lag() -> float:
            return world.random.uniform(0.002, 0.03) + network.watch_lag.get(plural, 0.0)

        def deliver(change: Change) -> None:
            if (seen := change.seen_by(match)) and not network.down:
                stream.send(seen.line, lag())

        def stop() -> None:
            server.listeners[plural].remove(deliver)
            stream.end()

        def bookmark() -> None:
            if stream.open and not stream.ended:
                metadata = {"resourceVersion": str(server.version)}
                stream.send(orjson.dumps({"type": "BOOKMARK", "object": {"metadata": metadata}}) + b"\n", lag())
                world.after(_BOOKMARK_SECONDS, bookmark)

        for change in missed:
            deliver(change)
        server.listeners[plural].append(deliver)
        world.after(_BOOKMARK_SECONDS, bookmark)
        world.after(float(query.get("timeoutSeconds", 1800)), stop)
        return Response(200, stream=stream)


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _parts(path: str) -> tuple[str, str, str, str]:
    """Return plural, namespace, name and subresource of a path."""
    words = path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    namespace = ""
    if words[:1] == ["namespaces"] and len(words) > 2:
        namespace, words = words[1], words[2:]
    words += ["", "", ""]
    return words[0], namespace, words[1], words[2]


def _selector(namespace: str, query: dict[str, str]) -> Callable[[Object], bool]:
    """Return whether an object is meant by the namespace and the selectors of a request."""
    label = query.get("labelSelector", "")
    key, _, value = label.partition("=")
    field = query.get("fieldSelector", "").partition("metadata.name=")[2]

    def match(body: Object) -> bool:
        metadata = body["metadata"]
        labels = metadata.get("labels") or {}
        return (
            (not namespace or metadata.get("namespace") == namespace)
            and (not label or (key in labels and value in ("", labels[key])))
            and (not field or metadata["name"] == field)
        )

    return match
